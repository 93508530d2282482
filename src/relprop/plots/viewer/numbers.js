// Numbers: read from letters, and written as the figures write them.

const MINUS = "\u2212";

/** Numbers of float32, little endian, that were written as base64; a list is taken as it is. */
function decoded(values) {
  if (Array.isArray(values)) return Float32Array.from(values);
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
}

/** The bytes of letters. */
function bytesOf(letters) {
  return Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
}

/** A float32 in as few digits as tell it from every other one: the map's number, no more and no less. */
function exact(value) {
  if (!Number.isFinite(value)) return String(value);
  for (let digits = 1; digits < 9; digits += 1) {
    const word = value.toPrecision(digits);
    if (Math.fround(Number(word)) === value) return tidy(word);
  }
  return tidy(value.toPrecision(9));
}

/** A number in some digits, with a true minus sign. */
function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not defined";
  if (Math.abs(value) >= 10 ** digits && Math.abs(value) < 1e6) return withMinus(value.toFixed(0));
  return tidy(value.toPrecision(digits));
}

/** A number that keeps its zeros: 8.350 beside 6.874. */
function steady(value, digits) {
  const word = value.toPrecision(digits);
  return word.includes("e") ? short(value, digits) : withMinus(word);
}

/** 0.0010 is 0.001, 1.5e-7 stays. */
function tidy(word) {
  return withMinus(String(Number(word)));
}

function withMinus(word) {
  return word.replaceAll("-", MINUS);
}

function signedWord(value, digits = 2) {
  return value > 0 ? `+${short(value, digits)}` : short(value, digits);
}

function percent(share, digits = 0) {
  return withMinus(`${(100 * share).toFixed(digits)} %`);
}

/** A probability: what is rounded to nothing is not nothing. */
function chance(share) {
  return share > 0 && share < 0.0005 ? "< 0.1 %" : percent(share, 1);
}

/** Two numbers with as many decimals as give the larger one four digits. */
function inCommon(part, whole) {
  const largest = Math.max(Math.abs(part), Math.abs(whole));
  const decimals = largest > 0 && Number.isFinite(largest) ? 3 - Math.floor(Math.log10(largest)) : 2;
  if (decimals > 5) return `${short(part, 4)} of ${short(whole, 4)}`;
  const places = Math.max(decimals, 0);
  return withMinus(`${part.toFixed(places)} of ${whole.toFixed(places)}`);
}

/** How much of what is explained lies on a map, in words, and a warning where that is less than half. */
function accountWords(map, on) {
  const account = map.account;
  if (!account) return { words: `attribution: its sum is ${short(total(map.numbers), 4)}`, warning: "" };
  const words = `${inCommon(account.pixels, account.start)} on ${on}`;
  const share = account.start ? account.pixels / account.start : null;
  if (share === null || share >= LOOK.half) return { words, warning: "" };
  const places = { "in biases": account.biases, "in epsilon": account.eps, lost: account.lost };
  const shares = Object.entries(places)
    .map(([where, number]) => [where, (number || 0) / account.start])
    .filter(([, part]) => Math.abs(part) > LOOK.noticeable)
    .map(([where, part]) => `${percent(part)} ${where}`);
  return { words, warning: `only ${percent(share)}${shares.length ? `: ${shares.join(", ")}` : ""}` };
}

function total(numbers) {
  let sum = 0;
  for (const value of numbers) sum += value;
  return sum;
}

/** Where so many of a hundred numbers lie below; between two of them a straight line, as NumPy has it. */
function percentileOf(sorted, percentage) {
  const place = (percentage / 100) * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}
