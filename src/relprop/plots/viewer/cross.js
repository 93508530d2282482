// One cross-hair in all maps: moved by the mouse, a finger or the arrow keys; every map tells its number there.

const drag = { from: null, map: null, marked: null };

function listen(map) {
  const { surface } = map;
  surface.addEventListener("pointermove", (event) => pointed(map, event));
  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    surface.focus({ preventScroll: true });
    Object.assign(drag, { map, from: pixelAt(map, event) });
    moveCross(drag.from);
    surface.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  surface.addEventListener("pointerup", () => endDrag());
  surface.addEventListener("pointercancel", () => endDrag());
  surface.addEventListener("pointerleave", () => {
    if (document.activeElement !== surface && !drag.from) moveCross(null);
  });
  surface.addEventListener("keydown", (event) => pressed(map, event));
  surface.addEventListener("focus", () => {
    if (!shown.cross && surface.matches(":focus-visible")) moveCross({ x: shown.width >> 1, y: shown.height >> 1 }, map);
  });
}

/** The pixel below the pointer, within the map. */
function pixelAt(map, event) {
  const place = map.surface.getBoundingClientRect();
  const x = Math.floor(((event.clientX - place.left) / place.width) * shown.width);
  const y = Math.floor(((event.clientY - place.top) / place.height) * shown.height);
  return { x: within(x, shown.width - 1), y: within(y, shown.height - 1) };
}

function within(number, most) {
  return Math.min(Math.max(number, 0), most);
}

function pointed(map, event) {
  const pixel = pixelAt(map, event);
  moveCross(pixel);
  if (drag.from && drag.map === map && (pixel.x !== drag.from.x || pixel.y !== drag.from.y)) boxOf(drag.from, pixel);
}

function endDrag() {
  if (drag.from && view.box) tableOfBox();
  Object.assign(drag, { from: null, map: null });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressed(map, event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const at = shown.cross || { x: shown.width >> 1, y: shown.height >> 1 };
  const step = STEPS[event.key];
  if (step) {
    const far = event.shiftKey ? 10 : 1;
    const next = { x: within(at.x + far * step[0], shown.width - 1), y: within(at.y + far * step[1], shown.height - 1) };
    moveCross(next, map);
    if (drag.marked) boxOf(drag.marked, next);
  } else if (event.key === "b" || event.key === "B") mark(at);
  else if (event.key === "Escape" && (drag.marked || view.box)) {
    drag.marked = null;
    setBox(null);
    speak("no box");
  } else return;
  event.preventDefault();
}

/** Begin a box at the cross-hair, or end it there. */
function mark(at) {
  if (drag.marked) {
    boxOf(drag.marked, at);
    drag.marked = null;
    tableOfBox();
    speak(`box ${view.box.join(", ")}; the table below has what lies inside`);
  } else {
    drag.marked = at;
    boxOf(at, at);
    speak(`a box begins at ${at.x}, ${at.y}; move, and press b again`);
  }
}

/** Move the cross-hair, null: away; `by` the keys in a map: its number is spoken. */
function moveCross(pixel, by = null) {
  shown.cross = pixel;
  drawCross();
  if (pixel && by) speak(`${pixel.x}, ${pixel.y}: ${exact(by.numbers[pixel.y * shown.width + pixel.x])}`);
}

function drawCross() {
  const at = shown.cross;
  for (const map of visibleMaps()) {
    if (map.tokens || !map.finite) continue;
    const words = at ? [exact(map.numbers[at.y * shown.width + at.x]), make("span", {}, ` at ${at.x}, ${at.y}`)] : [];
    map.readout.replaceChildren(...words);
    map.readout.classList.toggle("low", Boolean(at && 2 * at.y < shown.height)); // not where one looks
    const [x, y, w, h] = at ? [at.x + 0.5, at.y + 0.5, shown.width, shown.height] : [];
    const lines = at ? [`M${x} 0V${h}`, `M0 ${y}H${w}`].flatMap((d) => ["under", "over"].map((kind) => makeSvg("path", { d, class: kind }))) : [];
    map.lines.replaceChildren(...lines);
  }
}
