// The box: drawn on every map, and measured in each as relprop.metrics measures.

/** The box from one pixel to another, both inside. */
function boxOf(a, b) {
  setBox([Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x) + 1, Math.max(a.y, b.y) + 1], drag.from !== null);
}

/** Take a box, half-open and in whole pixels; while it is being dragged the table waits. */
function setBox(box, moving = false) {
  view.box = box;
  drawBoxes();
  tellBox();
  if (!moving) tableOfBox();
  remember();
}

function frame(box, kind) {
  const [left, top, right, bottom] = box;
  const place = { x: left, y: top, width: right - left, height: bottom - top };
  return [makeSvg("rect", { ...place, class: `${kind} under` }), makeSvg("rect", { ...place, class: `${kind} over` })];
}

/** The boxes of the data, and the reader's own. */
function drawBoxes() {
  const given = shown.document?.boxes || [];
  for (const map of visibleMaps()) {
    if (!map.frames) continue;
    const own = view.box ? frame(view.box, "own") : [];
    map.frames.replaceChildren(...given.flatMap((box) => frame(box, "given")), ...own);
  }
}

/** The box as far as it lies in the picture; null where nothing of it does. */
function boxInside() {
  if (!view.box || !shown.width) return null;
  const [left, top, right, bottom] = view.box;
  const box = [Math.max(left, 0), Math.max(top, 0), Math.min(right, shown.width), Math.min(bottom, shown.height)];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

/** What lies inside: sums in double precision of the map's numbers; what has no meaning is null, never zero. */
function measured(map, [left, top, right, bottom]) {
  let inside = 0;
  const positive = [0, 0];
  const negative = [0, 0];
  for (let y = 0, k = 0; y < shown.height; y += 1) {
    for (let x = 0; x < shown.width; x += 1, k += 1) {
      const value = map.numbers[k];
      const within = y >= top && y < bottom && x >= left && x < right;
      if (value > 0) positive[1] += value;
      else negative[1] -= value;
      if (!within) continue;
      inside += value;
      if (value > 0) positive[0] += value;
      else negative[0] -= value;
    }
  }
  const area = ((right - left) * (bottom - top)) / (shown.width * shown.height);
  const mu = map.finite && positive[1] > 0 ? positive[0] / positive[1] : null;
  return {
    inside: map.finite ? inside : null,
    mu,
    area,
    mu_w: mu === null ? null : mu / area,
    negative: map.finite && negative[1] > 0 ? negative[0] / negative[1] : null,
  };
}

const fixed = (digits) => (value) => withMinus(value.toFixed(digits));
const MEASURES = [
  ["inside", "relevance inside", "Sum of the map inside the box", (value) => steady(value, 4)],
  ["mu", "share of positive (μ)", "relprop.metrics.inside_total_ratio", fixed(4)],
  ["area", "area", "The box's share of the picture", (value) => percent(value, 1)],
  ["mu_w", "μ_w", "relprop.metrics.weighted_inside_total_ratio", fixed(3)],
  ["negative", "negative inside", "The share of the map's negative relevance that lies inside the box", fixed(4)],
];

function tableOfBox() {
  const maps = visibleMaps().filter((map) => !map.tokens);
  show("box-part", maps.length > 0);
  if (!maps.length) return;
  const box = boxInside();
  tellBox();
  byId("box-table").replaceChildren(...(box ? [measuresTable(maps, box)] : []));
}

function measuresTable(maps, box) {
  const head = MEASURES.map(([, words, title]) => make("th", { scope: "col", title }, ...titled(words)));
  const rows = maps.map((map) => {
    const found = measured(map, box);
    const cells = MEASURES.map(([name, , , written]) => {
      const value = found[name];
      const words = value === null ? "not defined" : written(value);
      return make("td", { "data-measure": name, "data-value": value === null ? "" : value, title: value === null ? "" : String(value) }, words);
    });
    return make("tr", {}, make("th", { scope: "row" }, make("span", {}, map.row.name), " ", make("span", { class: "soft" }, ...titled(titleOf(map.column)))), ...cells);
  });
  return make("table", { class: "measures" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "class, method"), ...head)), make("tbody", {}, ...rows));
}

const EDGES = ["left", "top", "right", "bottom"];

/** The box in numbers, to be read and to be written. */
function tellBox() {
  const form = byId("box-form");
  if (!form.children.length) {
    const inputs = EDGES.map((edge) => make("label", {}, edge, make("input", { type: "number", name: edge, min: 0, step: 1, inputmode: "numeric" })));
    const clear = make("button", { type: "button", onclick: () => setBox(null) }, "no box");
    form.append(...inputs, make("button", { type: "submit" }, "measure"), clear);
    form.noValidate = true;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      boxFromNumbers(new FormData(form));
    });
  }
  EDGES.forEach((edge, k) => {
    const input = form.elements[edge];
    input.max = k % 2 ? shown.height : shown.width;
    if (document.activeElement !== input) input.value = view.box ? view.box[k] : "";
  });
  byId("box-told").textContent = view.box
    ? "In pixels of the network's input; left and top inside, right and bottom outside."
    : "Drag a box on any map, press b on one, or write its edges.";
}

function boxFromNumbers(form) {
  const [left, top, right, bottom] = EDGES.map((edge) => (form.get(edge) === "" ? NaN : Number(form.get(edge))));
  const whole = [left, top, right, bottom].every(Number.isInteger);
  if (!whole || left < 0 || top < 0 || right <= left || bottom <= top || right > shown.width || bottom > shown.height) {
    alarm(`A box is four whole numbers: left below right, 0 to ${shown.width}, and top below bottom, 0 to ${shown.height}.`);
    return;
  }
  calm();
  setBox([left, top, right, bottom]);
}
