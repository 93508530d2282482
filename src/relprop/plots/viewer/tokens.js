// Texts: tokens on the colours of their relevance, with one mark in all of them.

function tokensFigure(map) {
  const { words, warning } = accountWords(map, "its tokens");
  map.words = shown.document.tokens.map((token, k) => {
    const begins = token.startsWith(" ") || token.startsWith("\u2581") || token.startsWith("\u0120");
    const word = make("span", { class: "token" }, make("span", {}, token.replace(/^[ \u2581\u0120]/, "") || "\u2423"), make("small", {}));
    word.addEventListener("pointerenter", () => markToken(k));
    return { word, begins, ends: token.includes("\n") };
  });
  const line = make("div", {
    class: "tokens",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "text",
    "aria-label": `${titleOf(map.column)} for ${map.row.name}: ${words}. Arrow keys go from token to token.`,
    onkeydown: (event) => pressedToken(map, event),
    onpointerleave: () => markToken(null),
  });
  for (const { word, begins, ends } of map.words) line.append(...(begins ? [" "] : []), word, ...(ends ? [make("br")] : []));
  const below = make("p", { class: warning ? "below warning" : "below" }, warning ? `${words}, ${warning}` : words);
  map.readout = make("output", { class: "readout", "aria-live": "off" }, "");
  const foot = savers(map);
  foot.append(map.readout);
  const notes = map.own.map((note) => make("p", { class: "warning" }, note));
  map.figure = make("figure", {}, make("figcaption", { title: map.method }, ...titled(titleOf(map.column))), line, below, ...notes, foot);
  return map.figure;
}

function paintTokens(map) {
  map.words.forEach(({ word }, k) => {
    word.style.background = tint(map.shown[k] / map.range.limit);
    word.lastChild.textContent = signedWord(map.numbers[k], 3);
  });
}

function markToken(place, by = null) {
  shown.cross = place === null ? null : { token: place };
  for (const map of visibleMaps().filter((each) => each.tokens && each.finite)) {
    map.words.forEach(({ word }, k) => word.classList.toggle("marked", k === place));
    map.readout.textContent = place === null ? "" : `${exact(map.numbers[place])} at token ${place}`;
  }
  if (by) speak(`${shown.document.tokens[place]}: ${exact(by.numbers[place])}`);
}

function pressedToken(map, event) {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
  const from = shown.cross?.token ?? (step > 0 ? -1 : map.words.length);
  markToken(within(from + step, map.words.length - 1), map);
  event.preventDefault();
}
