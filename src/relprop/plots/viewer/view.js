// The view: what is shown and how. It stands in the address behind #, so that a link restores it.

const DOCUMENT = JSON.parse(document.getElementById("document").textContent);
const SERVED = DOCUMENT.mode === "serve";
const ALONE = window.parent === window; // in a frame the address is not the reader's

const view = {
  network: "",
  picture: "",
  text: "",
  targets: [],
  methods: [],
  under: 50,
  scale: "each",
  percentile: LOOK.percentile,
  sign: "both",
  box: null,
};

/** What is on the page: the document, its maps with their numbers, the grey picture, the cross-hair. */
const shown = { maps: [], rows: [], methods: [], width: 0, height: 0, grey: null, cross: null, document: null };

/** The view as the part of an address behind #. */
function fragment() {
  const words = new URLSearchParams();
  if (SERVED && view.network) words.set("network", view.network);
  if (view.picture) words.set("picture", view.picture);
  if (view.text) words.set("text", view.text);
  words.set("targets", view.targets.join(","));
  for (const method of view.methods) words.append("methods", method);
  words.set("under", view.under);
  words.set("scale", view.scale);
  words.set("sign", view.sign);
  words.set("percentile", view.percentile);
  if (view.box) words.set("box", view.box.join(","));
  return `#${words}`;
}

/** Take a view from an address; what makes no sense in it is passed over. */
function readFragment(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  for (const name of ["network", "picture", "text"]) if (words.get(name)) view[name] = words.get(name);
  if (words.get("targets")) view.targets = words.get("targets").split(",").map(Number).filter(Number.isInteger);
  const methods = words.getAll("methods").flatMap((word) => (word.includes(":") ? [word] : word.split(","))); // options have commas
  if (methods.some(Boolean)) view.methods = methods.filter(Boolean);
  const under = Number(words.get("under") ?? NaN);
  if (under >= 0 && under <= 100) view.under = under;
  const percentage = Number(words.get("percentile") ?? NaN);
  if (percentage > 0 && percentage <= 100) view.percentile = percentage;
  if (["each", "method", "all"].includes(words.get("scale"))) view.scale = words.get("scale");
  if (["both", "+", "-"].includes(words.get("sign"))) view.sign = words.get("sign");
  const box = (words.get("box") || "").split(",").map(Number);
  if (box.length === 4 && box.every(Number.isInteger) && box[2] > box[0] && box[3] > box[1]) view.box = box;
}

let rememberLater = 0;

/** Put the view into the address, when the hand rests. */
function remember() {
  if (!ALONE) return;
  clearTimeout(rememberLater);
  rememberLater = setTimeout(rememberNow, 150);
}

function rememberNow() {
  clearTimeout(rememberLater);
  try {
    window.history.replaceState(null, "", fragment());
  } catch {
    // a page that may not change its address: the link is still made when it is asked for
  }
}

function linkOfView() {
  return window.location.href.split("#")[0] + fragment();
}
