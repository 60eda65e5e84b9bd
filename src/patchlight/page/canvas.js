// The canvas of the page. Every pixel is one of the colours, without blends at edges. `value` is its
// description as JSON: { side, colours: [[name, hex], ...], labels, picture }.
const host = element.querySelector(".pl-paint");
const TOOLS = [["rectangle", "Rectangle"], ["brush", "Brush"], ["fill", "Fill"]];
const state = { tool: "rectangle", colour: "#000000", radius: 3, undo: [], described: "" };
let canvas, context, start, snapshot, last;

function make(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  parent.append(node);
  return node;
}

function button(parent, label, title, action) {
  return make("button", { type: "button", className: "pl-tool", textContent: label, title, onclick: action }, parent);
}

function press(group, chosen) {
  for (const one of group.children) one.setAttribute("aria-pressed", String(one === chosen));
}

function build(spec) {
  host.replaceChildren();
  const tools = make("div", { className: "pl-tools" }, host);
  const kinds = make("div", { className: "pl-group" }, tools);
  for (const [kind, label] of TOOLS) {
    const tool = button(kinds, label, label, () => { state.tool = kind; press(kinds, tool); });
    if (kind === state.tool) press(kinds, tool);
  }
  const width = make("label", { className: "pl-width", title: "Width of the brush" }, tools);
  make("span", { textContent: "Width" }, width);
  const range = make("input", { type: "range", min: 1, max: 16, value: state.radius }, width);
  range.setAttribute("aria-label", "Width of the brush");
  range.oninput = () => { state.radius = Number(range.value); };
  const acts = make("div", { className: "pl-group" }, tools);
  button(acts, "Undo", "Take back the last stroke", undo);
  button(acts, "Clear", "Fill with the first colour", () => { keep(); clear(spec); });
  if (spec.labels) button(acts, "Example", "Put a house there", () => trigger("click"));

  canvas = make("canvas", { width: spec.side, height: spec.side }, make("div", { className: "pl-board" }, host));
  canvas.setAttribute("aria-label", "Drawing");
  context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  canvas.onpointerdown = begin;
  canvas.onpointermove = move;
  canvas.onpointerup = canvas.onpointercancel = end;

  const swatches = make("div", { className: "pl-swatches" }, host);
  for (const [name, hex] of spec.colours) {
    const swatch = make("button", { type: "button", className: "pl-swatch", title: name }, swatches);
    make("i", {}, swatch).style.background = hex;
    make("span", { textContent: name }, swatch);
    swatch.onclick = () => { state.colour = hex; press(swatches, swatch); };
  }
  // The first colour is already there.
  swatches.children[Math.min(2, swatches.children.length - 1)].click();
  state.undo = [];
  clear(spec);
}

function clear(spec) {
  context.fillStyle = spec.colours[0][1];
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function keep() {
  state.undo.push(context.getImageData(0, 0, canvas.width, canvas.height));
  if (state.undo.length > 40) state.undo.shift();
}

function undo() {
  const before = state.undo.pop();
  if (before) context.putImageData(before, 0, 0);
}

function at(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top].map((v, i) =>
    Math.floor((v / [box.width, box.height][i]) * canvas.width));
}

function begin(event) {
  if (event.button !== 0) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  keep();
  start = last = at(event);
  snapshot = state.undo[state.undo.length - 1];
  context.fillStyle = state.colour;
  if (state.tool === "fill") { fill(start); start = null; } else { move(event); }
}

function move(event) {
  if (!start) return;
  const here = at(event);
  if (state.tool === "rectangle") {
    context.putImageData(snapshot, 0, 0);
    const [left, top] = [0, 1].map((i) => Math.min(start[i], here[i]));
    const [right, bottom] = [0, 1].map((i) => Math.max(start[i], here[i]));
    context.fillRect(left, top, right - left + 1, bottom - top + 1);
  } else {
    stroke(last, here);
  }
  last = here;
}

function end() { start = null; }

function stroke([x0, y0], [x1, y1]) {
  const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1);
  for (let i = 0; i <= steps; i++) dab(Math.round(x0 + ((x1 - x0) * i) / steps), Math.round(y0 + ((y1 - y0) * i) / steps));
}

// A disc in whole pixels: arcs of the canvas would have soft edges.
function dab(x, y) {
  const r = state.radius - 0.5;
  for (let dy = -Math.floor(r); dy <= r; dy++) {
    const half = Math.floor(Math.sqrt(r * r - dy * dy));
    context.fillRect(x - half, y + dy, 2 * half + 1, 1);
  }
}

function fill([x, y]) {
  const { width, height } = canvas;
  const image = context.getImageData(0, 0, width, height);
  const words = new Uint32Array(image.data.buffer);
  context.fillRect(0, 0, 1, 1);
  const colour = new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
  const old = words[y * width + x];
  if (old !== colour) {
    const open = [y * width + x];
    while (open.length) {
      const i = open.pop();
      if (words[i] !== old) continue;
      words[i] = colour;
      if (i % width > 0) open.push(i - 1);
      if (i % width < width - 1) open.push(i + 1);
      if (i >= width) open.push(i - width);
      if (i < width * (height - 1)) open.push(i + width);
    }
  }
  context.putImageData(image, 0, 0);
}

function show() {
  const spec = JSON.parse(props.value);
  const described = JSON.stringify([spec.side, spec.colours, spec.labels]);
  if (described !== state.described) {
    state.tool = spec.labels ? "rectangle" : "brush";
    state.described = described;
    build(spec);
  }
  if (!spec.picture) return;
  const picture = new Image();
  picture.onload = () => { keep(); context.drawImage(picture, 0, 0); };
  picture.src = spec.picture;
}

show();
watch("value", show);
