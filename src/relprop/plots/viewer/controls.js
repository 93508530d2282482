// What is chosen: classes, methods, and how maps look.

const choices = { classes: [], methods: [], changed: () => {} };
const TOP = 8; // so many classes are offered before one searches
const FOUND = 40; // and so many of those that are found

function fillChoices() {
  show("classes-part", choices.classes.length > 0);
  show("methods-part", choices.methods.length > 0);
  show("search-part", choices.classes.length > TOP);
  byId("search").placeholder = `search all ${choices.classes.length}`;
  fillClasses();
  byId("methods").replaceChildren(...choices.methods.map(methodChoice));
  tellCounts();
}

/** A method by its title, and by its name in code where that is another. */
function methodChoice(method) {
  const aside = titleOf(method) === method.name ? "" : method.name;
  const choice = choiceOf("methods", method.name, titleOf(method), aside || (method.attribution ? "attribution" : ""));
  if (method.summary) choice.title = method.summary;
  return choice;
}

function tellCounts() {
  const chosenOf = (which, all) => `${which.length} of ${all.length}`;
  byId("classes-word").textContent = network()?.targets === "tokens" ? "Next tokens" : "Classes";
  byId("classes-count").textContent = `rows, ${chosenOf(view.targets, choices.classes)}`;
  byId("methods-count").textContent = `columns, ${chosenOf(view.methods, choices.methods)}`;
}

/** The classes that fit what is searched for; otherwise the highest, and all that are chosen. */
function fillClasses() {
  const query = byId("search").value.trim().toLowerCase();
  const fits = (item) => item.name.toLowerCase().includes(query) || String(item.index) === query;
  const found = query ? choices.classes.filter(fits) : choices.classes.filter((item, k) => k < TOP || view.targets.includes(item.index));
  byId("classes").replaceChildren(...found.slice(0, FOUND).map(classChoice));
  const more = query ? found.length - FOUND : choices.classes.length - found.length;
  const none = query && !found.length ? "No class has that in its name." : "";
  byId("classes-more").textContent = none || (more > 0 ? `and ${more} more` : "");
}

function classChoice(item) {
  const sure = item.probability ?? null;
  const choice = choiceOf("targets", item.index, item.name, sure === null ? steady(item.logit, 3) : chance(sure));
  if (sure !== null) {
    const bar = make("span", { class: "gauge" }, make("span"));
    bar.firstChild.style.width = percent(sure, 2).replace(" ", "");
    choice.append(bar);
  }
  return choice;
}

function choiceOf(which, value, words, aside) {
  const box = make("input", { type: "checkbox", value, onchange: () => choose(which, value, box.checked) });
  box.checked = view[which].includes(value);
  return make("label", { class: "choice" }, box, make("span", { class: "name" }, ...(which === "methods" ? titled(words) : [words])), make("span", { class: "aside" }, aside));
}

/** Add to what is chosen, or take from it; classes and methods keep the order of their lists. */
function choose(which, value, on) {
  const order = which === "targets" ? choices.classes.map((item) => item.index) : choices.methods.map((item) => item.name);
  const wanted = view[which].filter((each) => each !== value).concat(on ? [value] : []);
  view[which] = order.filter((each) => wanted.includes(each));
  tellCounts();
  choices.changed();
  remember();
}

/** Let the boxes say what is chosen, where something else than a click changed that. */
function syncChoices() {
  tellCounts();
  for (const [id, which] of [["classes", "targets"], ["methods", "methods"]]) {
    for (const box of byId(id).querySelectorAll("input")) box.checked = view[which].map(String).includes(box.value);
  }
}

function listenToLook() {
  const changes = {
    under: (value) => Number(value),
    scale: String,
    sign: String,
    percentile: (value) => (value > 0 && value <= 100 ? Number(value) : view.percentile),
  };
  for (const [name, read] of Object.entries(changes)) {
    byId(name).addEventListener("input", (event) => {
      view[name] = read(event.target.value);
      tellLook();
      repaintSoon();
      remember();
    });
  }
  byId("percentile").addEventListener("change", syncLook);
  byId("search").addEventListener("input", fillClasses);
}

function syncLook() {
  for (const name of ["under", "scale", "sign", "percentile"]) byId(name).value = view[name];
  tellLook();
}

function tellLook() {
  byId("under-told").textContent = percent(view.under / 100);
}

/** The parts of the panel that a document has use for. */
function fitPanel() {
  const found = shown.document;
  const texts = Boolean(found?.tokens);
  show("look-part", Boolean(found));
  if (found?.prepared) {
    show("prepared");
    byId("prepared-words").textContent = found.prepared;
  }
  show("save-part", Boolean(found));
  show("under-part", Boolean(found?.image) && !texts);
  show("percentile-part", !texts);
  fillSave();
}
