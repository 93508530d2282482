// What can be taken away: pictures, numbers, the code, a link.

function download(name, content, type) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A name that every file system takes. */
function fileName(...words) {
  const plain = words.map((word) => String(word).replace(/[^\p{L}\p{N}.=-]+/gu, "-").replace(/^[.-]+|-+$/g, "").slice(0, 60));
  return plain.filter(Boolean).join("-") || "map";
}

/** Numbers as a NumPy file, float32. */
function npy(numbers, shape) {
  const words = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const described = `{'descr': '<f4', 'fortran_order': False, 'shape': ${words}, }`;
  const head = 64 * Math.ceil((10 + described.length + 1) / 64);
  const buffer = new ArrayBuffer(head + 4 * numbers.length);
  const bytes = new Uint8Array(buffer);
  bytes.set([0x93, ...[..."NUMPY"].map((letter) => letter.charCodeAt(0)), 1, 0, (head - 10) & 255, (head - 10) >> 8]);
  const padded = `${described.padEnd(head - 11)}\n`;
  bytes.set([...padded].map((letter) => letter.charCodeAt(0)), 10);
  const view_ = new DataView(buffer, head);
  numbers.forEach((value, k) => view_.setFloat32(4 * k, value, true));
  return new Blob([buffer], { type: "application/octet-stream" });
}

/** The buttons below a map. */
function savers(map) {
  const name = fileName(map.row.name, map.method);
  const shape = map.tokens ? [map.numbers.length] : [shown.height, shown.width];
  const of = `of ${titleOf(map.column)} for ${map.row.name}`;
  const number = make("button", { type: "button", class: "link", "aria-label": `NPY ${of}`, onclick: () => download(`${name}.npy`, npy(map.numbers, shape)) }, "NPY");
  if (map.tokens) return make("div", { class: "savers" }, number);
  const picture = make("button", { type: "button", class: "link", "aria-label": `PNG ${of}`, onclick: () => savePicture([[map]], `${name}.png`) }, "PNG");
  return make("div", { class: "savers" }, picture, number);
}

function fillSave() {
  const button = (words, act) => make("button", { type: "button", onclick: act }, words);
  const texts = Boolean(shown.document?.tokens);
  const buttons = texts ? [] : [button("PNG", saveAllAsPicture)];
  if (SERVED && !texts) buttons.push(...["pdf", "svg"].map((kind) => button(kind.toUpperCase(), () => saveFigure(kind))));
  buttons.push(button("JSON", saveJson));
  if (ALONE && (texts || !SERVED)) buttons.push(button("Print, PDF", () => window.print()));
  byId("save").replaceChildren(...buttons);
}

function saveAllAsPicture() {
  const rows = shown.rows.map((row) => visibleMaps().filter((map) => map.row === row && map.finite)).filter((row) => row.length);
  savePicture(rows, `${fileName("relprop", shown.document.network)}.png`);
}

/** All that is shown, and what was measured, with the numbers of the maps as base64 of float32, little endian. */
function saveJson() {
  const { image, maps, ...rest } = shown.document;
  const box = boxInside();
  const kept = visibleMaps().map((map) => ({
    ...maps.find((each) => each.target === map.target && each.method === map.method),
    dtype: "<f4",
    shape: map.tokens ? [map.numbers.length] : [shown.height, shown.width],
    box: box && !map.tokens ? measured(map, box) : null,
  }));
  const what = { ...rest, classes: shown.rows, methods: shown.methods, view: { ...view }, maps: kept };
  download(`${fileName("relprop", shown.document.network)}.json`, JSON.stringify(what, null, 1), "application/json");
}

const SIDE = 448; // of a map in a picture, where it has fewer pixels
const EDGE = 24;

/** Draw rows of maps with titles, bars and what they hold, and save them. */
function savePicture(rows, name) {
  const factor = Math.max(1, Math.round(SIDE / Math.max(shown.width, shown.height)));
  const [w, h] = [shown.width * factor, shown.height * factor];
  const below = 118;
  const columns = Math.max(...rows.map((row) => row.length));
  const canvas = make("canvas", { width: EDGE + columns * (w + EDGE), height: EDGE + rows.length * (h + below + 74) });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  rows.forEach((row, number) => {
    const top = EDGE + number * (h + below + 74);
    write(context, `${row[0].row.name}, ${told(row[0].row)}`, EDGE, top + 22, canvas.width - 2 * EDGE, "600 22px sans-serif");
    row.forEach((map, column) => drawInto(context, map, EDGE + column * (w + EDGE), top + 74, w, h));
  });
  canvas.toBlob((blob) => download(name, blob), "image/png");
}

function drawInto(context, map, left, top, w, h) {
  write(context, titleOf(map.column), left, top - 10, w, "18px sans-serif");
  context.drawImage(map.canvas, left, top, w, h);
  for (const [box, kind] of [...(shown.document.boxes || []).map((each) => [each, "#ffe14d"]), ...(view.box ? [[view.box, "#fff"]] : [])]) {
    const scale = w / shown.width;
    for (const [width, colour] of [[5, "#000"], [2, kind]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(left + box[0] * scale, top + box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
    }
  }
  context.drawImage(map.bar, left, top + h + 10, w, 14);
  const [low, middle, high] = [...map.ends.children].map((part) => part.textContent);
  write(context, low, left, top + h + 44, w, "16px sans-serif");
  write(context, middle, left + w / 2, top + h + 44, w, "16px sans-serif", "center");
  write(context, high, left + w, top + h + 44, w, "16px sans-serif", "right");
  const { words, warning } = accountWords(map, "pixels");
  write(context, words, left, top + h + 68, w, "16px sans-serif", "left", warning ? "#a8281e" : "#222");
  write(context, warning, left, top + h + 90, w, "16px sans-serif", "left", "#a8281e");
}

/** Words on a line, cut with an ellipsis where they are too long. */
function write(context, words, x, y, width, font, align = "left", colour = "#222") {
  Object.assign(context, { font, textAlign: align, fillStyle: colour });
  let cut = words;
  while (cut.length > 1 && context.measureText(cut).width > width) cut = `${cut.slice(0, -2)}\u2026`;
  context.fillText(cut, x, y);
}

function showCode() {
  const code = shown.document?.code || "";
  byId("code-told").textContent = code ? "Python that gives these maps." : "There is no code yet: nothing is explained.";
  byId("code-text").textContent = code;
  byId("copy-code").hidden = !code;
  byId("code").showModal();
}
