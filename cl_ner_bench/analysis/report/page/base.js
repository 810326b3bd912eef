// What the page does beyond showing: choose view and methods, sort and filter tables, draw curves, name the runs of a value.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const VIEWS = {all: "all test sentences", filter: "test sentences that hold a learned type"};
const SHAPES = {
  o: "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0", s: "M-3-3H3V3H-3Z", D: "M0-4.3L4.3 0L0 4.3L-4.3 0Z",
  d: "M0-4.6L2.9 0L0 4.6L-2.9 0Z", "^": "M0-4L4 3.3H-4Z", v: "M0 4L4-3.3H-4Z", "<": "M-4 0L3.3-4V4Z", ">": "M4 0L-3.3-4V4Z",
  P: "M-1.5-4H1.5V-1.5H4V1.5H1.5V4H-1.5V1.5H-4V-1.5H-1.5Z", X: "M-3-3L3 3M-3 3L3-3",
  p: "M0-4.2L4-1.3L2.5 3.4H-2.5L-4-1.3Z", h: "M0-4L3.5-2V2L0 4L-3.5 2V-2Z", H: "M-4 0L-2-3.5H2L4 0L2 3.5H-2Z",
  8: "M-1.7-4H1.7L4-1.7V1.7L1.7 4H-1.7L-4 1.7V-1.7Z",
  "*": "M0-4.6L1.1-1.5H4.4L1.8.6L2.7 3.8L0 1.9L-2.7 3.8L-1.8.6L-4.4-1.5H-1.1Z",
};

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
const known = (values) => values.filter((value) => value !== null && value !== undefined);
const shown = (value, digits = 1) => value === null || value === undefined ? "–" : (value + 0).toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
function stats(values) {
  const own = known(values), n = own.length;
  if (!n) return {mean: null, std: null, n};
  const mean = own.reduce((a, b) => a + b, 0) / n;
  const std = n > 1 ? Math.sqrt(own.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1)) : null;
  return {mean, std, n};
}
// The runs behind each trained model: joint training of several orders is one model, and its copies are no further runs.
function byModel(block, runs, step) {
  const models = new Map();
  for (const i of runs) {
    const first = block.copies[i]?.[step] ?? i;
    models.set(first, [...(models.get(first) ?? []), i]);
  }
  return [...models.values()];
}
