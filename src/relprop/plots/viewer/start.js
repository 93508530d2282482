// The page begins: with the document that it holds, or with the server that it came from.

async function begin() {
  const desk = window.matchMedia("(min-width: 56rem)");
  const unfold = () => {
    for (const part of document.querySelectorAll("aside details")) part.open = desk.matches;
  };
  desk.addEventListener("change", unfold); // a frame may be of no width yet
  unfold();
  readFragment(window.location.hash);
  window.addEventListener("hashchange", () => window.location.reload()); // a link that is followed within the page
  listenToLook();
  syncLook();
  byId("copy-link").hidden = !ALONE;
  byId("copy-link").addEventListener("click", (event) => {
    rememberNow();
    copy(linkOfView(), () => flash(event.target, "copied"));
  });
  byId("show-code").addEventListener("click", showCode);
  byId("copy-code").addEventListener("click", (event) => copy(byId("code-text").textContent, () => flash(event.target, "Copied")));
  byId("show-help").addEventListener("click", () => byId("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  byId("alarm").querySelector("button").addEventListener("click", calm);
  if (SERVED) await openServer();
  else await openDocument();
  document.body.dataset.ready = "true";
}

/** Show a document that the page holds: of one picture, or of several of which one is chosen. */
async function openDocument() {
  const several = DOCUMENT.pictures;
  if (several?.length > 1) {
    show("pictures-part");
    byId("pictures").replaceChildren(...several.map((each, k) => make("option", { value: k }, each.title || `picture ${k}`)));
    byId("pictures").addEventListener("change", (event) => {
      view.picture = event.target.value;
      remember();
      openPicture(several[event.target.value], true).catch((error) => alarm(error.message));
    });
  }
  const place = several?.[Number(view.picture)] ? Number(view.picture) : 0;
  byId("pictures").value = place;
  view.picture = several?.length > 1 ? String(place) : "";
  await openPicture(several ? several[place] : DOCUMENT, false);
}

/** Show a picture; what was chosen of the one before stays where this one has it too. */
async function openPicture(found, another) {
  show("show-code", Boolean(found.code));
  show("prepared", Boolean(found.prepared));
  byId("prepared-words").textContent = found.prepared || "";
  Object.assign(choices, { classes: found.classes, methods: found.methods, changed: buildRows });
  if (another || !view.targets.length) view.targets = found.classes.map((item) => item.index);
  const known = view.methods.filter((name) => found.methods.some((method) => method.name === name));
  view.methods = known.length ? known : found.methods.map((item) => item.name);
  fillChoices();
  await takeDocument(found);
  fitPanel();
}

begin().catch((error) => alarm(`This page cannot be shown: ${error.message}`));
