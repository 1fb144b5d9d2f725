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
        // A plot is smoothed and keeps its shape; a map is shown in its own pixels.
        figure.className = button.classList.contains("plot") ? "plot" : "";
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

  // The ROC curve: the mark and the sentence follow the slider, and the slider follows the pointer.
  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const place = (host, at) => {
    const [threshold, missed, back] = JSON.parse(host.dataset.steps)[at];
    const [left, above, side] = JSON.parse(host.dataset.plot);
    const [ill, healthy] = [Number(host.dataset.ill), Number(host.dataset.healthy)];
    const mark = host.querySelector(".here");
    mark.setAttribute("cx", left + (side * back) / healthy);
    mark.setAttribute("cy", above + (side * missed) / ill);
    const values = { t: threshold === null ? "above all" : threshold.toFixed(3), missed, ill, back, healthy };
    values.recall = percent(1 - missed / ill);
    values.specificity = percent(1 - back / healthy);
    const text = host.dataset.says.replace(/\[(\w+)\]/g, (_, name) => values[name]);
    host.querySelector(".roc-readout").textContent = text;
    const slider = host.querySelector("input[type=range]");
    slider.value = at;
    slider.setAttribute("aria-valuetext", text);
  };

  document.addEventListener("input", (event) => {
    const host = event.target.closest?.(".roc");
    if (host && event.target.matches("input[type=range]")) place(host, Number(event.target.value));
  });

  const follow = (event) => {
    const drawing = event.target.closest?.(".roc svg");
    if (!drawing) return;
    const host = drawing.closest(".roc");
    const [left, above, side] = JSON.parse(host.dataset.plot);
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    const [x, y] = [(at.x - left) / side, (at.y - above) / side];
    let nearest = 0;
    let least = Infinity;
    JSON.parse(host.dataset.steps).forEach(([, missed, back], step) => {
      const distance = (back / Number(host.dataset.healthy) - x) ** 2 + (missed / Number(host.dataset.ill) - y) ** 2;
      if (distance < least) [nearest, least] = [step, distance];
    });
    place(host, nearest);
  };
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerdown", follow);

  // A curve that was just drawn stands at the threshold in use.
  new MutationObserver(() => {
    for (const host of document.querySelectorAll(".roc:not([data-ready])")) {
      host.dataset.ready = "";
      place(host, Number(host.querySelector("input[type=range]").value));
    }
  }).observe(document, { childList: true, subtree: true });
})();
