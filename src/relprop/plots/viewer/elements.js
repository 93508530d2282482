// Elements: made of names and text, never of markup, so that no name is anything but a name.

const SVG = "http://www.w3.org/2000/svg";

function byId(id) {
  return document.getElementById(id);
}

/** An element; `on...` are listeners, true is an attribute without a value, and children that are words become text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  give(element, attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  give(element, attributes);
  element.append(...children);
  return element;
}

function give(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
}

function show(id, shown = true) {
  byId(id).hidden = !shown;
}

/** A method's title, with what follows "_" set low: LRP_z. */
function titled(words) {
  return words.split(/_([^\s:+_]+)/).map((part, k) => (k % 2 ? make("sub", {}, part) : part));
}

/** Say in passing, also to those who hear the page. */
function say(words) {
  byId("status").textContent = words;
}

/** Say what went wrong; it stays until it is dismissed or something succeeds. */
function alarm(words) {
  byId("alarm").querySelector("p").textContent = words.charAt(0).toUpperCase() + words.slice(1);
  show("alarm");
  if (byId("alarm").getBoundingClientRect().top < 0) byId("alarm").scrollIntoView({ block: "start" });
}

function calm() {
  show("alarm", false);
}

let spokenLater = 0;

/** Speak when the hand rests: a cross-hair that is on its way says nothing. */
function speak(words) {
  clearTimeout(spokenLater);
  spokenLater = setTimeout(() => {
    byId("spoken").textContent = words;
  }, 350);
}

async function copy(words, done) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    const area = make("textarea", { class: "unseen", "aria-hidden": "true" }); // where a page may not use the clipboard
    area.value = words;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  done();
}

/** Let a button say for a moment what it has done. */
function flash(button, words) {
  button.dataset.words ||= button.textContent;
  button.textContent = words;
  clearTimeout(Number(button.dataset.timer));
  button.dataset.timer = setTimeout(() => {
    button.textContent = button.dataset.words;
  }, 1600);
}
