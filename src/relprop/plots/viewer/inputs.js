// What is explained: a picture that is dropped, pasted, chosen or a sample; a text; in which network.

async function openServer() {
  show("serve");
  await busy("asking for the networks", async () => {
    const found = await askJson("api/networks");
    Object.assign(server, { networks: found.networks, methods: found.methods, limits: found.limits || {}, study: found.study });
    byId("network").replaceChildren(...found.networks.map((each) => make("option", { value: each.name }, networkWords(each))));
    server.restored = Boolean(view.picture || view.text);
    if (!network()) view.network = found.networks[0].name;
    byId("network").value = view.network;
    if (!view.methods.length) view.methods = usualMethods();
    takeNetwork();
    await fillSamples();
  });
  listenToInputs();
  if (server.study) openStudy();
  if (view.text && network()?.kind === "text") await readText(view.text);
  else if (view.picture) await restore();
}

function networkWords(each) {
  return each.classes && each.targets !== "tokens" ? `${each.name} (${each.classes} classes)` : each.name;
}

function methodsOfNetwork() {
  return network()?.methods || server.methods.filter((method) => !method.kinds || method.kinds.includes(network()?.kind));
}

function usualMethods() {
  const methods = methodsOfNetwork();
  return [methods.find((method) => method.default) || methods[0]].map((method) => method.name);
}

/** Fit the panel to the network that is chosen. */
function takeNetwork() {
  const text = network()?.kind === "text";
  show("of-pictures", !text);
  show("of-texts", text);
  tellEmpty(text);
  show("prepared", Boolean(network()?.prepared));
  byId("prepared-words").textContent = network()?.prepared || "";
  choices.methods = methodsOfNetwork();
  const known = view.methods.filter((name) => choices.methods.some((method) => method.name === name));
  view.methods = known.length ? known : usualMethods();
  fillChoices();
}

/** What there is to do, while nothing is shown. */
function tellEmpty(text) {
  show("empty", !shown.document);
  show("samples", !text);
  byId("empty-title").textContent = text ? "Write a text" : "Drop a picture anywhere on this page";
  byId("empty-words").textContent = text
    ? "The model reads it; then every token is coloured by what it has to do with the word that comes next, or with the class."
    : "The network says what it sees; then every pixel is coloured by what it has to do with that: red speaks for a class, blue against it.";
}

async function fillSamples() {
  const samples = await askJson("api/samples").catch(() => []);
  const list = Array.isArray(samples) ? samples : samples.samples || [];
  const buttons = list.map((each) => make("button", { type: "button", class: "link", onclick: () => lookAtSample(each.name) }, each.title || each.name));
  byId("samples").replaceChildren(...(buttons.length ? [make("span", { class: "soft" }, "or try "), ...buttons] : []));
}

function lookAtSample(name) {
  return newPicture("reading the sample", { path: `api/samples/${encodeURIComponent(name)}`, body: "" });
}

/** Let the network look at a picture: one that is sent, or one that the server has at an address. */
function lookAt({ path, body }) {
  return askJson(`${path}?network=${encodeURIComponent(view.network)}`, { body });
}

function takeFile(file) {
  if (!file) return;
  if (network()?.kind === "text") {
    alarm(`${view.network} reads texts; choose a network that looks at pictures.`);
    return;
  }
  if (server.limits.bytes && file.size > server.limits.bytes) {
    alarm(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB, and the server takes ${(server.limits.bytes / 1e6).toFixed(0)} MB; make it smaller.`);
    return;
  }
  newPicture("looking at the picture", { path: "api/pictures", body: file });
}

/** Take a picture, then explain it, a class of it where one is named; whichever was asked for last is shown. */
async function newPicture(words, source, name = null) {
  server.asked += 1;
  const mine = server.asked;
  let found = null;
  const done = await busy(words, async () => {
    do found = await lookAt(source);
    while (found.network !== view.network && mine === server.asked); // another was chosen meanwhile
  });
  if (!done || mine !== server.asked) return;
  server.source = source;
  const study = byId("study").querySelector("details");
  if (study && !source.path.startsWith("api/study")) study.open = false; // what was dropped is to be seen
  view.text = "";
  adopt(found);
  const named = choices.classes.find((item) => item.name === name);
  if (named && !view.targets.includes(named.index)) {
    view.targets = [named.index];
    fillChoices();
  }
  await explain();
}

/** What the server said of a picture or a text becomes what is chosen from. */
function adopt(found) {
  const again = server.known && (server.known.picture || server.known.text) === (found.picture || found.text);
  server.known = found;
  view.picture = found.picture || "";
  choices.classes = found.classes || found.next || [];
  const known = view.targets.filter((index) => choices.classes.some((item) => item.index === index));
  view.targets = (again || server.restored) && known.length ? known : choices.classes.slice(0, 2).map((item) => item.index);
  server.restored = false;
  byId("search").value = "";
  fillChoices();
  remember();
}

/** Show what a link says, as far as the server still has it. */
async function restore() {
  const path = `api/pictures/${encodeURIComponent(view.picture)}?network=${encodeURIComponent(view.network)}`;
  const found = await askJson(path).catch(() => null);
  if (found) adopt(found);
  if (view.targets.length) await explain();
  if (!shown.document) server.restored = true; // the picture that is dropped next is shown as the link has it
}

async function readText(words) {
  server.asked += 1;
  const mine = server.asked;
  let found = null;
  const done = await busy("reading the text", async () => {
    found = await askJson("api/texts", { json: { network: view.network, text: words } });
  });
  if (!done || mine !== server.asked) return;
  server.source = null;
  view.text = words;
  byId("text").value = words;
  adopt(found);
  await explain();
}

/** Another network looks at the same picture. */
async function changeNetwork() {
  const before = view.network;
  const kind = network().kind;
  view.network = byId("network").value;
  server.restored = false;
  if (network().kind !== kind) view.methods = usualMethods();
  takeNetwork();
  if (network().kind === "text") {
    server.asked += 1; // a picture that is being looked at is not for it
    if (byId("text").value.trim()) await readText(byId("text").value);
    return;
  }
  if (!view.picture) return;
  const wanted = view.network;
  let found = null;
  const done = await busy("looking at the picture", async () => {
    found = await lookAt(server.source || { path: `api/pictures/${encodeURIComponent(view.picture)}` });
  });
  if (wanted !== view.network) return; // another was chosen meanwhile
  if (!done) {
    view.network = before;
    byId("network").value = before;
    takeNetwork();
    return;
  }
  server.known = null;
  adopt(found);
  await explain();
}

function listenToInputs() {
  byId("file").addEventListener("change", (event) => {
    takeFile(event.target.files[0]);
    event.target.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") takeFile(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files][0];
    if (file) takeFile(file);
  });
  byId("network").addEventListener("change", changeNetwork);
  byId("of-texts").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = byId("text").value;
    if (words.trim()) readText(words);
    else alarm("Write a text first.");
  });
  choices.changed = explainSoon;
}
