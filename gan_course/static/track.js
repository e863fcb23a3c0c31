// A slider with a name, a text for each value, and a play button if `interval` is above 0.
// Python's side is the class `Track` in gan_course/widgets.py.

function make(tag, more) {
  return Object.assign(document.createElement(tag), more);
}

function render({model, el}) {
  const get = name => model.get(name);
  const row = make("div", {className: "gan-track"}), title = make("span"), said = make("output");
  const range = make("input", {type: "range", min: 0}), button = make("button", {className: "jupyter-button"});
  let timer = 0;

  function move(value) {
    model.set("value", value);
    model.save_changes();
  }

  function next() {
    const value = get("value") + get("step");
    move(value < get("texts").length ? value : 0);
  }

  function play(on) {
    clearInterval(timer);
    timer = on ? setInterval(next, get("interval")) : 0;
    button.textContent = on ? "Pause" : "Play";
    button.setAttribute("aria-label", `${button.textContent} ${get("label")}`);
  }

  function state() {
    const text = get("texts")[get("value")] ?? "";
    title.textContent = get("label");
    range.max = get("texts").length - 1;
    range.value = get("value");
    range.setAttribute("aria-label", get("label"));
    range.setAttribute("aria-valuetext", text);
    said.textContent = text;
  }

  range.onkeydown = event => {  // JupyterLab takes the browser's own handling of the arrows away
    const way = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    play(false);
    move(Math.min(get("texts").length - 1, Math.max(0, get("value") + way)));
  };
  range.oninput = () => {
    play(false);
    move(+range.value);
  };
  button.onclick = () => play(!timer);

  row.dataset.lmSuppressShortcuts = "true";  // JupyterLab leaves the keys to us
  row.append(title, range, said);
  if (get("interval")) row.append(button);
  el.append(row);
  model.on("change", state);
  state();
  play(false);
  return () => play(false);
}

export default {render};
