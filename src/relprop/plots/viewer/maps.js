// Rows of classes, columns of methods: built when what is shown changes, painted when its look does.

/** Take a document: read its numbers, and show it. */
async function takeDocument(found) {
  const texts = Boolean(found.tokens);
  const maps = found.maps.map((map) => {
    const numbers = decoded(map.values);
    return { ...map, numbers, tokens: texts, finite: numbers.every(Number.isFinite) };
  });
  const grey = texts ? null : await greyOf(found.image, found.width, found.height);
  Object.assign(shown, { document: found, maps, grey, width: found.width || 0, height: found.height || 0, cross: null });
  buildRows();
}

/** The classes and methods that the view asks for, of those that the document has; all where it asks for none of them. */
function chosen(items, key, wanted) {
  const found = items.filter((item) => wanted.includes(item[key]));
  return found.length || SERVED ? found : items;
}

function buildRows() {
  const found = shown.document;
  shown.rows = chosen(found.classes, "index", view.targets);
  shown.methods = chosen(found.methods, "name", view.methods);
  const rows = shown.rows.map((row) => rowOf(row));
  byId("rows").replaceChildren(...rows);
  byId("rows").classList.toggle("coarse", Math.max(shown.width, shown.height) <= 128);
  repaint();
  drawBoxes();
  drawCross();
  tableOfBox();
}

function visibleMaps() {
  return shown.maps.filter((map) => map.figure && shown.rows.includes(map.row) && shown.methods.includes(map.column));
}

function rowOf(row) {
  const maps = shown.methods
    .map((column) => [column, shown.maps.find((map) => map.target === row.index && map.method === column.name)])
    .filter(([, map]) => map);
  for (const [column, map] of maps) Object.assign(map, { row, column });
  const notes = rowNotes(row, maps.map(([, map]) => map)); // which leaves to each map its own
  const figures = maps.map(([, map]) => (map.tokens ? tokensFigure(map) : mapFigure(map)));
  return make(
    "section",
    { class: "row", "aria-label": row.name },
    make("h2", {}, row.name, " ", make("span", { class: "soft" }, told(row))),
    ...notes.map((note) => make("p", { class: "warning" }, note)),
    make("div", { class: shown.document.tokens ? "texts" : "maps" }, ...figures),
  );
}

function told(row) {
  const parts = row.logit === null || row.logit === undefined ? [] : [`logit ${steady(row.logit, 4)}`];
  if (row.probability !== null && row.probability !== undefined) parts.push(chance(row.probability));
  return parts.join(", ");
}

/** What is said of all maps of a row is said once, above them; and where the network says no. Each map keeps its own. */
function rowNotes(row, maps) {
  const said = maps.map((map) => [...new Set(map.notes || [])].filter((note) => !note.startsWith(LOOK.negative) && note !== accountWords(map, "").warning));
  const common = (said[0] || []).filter((note) => said.every((notes) => notes.includes(note)));
  maps.forEach((map, k) => {
    map.own = said[k].filter((note) => !common.includes(note));
  });
  if (!(row.logit < 0)) return common;
  const turned = maps.some((map) => map.method.startsWith("lrp-alpha")) ? ` ${LOOK.turned}` : "";
  return [LOOK.negative + turned, ...common];
}

/** The title of a method; what follows its colon may break. */
function titleOf(column) {
  return column.title || column.name;
}

function mapFigure(map) {
  const { words, warning } = accountWords(map, "pixels");
  const title = make("figcaption", { title: map.method }, ...titled(titleOf(map.column)));
  const below = make("div", { class: "below" });
  below.append(make("p", { class: warning ? "warning" : "" }, warning ? `${words}, ${warning}` : words));
  for (const note of map.own) below.append(make("p", { class: "warning" }, note));
  if (!map.finite) {
    map.figure = make("figure", {}, title, make("p", { class: "hole" }, "The map is not finite."), below);
    return map.figure;
  }
  map.canvas = make("canvas", { width: shown.width, height: shown.height, "aria-hidden": "true" });
  map.frames = makeSvg("g");
  map.lines = makeSvg("g", { class: "cross" });
  const drawing = makeSvg("svg", { viewBox: `0 0 ${shown.width} ${shown.height}`, "aria-hidden": "true" }, map.frames, map.lines);
  map.readout = make("output", { class: "readout", "aria-live": "off" });
  map.surface = make(
    "div",
    {
      class: "surface",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "map",
      "aria-label": `${titleOf(map.column)} for ${map.row.name}: ${words}. Arrow keys move the cross-hair, b begins and ends a box.`,
    },
    map.canvas,
    drawing,
    map.readout,
  );
  map.surface.style.aspectRatio = `${shown.width} / ${shown.height}`;
  listen(map);
  map.bar = make("canvas", { class: "bar", "aria-hidden": "true" });
  map.ends = make("div", { class: "ends" });
  const scale = make("div", { class: "scale" }, map.bar, map.ends);
  map.figure = make("figure", {}, title, map.surface, scale, below, savers(map));
  return map.figure;
}

/** Colour all maps anew: another scale, sign, percentile, or more of the picture. */
function repaint() {
  const maps = visibleMaps();
  giveRanges(maps, view);
  for (const map of maps.filter((each) => each.finite)) {
    if (map.tokens) paintTokens(map);
    else {
      paintMap(map.canvas.getContext("2d"), map, shown.grey, view.under / 100, shown.width, shown.height);
      paintBar(map.bar, map.range);
      tellEnds(map);
    }
  }
}

let repaintLater = 0;

function repaintSoon() {
  cancelAnimationFrame(repaintLater);
  repaintLater = requestAnimationFrame(repaint);
}

/** The numbers at the bar's ends, which are pointed where numbers lie beyond. */
function tellEnds(map) {
  const { range } = map;
  const { below, above } = beyond(map.shown, range);
  map.bar.className = `bar${below ? " below-end" : ""}${above ? " above-end" : ""}`;
  const low = range.low ? signedWord(range.low) : "0";
  const high = range.high ? signedWord(range.high) : "0";
  const middle = { both: "against · for", "+": "for", "-": "against" }[range.side];
  const hint = below || above ? "Pointed: some pixels lie beyond this end." : "";
  map.ends.title = hint;
  map.ends.replaceChildren(make("span", {}, low), make("span", { class: "soft" }, middle), make("span", {}, high));
}
