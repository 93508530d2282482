// The server: what it is asked, and what is done while it works, when it fails, and when it has forgotten.

const server = { networks: [], methods: [], limits: {}, study: null, known: null, source: null, asked: 0, busy: 0, restored: false };

class Refusal extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

/** Ask; an answer that is no success is thrown with the words that the server has for it. */
async function ask(path, { body, json, ...options } = {}) {
  const sent = json === undefined ? body : JSON.stringify(json);
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method: sent === undefined ? "GET" : "POST", body: sent, headers, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer; is relprop serve still running? What is shown here stays.", 0);
  }
  if (answer.ok) return answer;
  const words = await answer.json().then((found) => found.error, () => "");
  throw new Refusal(words || `The server refused this (${answer.status}); try again.`, answer.status);
}

async function askJson(path, options) {
  return (await ask(path, options)).json();
}

/** Do something that takes a while: say so with the seconds, and say what went wrong. Returns whether it succeeded. */
async function busy(words, work) {
  const began = Date.now();
  const tell = () => say(`${words}\u2026${Date.now() - began > 1500 ? ` ${Math.round((Date.now() - began) / 1000)} s` : ""}`);
  server.busy += 1;
  show("working");
  byId("main").setAttribute("aria-busy", "true");
  say(`${words}\u2026`);
  const clock = setInterval(tell, 1000);
  try {
    await work();
    calm();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") alarm(error.message);
    return false;
  } finally {
    clearInterval(clock);
    server.busy -= 1;
    if (!server.busy) {
      show("working", false);
      byId("main").removeAttribute("aria-busy");
      say("");
    }
  }
}

function network() {
  return server.networks.find((each) => each.name === view.network);
}

/** The body of a request for maps, or for the figure of them. */
function request() {
  const what = network()?.kind === "text" ? { text: server.known?.text } : { picture: view.picture };
  return { network: view.network, ...what, targets: view.targets, methods: view.methods };
}

let explainLater = 0;
let stopExplaining = null;

/** Explain when the hand rests: whoever ticks three boxes waits once. */
function explainSoon() {
  clearTimeout(explainLater);
  explainLater = setTimeout(explain, 350);
}

async function explain() {
  clearTimeout(explainLater);
  if (!view.picture && !server.known?.text) return;
  if (!view.targets.length || !view.methods.length) {
    say(`Choose ${view.targets.length ? "a method" : "a class"} to see maps${shown.document ? "; those below are the last ones" : ""}.`);
    return;
  }
  stopExplaining?.abort();
  stopExplaining = new AbortController();
  const { signal } = stopExplaining;
  const number = view.targets.length * view.methods.length;
  const done = await busy(`explaining, ${number} ${number === 1 ? "map" : "maps"}`, async () => {
    const found = await explained(signal);
    if (signal.aborted) return;
    await takeDocument(found);
    shown.of = ofNow();
    show("empty", false);
    byId("rows").classList.remove("stale");
    fitPanel();
    if (!server.known) adopt({ picture: view.picture, classes: found.classes, prepared: found.prepared });
    remember();
  });
  if (!done && !signal.aborted) keepWhatWas();
}

/** The maps; a server that was begun anew is given the picture again, where it is still here. */
async function explained(signal) {
  try {
    return await askJson("api/explain", { json: request(), signal });
  } catch (error) {
    if (error.status !== 404 || !server.source) throw error;
    adopt(await lookAt(server.source));
    return askJson("api/explain", { json: request(), signal });
  }
}

/** After a failure: choices go back to what the maps show, or the maps are marked as those of before. */
function keepWhatWas() {
  const before = shown.document;
  if (!before) return;
  if (shown.of === ofNow()) {
    view.targets = before.classes.map((row) => row.index);
    view.methods = before.methods.map((column) => column.name);
    syncChoices();
  } else byId("rows").classList.add("stale");
  remember();
}

/** What the maps are of: this picture or text, in this network. */
function ofNow() {
  return `${view.network} ${view.picture || server.known?.text || ""}`;
}

async function saveFigure(kind) {
  await busy(`drawing the ${kind.toUpperCase()}`, async () => {
    const look = { under: view.under, scale: view.scale, sign: view.sign, percentile: view.percentile, box: view.box };
    const answer = await ask(`api/figure?format=${kind}`, { json: { ...request(), ...look } });
    download(`${fileName("relprop", view.network)}.${kind}`, await answer.blob());
  });
}
