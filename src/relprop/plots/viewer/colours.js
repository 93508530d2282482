// Colours of maps: the same scale, limits and overlay as the figures of relprop.plots.

const LOOK = JSON.parse(document.getElementById("look").textContent);
const TABLES = Object.fromEntries(Object.entries(LOOK.colours).map(([sign, letters]) => [sign, bytesOf(letters)]));

function signedBy(numbers, sign) {
  if (sign === "both") return numbers;
  return numbers.map(sign === "+" ? (value) => Math.max(value, 0) : (value) => Math.min(value, 0));
}

/** What the ends of the colours stand for, of maps that share them: {low, high, limit, side}. */
function rangeOf(maps, sign, percentage) {
  const size = maps.reduce((sum, numbers) => sum + numbers.length, 0);
  const all = new Float32Array(size);
  let low = Infinity;
  let high = -Infinity;
  let place = 0;
  for (const numbers of maps) {
    for (const value of numbers) {
      low = Math.min(low, value);
      high = Math.max(high, value);
      all[place] = Math.abs(value);
      place += 1;
    }
  }
  all.sort();
  const limit = percentileOf(all, percentage) || all[size - 1] || 1;
  if (sign === "+" || (sign === "both" && high > 0 && -low <= LOOK.unseen * high)) return { low: 0, high: limit, limit, side: "+" };
  if (sign === "-" || (low < 0 && high <= LOOK.unseen * -low)) return { low: -limit, high: 0, limit, side: "-" };
  return { low: -limit, high: limit, limit, side: "both" };
}

/** Give each map its range, as the chosen scale has it. */
function giveRanges(maps, view) {
  const key = { each: (map) => map, method: (map) => map.method, all: () => "all" }[view.scale];
  const groups = new Map();
  for (const map of maps.filter((each) => each.finite)) {
    map.shown = signedBy(map.numbers, view.sign);
    groups.set(key(map), [...(groups.get(key(map)) || []), map]);
  }
  for (const several of groups.values()) {
    const range = rangeOf(several.map((map) => map.shown), view.sign, several[0].tokens ? 100 : view.percentile);
    for (const map of several) map.range = range;
  }
}

/** Whether numbers lie beyond an end: {below, above}. */
function beyond(numbers, range) {
  const slack = LOOK.unseen * range.limit;
  let below = false;
  let above = false;
  for (const value of numbers) {
    below ||= value < range.low - (range.low === 0 ? slack : 0);
    above ||= value > range.high + (range.high === 0 ? slack : 0);
  }
  return { below, above };
}

/** Where a number's colour stands in its table. */
function tablePlace(value, range) {
  const share = (value - range.low) / (range.high - range.low);
  return 3 * Math.min(255, Math.max(0, Math.floor(share * 256)));
}

/** Paint a map; the grey picture shows where the map is quiet, `under` of it, 0 to 1. */
function paintMap(context, map, grey, under, width, height) {
  const image = context.createImageData(width, height);
  const { range, shown } = map;
  const table = TABLES[range.side];
  for (let k = 0; k < shown.length; k += 1) {
    const place = tablePlace(shown[k], range);
    const shade = grey && under ? under * (255 - grey[k]) * (1 - Math.min(Math.abs(shown[k]) / range.limit, 1)) : 0;
    image.data[4 * k] = table[place] - shade;
    image.data[4 * k + 1] = table[place + 1] - shade;
    image.data[4 * k + 2] = table[place + 2] - shade;
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Paint the bar below a map. */
function paintBar(canvas, range) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  const table = TABLES[range.side];
  for (let k = 0; k < 256; k += 1) image.data.set([table[3 * k], table[3 * k + 1], table[3 * k + 2], 255], 4 * k);
  context.putImageData(image, 0, 0);
}

/** The brightness of a picture's pixels as the eye weighs them; null where there is no picture. */
async function greyOf(address, width, height) {
  if (!address) return null;
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  return Float32Array.from({ length: width * height }, (_, k) => 0.299 * pixels[4 * k] + 0.587 * pixels[4 * k + 1] + 0.114 * pixels[4 * k + 2]);
}

/** White mixed with vermilion or blue, as the figures of tokens have it; dark letters can be read on each. */
function tint(share) {
  const hue = share > 0 ? LOOK.for : LOOK.against;
  const strength = LOOK.strongest * Math.min(Math.abs(share), 1);
  const parts = [1, 3, 5].map((k) => Math.round(255 + strength * (parseInt(hue.slice(k, k + 2), 16) - 255)));
  return `rgb(${parts.join(" ")})`;
}
