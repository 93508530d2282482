// The page begins: with the document that it holds, or with the server that it came from.

async function begin() {
  const desk = window.matchMedia("(min-width: 56rem)").matches;
  for (const part of document.querySelectorAll("aside details")) part.open = desk;
  readFragment(window.location.hash);
  listenToLook();
  syncLook();
  fillSave();
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

async function openDocument() {
  byId("show-code").hidden = !DOCUMENT.code;
  show("prepared", Boolean(DOCUMENT.prepared));
  byId("prepared-words").textContent = DOCUMENT.prepared || "";
  Object.assign(choices, { classes: DOCUMENT.classes, methods: DOCUMENT.methods, changed: buildRows });
  view.targets = (view.targets.length ? view.targets : DOCUMENT.classes.map((item) => item.index)).slice();
  view.methods = (view.methods.length ? view.methods : DOCUMENT.methods.map((item) => item.name)).slice();
  fillChoices();
  await takeDocument(DOCUMENT);
  fitPanel();
}

begin().catch((error) => alarm(`This page cannot be shown: ${error.message}`));
