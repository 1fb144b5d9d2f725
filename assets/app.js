// What the page does without its server: the address, files dropped and pasted, keys, what is read
// aloud, enlarging pictures, the ROC curve. Gradio draws and redraws what it likes, so everything
// listens at the document.
(() => {
  "use strict";

  // --- Gradio's answers come over a stream that the server closes when nothing more is asked. Its
  // client takes the stream for open until it reads that end, so the answer to a question asked
  // meanwhile never comes. Here it learns that a question was taken only once the stream speaks of
  // it or has ended; and a stream that broke while nothing was asked ends as if it had been closed.
  const fetchPlainly = window.fetch.bind(window);
  const pause = (milliseconds) => new Promise((then) => setTimeout(then, milliseconds));
  const CLOSED = new TextEncoder().encode('data: {"msg":"close_stream"}\n\n');
  let stream = null;
  const isHeard = (open, name) =>
    new Promise((then) => {
      const check = () => (open.over || open.names.has(name)) && (then(), true);
      if (!check()) open.checks.add(check);
    });
  const tell = (open) => open.checks.forEach((check) => check() && open.checks.delete(check));
  const listen = (body, mine) => {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const running = new Set();
    let [text, closed] = ["", false];
    const hear = (chunk) => {
      text += decoder.decode(chunk, { stream: true });
      for (const [, said, name] of text.matchAll(/"msg":"(\w+)","event_id":(?:"(\w+)"|null)/g)) {
        closed ||= said === "close_stream";
        if (!name) continue;
        mine.names.add(name);
        if (said === "process_completed") running.delete(name);
        else running.add(name);
      }
      text = text.slice(-100);
      tell(mine);
    };
    return new ReadableStream({
      async pull(to) {
        let broken = null;
        const { done, value } = await reader.read().catch((error) => ({ done: (broken = error) }));
        if (!done) {
          hear(value);
          to.enqueue(value);
          return;
        }
        mine.end();
        if (broken && running.size) return to.error(broken);
        if (!closed && !running.size) to.enqueue(CLOSED);
        to.close();
      },
      cancel(why) {
        mine.end();
        return reader.cancel(why);
      },
    });
  };
  const openStream = async (request, options) => {
    const mine = (stream = { names: new Set(), checks: new Set(), over: false });
    // Gradio reads the end a moment later than this does.
    mine.end = async () => {
      await pause(50);
      mine.over = true;
      if (mine === stream) stream = null;
      tell(mine);
    };
    try {
      const response = await fetchPlainly(request, options);
      if (response.ok && response.body) return new Response(listen(response.body, mine), response);
      mine.end();
      return response;
    } catch (error) {
      mine.end();
      throw error;
    }
  };
  window.fetch = async (request, options) => {
    const { pathname } = new URL(request.url ?? request, location.href);
    if (pathname.endsWith("/queue/data")) return openStream(request, options);
    const response = await fetchPlainly(request, options);
    if (pathname.endsWith("/queue/join") && response.ok && stream) {
      const open = stream;
      const name = (await response.clone().json().catch(() => null))?.event_id;
      if (name) await Promise.race([isHeard(open, name), pause(5000)]);
    }
    return response;
  };

  // --- The bench: what is chosen stands in the address, and the open tab answers when it changes.
  const root = document.documentElement;
  const tabs = () => [...document.querySelectorAll("#tabs [role=tab][data-tab-id]")];
  const openTab = () =>
    tabs().find((tab) => tab.getAttribute("aria-selected") === "true")?.dataset.tabId ?? "predict";
  const chosen = (id) => document.querySelector(`#${id} input:checked`)?.value;

  const address = () => {
    const query = new URLSearchParams(location.search);
    const put = (name, value) => (value ? query.set(name, value) : query.delete(name));
    put("example", document.querySelector("#chosen [data-example]")?.dataset.example);
    put("model", chosen("model"));
    put("setting", chosen("point"));
    put("tab", openTab());
    return `${location.pathname}?${query}`;
  };
  // Gradio draws what an event brought a moment after it came.
  const settle = (then) => setTimeout(then, 60);
  const sync = () => {
    history.replaceState(null, "", address());
    const name = document.querySelector("#chosen [data-example]")?.dataset.example;
    for (const button of document.querySelectorAll("button.example"))
      button.setAttribute("aria-pressed", String(button.id === `example-${name}`));
  };
  window.bench = {
    refresh() {
      document.querySelector(`#refresh-${openTab()}`)?.click();
      settle(sync);
    },
    start() {
      const named = new URLSearchParams(location.search).get("tab");
      const tab = tabs().find((one) => one.dataset.tabId === named);
      if (tab && named !== openTab()) tab.click();
      else window.bench.refresh();
      root.dataset.tab = tab ? named : openTab();
      settle(sync);
    },
  };
  // The tabs are steps that the browser's Back goes through; X-ray, model and setting stay.
  document.addEventListener("click", (event) => {
    // A link within the page leads to a tab: a named one, or the open one for those who skip to it.
    const link = event.target.closest(".skip, [data-open]");
    if (link) {
      event.preventDefault();
      const to = tabs().find((one) => one.dataset.tabId === (link.dataset.open ?? openTab()));
      if (link.dataset.open) to?.click();
      to?.focus();
      return;
    }
    // The button that was pressed is gone with the X-ray.
    if (event.target.closest("#forget"))
      settle(() => document.querySelector("button#upload, #upload button")?.focus());
    const tab = event.target.closest("[role=tab][data-tab-id]");
    if (!tab) return;
    region.textContent = "";
    const known = root.dataset.tab;
    root.dataset.tab = tab.dataset.tabId;
    settle(() => {
      if (event.isTrusted && known !== tab.dataset.tabId) history.pushState(null, "", address());
      else sync();
    });
  });
  window.addEventListener("popstate", () => {
    const named = new URLSearchParams(location.search).get("tab") ?? "predict";
    tabs().find((tab) => tab.dataset.tabId === named)?.click();
  });

  // A file may be dropped anywhere, and a picture pasted.
  const give = (files) => {
    const place = document.querySelector(
      openTab() === "batch" ? "#batch-upload input[type=file]" : "#bench-xray input[type=file]",
    );
    if (!place || !files.length) return;
    if (["quiz", "results", "about"].includes(openTab()))
      tabs().find((tab) => tab.dataset.tabId === "predict").click();
    const carried = new DataTransfer();
    for (const file of openTab() === "batch" ? files : [files[0]]) carried.items.add(file);
    place.files = carried.files;
    place.dispatchEvent(new Event("change", { bubbles: true }));
  };
  let over = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (carries(event)) root.classList.toggle("dropping", ++over > 0);
  });
  document.addEventListener("dragleave", (event) => {
    if (carries(event)) root.classList.toggle("dropping", --over > 0);
  });
  document.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  document.addEventListener(
    "drop",
    (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.stopPropagation();
      over = 0;
      root.classList.remove("dropping");
      give([...event.dataTransfer.files]);
    },
    true,
  );
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    give(files);
  });

  // --- Arrow keys walk along tabs and along Gradio's radio buttons, which are one stop each.
  document.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const from = event.target;
    if (!by || !from.matches?.("[role=tab], .gradio-container fieldset.block input[type=radio]"))
      return;
    const all = from.matches("[role=tab]")
      ? tabs()
      : [...from.closest("fieldset").querySelectorAll("input[type=radio]")];
    const next = all[(all.indexOf(from) + by + all.length) % all.length];
    event.preventDefault();
    next.focus();
    next.click();
  });

  // --- What changed is said by one region that stays, in a sentence.
  const region = document.createElement("div");
  region.className = "spoken";
  region.setAttribute("role", "status");

  // Details that were opened stay open when the next answer comes.
  let opened = false;
  document.addEventListener(
    "toggle",
    (event) => {
      if (event.target.matches?.(".details")) opened = event.target.open;
    },
    true,
  );

  // What Gradio leaves without a name, and a phone's camera, which asks for pictures by their kind.
  const mend = () => {
    if (!region.isConnected && document.body) document.body.append(region);
    for (const said of document.querySelectorAll("[data-say]")) {
      const text = said.dataset.say;
      said.removeAttribute("data-say");
      if (said.checkVisibility?.() ?? true) region.textContent = text;
    }
    for (const fresh of document.querySelectorAll(".details:not([data-ready])")) {
      fresh.dataset.ready = "";
      fresh.open = opened;
    }
    for (const nameless of document.querySelectorAll('[aria-label="common.upload"]'))
      nameless.setAttribute("aria-label", "Choose files");
    if (matchMedia("(pointer: coarse)").matches)
      document
        .querySelector("#bench-xray input[type=file]:not([accept^=image])")
        ?.setAttribute("accept", "image/*,application/dicom,.dcm,.dicom");
  };
  new MutationObserver(mend).observe(document, { childList: true, subtree: true });


  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.innerHTML =
    '<div class="enlarged-top"><h2></h2>' +
    '<button type="button" data-step="-1" aria-label="Previous">←</button>' +
    '<button type="button" data-step="1" aria-label="Next">→</button>' +
    '<button type="button" data-close aria-label="Close">✕</button>' +
    '</div><div class="enlarged-parts"></div>';
  let shown = null;

  const show = (button) => {
    shown = button;
    dialog.querySelector("h2").textContent = button.dataset.title;
    // A plot is smoothed and keeps its shape; a map is shown in its own pixels.
    dialog.querySelector(".enlarged-parts").className =
      `enlarged-parts ${["plot", "xray"].find((kind) => button.classList.contains(kind)) ?? ""}`;
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
    const all = [
      ...shown.closest(".tiles, .strip, [data-gallery]").querySelectorAll("button.zoom"),
    ];
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
    const t = threshold === null ? "above all" : percent(threshold);
    const values = { t, missed, ill, back, healthy };
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

  // One picture's way through the network: the slider shows the strip's tiles, large.
  const walk = (host, at) => {
    const tiles = host.querySelectorAll(".strip button.zoom");
    const [image, tile] = [host.querySelector(".walk img"), tiles[at]];
    image.src = tile.querySelector("img").src;
    image.alt = tile.dataset.title;
    host.querySelector(".walk figcaption").textContent = tile.dataset.title;
    host.querySelector(".walk input").setAttribute("aria-valuetext", tile.dataset.title);
    tiles.forEach((one, place) => one.classList.toggle("here", place === at));
  };
  document.addEventListener("input", (event) => {
    const host = event.target.closest?.(".depth");
    if (host && event.target.closest(".walk")) walk(host, Number(event.target.value));
  });

  const follow = (event) => {
    const drawing = event.target.closest?.(".roc svg");
    if (!drawing) return;
    const host = drawing.closest(".roc");
    const [left, above, side] = JSON.parse(host.dataset.plot);
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      drawing.getScreenCTM().inverse(),
    );
    const [x, y] = [(at.x - left) / side, (at.y - above) / side];
    let nearest = 0;
    let least = Infinity;
    JSON.parse(host.dataset.steps).forEach(([, missed, back], step) => {
      const { healthy, ill } = host.dataset;
      const distance = (back / Number(healthy) - x) ** 2 + (missed / Number(ill) - y) ** 2;
      if (distance < least) [nearest, least] = [step, distance];
    });
    place(host, nearest);
  };
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerdown", follow);

  // A curve that was just drawn stands at the threshold in use, a walk at its beginning.
  new MutationObserver(() => {
    for (const host of document.querySelectorAll(".depth:not([data-ready])")) {
      host.dataset.ready = "";
      walk(host, 0);
    }
    for (const host of document.querySelectorAll(".roc:not([data-ready])")) {
      host.dataset.ready = "";
      place(host, Number(host.querySelector("input[type=range]").value));
    }
  }).observe(document, { childList: true, subtree: true });
})();
