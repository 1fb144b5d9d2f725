// What the page does without its server: enlarging pictures. Gradio draws and redraws what it likes, so everything listens at the document.
(() => {
  "use strict";

  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.innerHTML =
    '<div class="enlarged-top"><h2></h2><button type="button" data-step="-1" aria-label="Previous">←</button>' +
    '<button type="button" data-step="1" aria-label="Next">→</button><button type="button" data-close aria-label="Close">✕</button></div><div class="enlarged-parts"></div>';
  let shown = null;

  const show = (button) => {
    shown = button;
    dialog.querySelector("h2").textContent = button.dataset.title;
    dialog.querySelector(".enlarged-parts").replaceChildren(
      ...[...button.querySelectorAll("img")].map((image) => {
        const figure = document.createElement("figure");
        const copy = image.cloneNode();
        const caption = document.createElement("figcaption");
        caption.textContent = image.dataset.caption || "";
        figure.append(copy, caption);
        return figure;
      }),
    );
    if (!dialog.open) {
      document.body.append(dialog);
      dialog.showModal();
      dialog.querySelector("[data-close]").focus();
    }
  };

  // The neighbours of a tile are the others in its grid or strip.
  const step = (by) => {
    const all = [...shown.closest(".tiles, .strip").querySelectorAll("button.zoom")];
    show(all[(all.indexOf(shown) + by + all.length) % all.length]);
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button");
    if (event.target === dialog || target?.matches("[data-close]")) dialog.close();
    else if (target?.matches("[data-step]")) step(Number(target.dataset.step));
    else if (target?.matches("button.zoom")) show(target);
  });

  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => shown?.focus());
})();
