// A picture that says where it was clicked. Python's side is the class `Picture` in gan_course/widgets.py.

const clamp = v => Math.min(1, Math.max(0, v));

// What the mouse and the arrow keys do on the picture: another cell is chosen, or another place.
function listen(frame, kind, get, set) {
  let held = false;

  function point(event) {
    const box = frame.getBoundingClientRect();
    const x = clamp((event.clientX - box.left) / box.width);
    const y = clamp((event.clientY - box.top) / box.height);
    if (kind !== "cells") return set({place: [x, y]});
    const cols = get("cols"), rows = get("rows");
    const col = Math.min(cols - 1, Math.floor(x * cols));
    const row = Math.min(rows - 1, Math.floor(y * rows));
    set({chosen: row * cols + col});
  }

  function key(event) {
    const dx = {ArrowLeft: -1, ArrowRight: 1}[event.key] ?? 0;
    const dy = {ArrowUp: -1, ArrowDown: 1}[event.key] ?? 0;
    if (!dx && !dy) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = get("place");
    if (kind !== "cells") return set({place: [clamp(x + dx * .04), clamp(y + dy * .04)]});
    const next = Math.max(0, get("chosen")) + dx + dy * get("cols");
    if (next >= 0 && next < get("cols") * get("rows")) set({chosen: next});
  }

  frame.onpointerdown = event => {
    held = kind !== "cells";  // a cell is clicked, a pad or a plot is dragged over
    if (held) frame.setPointerCapture(event.pointerId);
    point(event);
  };
  frame.onpointermove = event => { if (held) point(event); };
  frame.onpointerup = frame.onpointercancel = () => { held = false; };
  frame.onkeydown = key;
}

// Where the mark lies and how large it is.
function placeOfMark(kind, get) {
  const percent = x => x * 100 + "%";
  if (kind !== "cells") return {left: percent(get("place")[0]), top: percent(get("place")[1])};
  const cols = get("cols"), rows = get("rows"), i = get("chosen");
  return {left: percent(i % cols / cols), top: percent(Math.floor(i / cols) / rows),
          width: percent(1 / cols), height: percent(1 / rows)};
}

// What is chosen, for those who listen to the page: the attributes of a slider.
function words(kind, get) {
  const cells = get("cols") * get("rows"), i = get("chosen"), [x, y] = get("place");
  const said = kind === "cells" ? (i < 0 ? "none" : `${i + 1} of ${cells}`)
             : kind === "pad" ? `x ${x.toFixed(2)}, y ${y.toFixed(2)}` : `x ${x.toFixed(2)}`;
  return {role: "slider", "aria-label": get("label"), "aria-valuetext": said, "aria-valuemin": 0,
          "aria-valuemax": kind === "cells" ? cells - 1 : 1, "aria-valuenow": kind === "cells" ? i : x};
}

function render({model, el}) {
  const frame = document.createElement("div");
  const img = document.createElement("img");
  const mark = document.createElement("div");
  const get = name => model.get(name), kind = get("kind"), live = kind !== "still";
  frame.className = `gan-picture gan-${kind}`;
  frame.dataset.lmSuppressShortcuts = "true";  // JupyterLab leaves the keys to us
  frame.tabIndex = live ? 0 : -1;
  mark.className = "gan-mark";
  img.draggable = false;
  frame.append(img, mark);
  el.append(frame);

  function set(values) {
    for (const name in values) model.set(name, values[name]);
    model.save_changes();
  }

  function draw() {
    const old = img.src;
    img.src = URL.createObjectURL(new Blob([get("value")], {type: "image/png"}));
    if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);
  }

  function state() {
    frame.style.width = get("width") + "px";
    frame.style.display = get("value").byteLength ? "" : "none";
    img.alt = live ? "" : get("label");
    mark.hidden = kind === "cells" ? get("chosen") < 0 : kind !== "pad";
    Object.assign(mark.style, placeOfMark(kind, get));
    const attributes = live ? words(kind, get) : {};
    for (const name in attributes) frame.setAttribute(name, attributes[name]);
  }

  if (live) listen(frame, kind, get, set);
  model.on("change:value", draw);
  model.on("change", state);
  draw();
  state();
}

export default {render};
