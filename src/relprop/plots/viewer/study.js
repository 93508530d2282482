// A study's rows: filtered, sorted, a page at a time; a picture of it opens as if it were dropped.

const browser = { method: "", status: "", class: "", sort: "", offset: 0, limit: 12, answer: null };
const SORTS = { "": "as in the study", mu_w: "μ_w, lowest first", "-mu_w": "μ_w, highest first", mu: "μ, lowest first", "-mu": "μ, highest first", "-logit": "logit, highest first", logit: "logit, lowest first" };

function openStudy() {
  const part = byId("study");
  const field = (name, words, input) => {
    give(input, { name, oninput: name === "class" ? studySoon : () => filterStudy(name, input.value) });
    return make("label", {}, words, input);
  };
  const filters = make(
    "form",
    { class: "filters", onsubmit: (event) => event.preventDefault() },
    field("method", "Method", make("select")),
    field("status", "Status", make("select")),
    field("class", "Class", make("input", { type: "search", autocomplete: "off", placeholder: "a part of its name" })),
    field("sort", "Sort", make("select", {}, ...Object.entries(SORTS).map(([value, words]) => make("option", { value }, words)))),
  );
  const list = make("details", { open: true }, make("summary", {}, "Study ", make("b", {}, server.study.name)), filters, make("div", { class: "wide", id: "study-rows", tabindex: "0", role: "region", "aria-label": "Rows of the study" }), make("div", { class: "pages", id: "study-pages" }));
  part.replaceChildren(list);
  show("study");
  return fillStudy();
}

let studyLater = 0;

function studySoon(event) {
  clearTimeout(studyLater);
  studyLater = setTimeout(() => filterStudy("class", event.target.value), 300);
}

function filterStudy(name, value) {
  browser[name] = value;
  browser.offset = 0;
  return fillStudy();
}

async function fillStudy() {
  const { answer, ...words } = browser;
  await busy("reading the study", async () => {
    browser.answer = await askJson(`api/study/rows?${new URLSearchParams(words)}`);
  });
  if (!browser.answer) return;
  fillFilter("method", browser.answer.methods, "all methods");
  fillFilter("status", browser.answer.statuses, "all");
  byId("study-rows").replaceChildren(studyTable(browser.answer.rows));
  fillPages();
}

function fillFilter(name, values, all) {
  const select = byId("study").querySelector(`[name=${name}]`);
  if (select.children.length !== values.length + 1) select.replaceChildren(make("option", { value: "" }, all), ...values.map((value) => make("option", { value }, value)));
  select.value = browser[name];
}

function studyTable(rows) {
  if (!rows.length) return make("p", { class: "soft" }, "No row is so; choose another method, status or class.");
  const number = (value, digits) => make("td", {}, value === null || value === undefined ? "not defined" : withMinus(value.toFixed(digits)));
  const body = rows.map((row) => {
    const open = row.picture === null ? row.image_id : make("button", { type: "button", class: "link", onclick: () => openOfStudy(row) }, row.image_id);
    return make("tr", {}, make("th", { scope: "row" }, open), make("td", { class: "word" }, row.class), make("td", { class: "word" }, row.method), make("td", { class: "word" }, row.status), number(row.mu, 3), number(row.mu_w, 2), number(row.logit, 2));
  });
  const head = ["picture", "class", "method", "status", "μ", "μ_w", "logit"].map((word, k) => make("th", { scope: "col", class: k < 4 ? "word" : null }, ...titled(word)));
  return make("table", { class: "lines" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}

function fillPages() {
  const { offset, limit, answer } = browser;
  const turn = (by) => () => {
    browser.offset = Math.max(0, offset + by);
    return fillStudy();
  };
  const last = Math.min(offset + limit, answer.total);
  byId("study-pages").replaceChildren(
    make("button", { type: "button", disabled: offset === 0, onclick: turn(-limit) }, "back"),
    make("span", { class: "soft" }, answer.total ? `${offset + 1} to ${last} of ${answer.total}` : "none"),
    make("button", { type: "button", disabled: last >= answer.total, onclick: turn(limit) }, "further"),
  );
}

/** Open a picture of the study: its class and method are what is shown. */
async function openOfStudy(row) {
  const path = `api/study/pictures/${encodeURIComponent(row.picture)}`;
  const method = choices.methods.find((each) => each.name === row.method);
  if (method) view.methods = [...new Set([...view.methods, method.name])];
  await newPicture(`opening ${row.image_id}`, { path, body: "" }, row.class);
  byId("rows").scrollIntoView({ block: "start" });
}
