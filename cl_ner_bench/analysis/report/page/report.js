// What the page does beyond showing: choose a view, sort and filter tables, draw curves, name the runs of a value.
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
function choice(title, options, onchange, value) {
  const select = make("select", {onchange: () => onchange(select.value)});
  for (const [key, text] of options) select.append(make("option", {value: key}, text));
  if (value !== undefined) select.value = value;
  return make("label", {}, title, select);
}

// Tables: sorting keeps the groups apart, as bold is within a group.
function number(cell) {
  const text = cell.dataset.v ?? cell.textContent.trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : null;
}
function sortTable(table, column, direction) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.matches(".section"));
    const key = new Map(rows.map((row) => [row, {value: number(row.cells[column]), text: row.cells[column].textContent, at: row.at}]));
    const numeric = rows.some((row) => key.get(row).value !== null);
    rows.sort((x, y) => {
      const a = key.get(x), b = key.get(y);
      if (!direction) return a.at - b.at;
      if (!numeric) return direction * a.text.localeCompare(b.text) || a.at - b.at;
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.at - b.at;
      return direction * (a.value - b.value) || a.at - b.at;
    });
    body.append(...rows);
  }
}
function setUpTable(figure) {
  const table = figure.querySelector("table");
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells];
  for (const body of table.tBodies) [...body.rows].forEach((row, i) => { row.at = i; });
  heads.forEach((head, column) => {
    const button = make("button", {title: "Sort by this column", onclick: () => {
      const next = {null: "descending", descending: "ascending", ascending: null}[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      sortTable(table, column, {descending: -1, ascending: 1}[next] ?? 0);
    }}, ...head.childNodes);
    head.append(button);
  });
  const rows = [...table.querySelectorAll("tbody tr:not(.section)")];
  if (rows.length < 6) return;
  const count = make("span", {class: "soft", role: "status"});
  const search = make("input", {type: "search", placeholder: "Filter rows", "aria-label": "Filter rows", oninput: () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    for (const body of table.tBodies) body.hidden = ![...body.rows].some((row) => !row.matches(".section") && !row.hidden);
    count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  }});
  figure.querySelector(".tools").prepend(search, count);
}

// Which runs a value is the mean of.
const dialog = document.querySelector("dialog");
function showRuns(block, of, view, text) {
  const row = block.rows[of.row], values = {}, learned = block.runs.map((run, i) => i).filter((i) => block.runs[i][0] === Number(of.row));
  const type = block.types.indexOf(of.type), step = of.step ? Number(of.step) - 1 : block.steps - 1;
  let name = null, take = null;
  if (of.measure && of.kind === "main") [name, take] = [of.title, (i) => block.measures[view][of.measure]?.[i]];
  else if (of.measure && of.kind === "steps") [name, take] = [`${of.section}, step ${step + 1}`, (i) => block.scores[view][of.measure]?.[i][step]];
  else if (type >= 0 && of.kind === "types") [name, take] = [`F1 of ${of.type}`, (i) => block.final[view][i][type]];
  if (take) for (const i of learned) values[i] = take(i);
  const table = make("table", {class: "text"}, make("thead", {}, make("tr", {},
    ...["Order", "Seed", ...(take ? [name] : []), "Run", "Data", "Split"].map((title) => make("th", {scope: "col"}, title)))));
  const body = table.appendChild(make("tbody"));
  for (const i of learned) {
    const [, order, seed, index] = block.runs[i], [id, dataPrint, split] = data.runs[index];
    body.append(make("tr", {}, ...[order, seed, ...(take ? [shown(values[i] === null || values[i] === undefined ? null : values[i] / 100, 2)] : [])].map((cell) => make("td", {}, String(cell))),
      make("td", {}, make("a", {href: `#run-${index}`, onclick: () => { document.querySelector("details.runs").open = true; dialog.close(); }}, id)),
      make("td", {}, make("code", {}, dataPrint)), make("td", {}, make("code", {}, split))));
  }
  document.getElementById("runs-title").textContent = `${row.label}${text ? `: ${text}` : ""}`;
  const settings = make("a", {href: `#config-${row.method}-${row.config}`, onclick: () => dialog.close()}, `settings ${row.config}`);
  const models = byModel(block, learned, step).length;
  const what = take ? `${name}, view ${view}: the mean of ` : "From ";
  dialog.querySelector(".content").replaceChildren(
    make("p", {}, `${what}${models === learned.length ? "" : `${models} trained model(s), shared by `}${learned.length} run(s) of ${row.method}, `, settings, ". Scores are computed from each run's counts.json."),
    make("div", {class: "wide", tabindex: "0"}, table));
  dialog.showModal();
}
function setUpSources(article, block) {
  for (const figure of article.querySelectorAll("figure.table")) {
    const table = figure.querySelector("table");
    if (!table) continue;
    const heads = [...table.tHead.rows[0].cells], {kind, view} = figure.dataset;
    const source = (cell) => {
      const row = cell.closest("tr"), body = cell.closest("tbody"), head = heads[cell.cellIndex];
      const of = {kind, ...body.dataset, ...row.dataset, ...head.dataset};
      of.title = head.textContent;
      of.section = body.querySelector(".section")?.textContent.split(":")[0];
      return of.row === undefined ? null : of;
    };
    for (const row of table.querySelectorAll("tbody tr:not(.section)")) {
      for (const cell of row.cells) if (cell.dataset.v !== undefined && source(cell)) cell.classList.add("source");
      const first = row.cells[0];
      if (row.dataset.row !== undefined && first.matches("th"))
        first.append(make("button", {title: "The runs of this row", onclick: () => showRuns(block, {kind, row: row.dataset.row}, view, "")}, ...first.childNodes));
    }
    table.addEventListener("click", (event) => {
      const cell = event.target.closest("td.source");
      if (cell) showRuns(block, source(cell), view, cell.textContent);
    });
  }
}

// Curves over steps. `series` gives for each row a list of {mean, std, n} per step, or null.
class Chart {
  constructor(block, title) {
    this.block = block;
    this.off = new Set();
    this.svg = draw("svg", {role: "img", tabindex: "0", "aria-label": title, onkeydown: (event) => this.key(event)});
    this.tip = make("div", {class: "tip", role: "status", hidden: true});
    this.element = make("div", {class: "chart"}, this.svg, this.tip);
    this.legend = make("div", {class: "legend", role: "group", "aria-label": "Methods shown"});
    block.rows.forEach((row, i) => {
      const mark = draw("svg", {width: 22, height: 12, viewBox: "-11 -6 22 12", "aria-hidden": "true"}, this.group(i, draw("path", {class: "line", d: "M-11 0H11"}), this.mark(i, 0, 0)));
      const button = make("button", {"aria-pressed": "true", onclick: () => this.toggle(i, button), onpointerenter: () => this.emphasise(i), onpointerleave: () => this.emphasise(null)}, mark, row.label);
      this.legend.append(button);
    });
    this.svg.addEventListener("pointermove", (event) => this.hover(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("blur", () => this.leave());
    new ResizeObserver(() => this.paint()).observe(this.element);
  }
  group(i, ...children) {
    return draw("g", {class: `series ${this.block.rows[i].group === "reference" ? "reference" : ""}`, style: `--c:${this.block.rows[i].colour}`, "data-row": i}, ...children);
  }
  mark(i, x, y) {
    return draw("path", {class: "mark", d: SHAPES[this.block.rows[i].marker] ?? SHAPES.o, transform: `translate(${x} ${y})`});
  }
  toggle(i, button) {
    this.off.has(i) ? this.off.delete(i) : this.off.add(i);
    button.setAttribute("aria-pressed", String(!this.off.has(i)));
    this.paint();
  }
  emphasise(i) {
    for (const group of this.svg.querySelectorAll(".series")) group.classList.toggle("faded", i !== null && Number(group.dataset.row) !== i);
  }
  show(series, axis, learned) {
    Object.assign(this, {series, axis, learned});
    this.paint();
  }
  paint() {
    const width = this.element.clientWidth;
    if (!width || !this.series) return;
    const steps = this.block.steps, wide = width > 640, height = wide ? 400 : 300;
    const visible = this.series.map((points, i) => ({points, i})).filter(({points, i}) => points && !this.off.has(i) && known(points.map((p) => p.mean)).length);
    const banded = visible.length <= 4 && visible.some(({points}) => points.some((p) => p.std));
    const ends = visible.flatMap(({points}) => points.flatMap((p) => p.mean === null ? [] : banded ? [p.mean - (p.std ?? 0), p.mean + (p.std ?? 0)] : [p.mean]));
    let low = Math.min(...ends), high = Math.max(...ends);
    if (!ends.length) [low, high] = [0, 100];
    const space = Math.max(5 - (high - low), (high - low) * .12) / 2;  // a narrower range makes noise look like a result
    const unit = [1, 2, 5, 10, 20, 50].find((size) => (high - low + 2 * space) / size <= 7) ?? 100;
    const floor = low >= 0 ? 0 : -Infinity, ceiling = high <= 100 ? 100 : Infinity;
    low = Math.max(floor, Math.floor((low - space) / unit) * unit);
    high = Math.min(ceiling, Math.ceil((high + space) / unit) * unit);
    const room = {left: 40, right: wide ? 170 : 14, top: 30, bottom: 40};
    this.x = (k) => room.left + (steps > 1 ? k / (steps - 1) : .5) * (width - room.left - room.right);
    this.y = (value) => room.top + (high - value) / (high - low) * (height - room.top - room.bottom);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const parts = [];
    for (let value = low; value <= high; value += unit) {
      parts.push(draw("line", {class: "grid", x1: room.left, x2: width - room.right, y1: this.y(value), y2: this.y(value)}));
      parts.push(draw("text", {class: "axis", x: room.left - 8, y: this.y(value) + 4, "text-anchor": "end"}, String(value)));
    }
    for (let k = 0; k < steps; k++) parts.push(draw("text", {class: "axis", x: this.x(k), y: height - 22, "text-anchor": "middle"}, String(k + 1)));
    parts.push(draw("text", {class: "axis", x: (room.left + width - room.right) / 2, y: height - 5, "text-anchor": "middle"}, "step"));
    parts.push(draw("text", {class: "axis", x: 4, y: 12}, this.axis));
    if (this.learned) parts.push(draw("line", {class: "guide", x1: this.x(this.learned - 1), x2: this.x(this.learned - 1), y1: room.top, y2: height - room.bottom}));
    this.guide = draw("line", {class: "guide", y1: room.top, y2: height - room.bottom, visibility: "hidden"});
    parts.push(this.guide);
    const labels = wide ? this.places(visible, room.top, height - room.bottom) : [];
    for (const {points, i} of visible) {
      const at = points.map((p, k) => p.mean === null ? null : [this.x(k), this.y(p.mean), this.y(p.mean - (p.std ?? 0)), this.y(p.mean + (p.std ?? 0))]);
      const path = (of) => "M" + of.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
      const group = this.group(i), here = known(at);
      if (banded && here.length > 1) group.append(draw("path", {class: "band", d: path([...here.map(([x, , low]) => [x, low]), ...here.map(([x, , , high]) => [x, high]).reverse()]) + "Z"}));
      // One point alone (joint training at the last step only) gets a stub of its line.
      const line = here.length > 1 ? path(here) : `M${here[0][0] - 16} ${here[0][1]}h16`;
      group.append(draw("path", {class: "line", d: line}), ...here.map(([x, y]) => this.mark(i, x, y)));
      const label = labels.find((entry) => entry.i === i);
      if (label) group.append(draw("path", {class: "leader", d: `M${here.at(-1)[0] + 6} ${here.at(-1)[1]}L${width - room.right + 12} ${label.y}`}),
        draw("text", {x: width - room.right + 15, y: label.y + 4}, fitted(this.block.rows[i].label)));
      parts.push(group);
    }
    if (!visible.length) parts.push(draw("text", {class: "axis", x: width / 2, y: height / 2, "text-anchor": "middle"}, "nothing to show"));
    this.svg.replaceChildren(...parts);
    this.visible = visible;
  }
  places(visible, top, bottom) {
    const labels = visible.map(({points, i}) => ({i, y: this.y(known(points.map((p) => p.mean)).at(-1))})).sort((a, b) => a.y - b.y);
    const gap = Math.min(15, (bottom - top) / Math.max(labels.length - 1, 1));
    labels.forEach((label, k) => { if (k) label.y = Math.max(label.y, labels[k - 1].y + gap); });
    labels.reverse().forEach((label, k) => { label.y = Math.min(label.y, k ? labels[k - 1].y - gap : bottom); });
    return labels;
  }
  hover(event) {
    const box = this.svg.getBoundingClientRect(), x = (event.clientX - box.left) * (this.svg.viewBox.baseVal.width / box.width);
    let best = 0;
    for (let k = 1; k < this.block.steps; k++) if (Math.abs(this.x(k) - x) < Math.abs(this.x(best) - x)) best = k;
    this.at(best);
  }
  key(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (event.key === "Escape") return this.leave();
    if (!step) return;
    event.preventDefault();
    this.at(Math.max(0, Math.min(this.block.steps - 1, (this.current ?? (step > 0 ? -1 : this.block.steps)) + step)));
  }
  at(k) {
    if (this.current === k && !this.tip.hidden) return;
    this.current = k;
    const entries = this.visible.map(({points, i}) => ({i, ...points[k]})).filter((entry) => entry.mean !== null).sort((a, b) => b.mean - a.mean);
    this.tip.replaceChildren(make("b", {}, `Step ${k + 1}`), ...entries.map(({i, mean, std}) => make("div", {},
      make("span", {class: "series", style: `--c:${this.block.rows[i].colour}`}, this.block.rows[i].label), make("span", {}, shown(mean) + (std === null ? "" : ` ± ${shown(std)}`)))));
    this.tip.hidden = false;
    const x = this.x(k);
    this.guide.setAttribute("x1", x);
    this.guide.setAttribute("x2", x);
    this.guide.setAttribute("visibility", "visible");
    const width = this.element.clientWidth, own = this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(width - own, x > width / 2 ? x - own - 14 : x + 14))}px`;
  }
  leave() {
    this.tip.hidden = true;
    this.current = null;
    this.guide?.setAttribute("visibility", "hidden");
  }
}
const fitted = (text) => text.length > 22 ? `${text.slice(0, 21)}…` : text;

function stepCurves(block, state, home) {
  const chart = new Chart(block, "Scores after each step");
  let measure = Object.keys(block.curves)[0], order = "";
  const update = () => {
    const chosen = block.runs.map((run, i) => i).filter((i) => order === "" || block.runs[i][1] === Number(order));
    const scores = block.scores[state.view][measure];
    chart.show(block.rows.map((_, r) => {
      const own = chosen.filter((i) => block.runs[i][0] === r);
      return Array.from({length: block.steps}, (_, k) => stats(byModel(block, own, k).map((runs) => stats(runs.map((i) => scores[i][k] === null ? null : scores[i][k] / 100)).mean)));
    }), `${block.curves[measure]}${order === "" ? block.orders.length > 1 ? `, mean over ${block.orders.length} orders` : "" : `, order ${order}`}`);
  };
  home.append(make("div", {class: "controls"},
    choice("Measure", Object.entries(block.curves), (value) => { measure = value; update(); }),
    choice("Order", [["", block.orders.length > 1 ? "all" : `${block.orders[0]} (only one)`], ...(block.orders.length > 1 ? block.orders.map((o) => [o, o]) : [])], (value) => { order = value; update(); })),
    chart.legend, chart.element, make("p", {class: "soft"}, "Point at a step, or use the arrow keys, for its values (mean ± standard deviation over trained models). Bands are drawn for up to four methods; the buttons above hide and show methods."));
  return update;
}

function typeCurves(block, state, home) {
  const chart = new Chart(block, "F1 of a type after each step");
  let type = 0, order = 0, row = 0;
  const heat = make("table", {class: "heat"}), said = make("p", {class: "soft"});
  const update = () => {
    const grids = block.tenths[state.view][order], learned = block.learned[block.orders[order]];
    chart.show(grids.map((grid) => grid.map((scores) => ({mean: scores[type] === null ? null : scores[type] / 10, std: null, n: 1}))), `F1 of ${block.types[type]}`, learned[type]);
    said.textContent = `${block.types[type]} is learned at step ${learned[type]} of order ${block.orders[order]} (dotted line). Means over seeds.`;
    const inOrder = block.types.map((name, t) => t).sort((a, b) => learned[a] - learned[b] || a - b);
    heat.replaceChildren(make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "Type"), ...grids[row].map((_, k) => make("th", {scope: "col"}, String(k + 1))))),
      make("tbody", {}, ...inOrder.map((t) => make("tr", {}, make("th", {scope: "row"}, block.types[t]), ...grids[row].map((scores) => tile(scores[t]))))));
  };
  const only = block.orders.length < 2;
  home.append(make("div", {class: "controls"},
    choice("Type", block.types.map((name, t) => [t, name]), (value) => { type = Number(value); update(); }),
    choice("Order", block.orders.map((name, o) => [o, only ? `${name} (only one)` : name]), (value) => { order = Number(value); update(); })),
    chart.legend, chart.element, said,
    make("div", {class: "controls"}, choice("All types after each step, of", block.rows.map((r, i) => [i, r.label]), (value) => { row = Number(value); update(); })),
    make("div", {class: "wide", tabindex: "0", role: "region", "aria-label": "F1 of all types after each step"}, heat));
  return update;
}
const SCALE = [[0, 32, 77], [64, 77, 107], [124, 123, 120], [187, 175, 113], [255, 234, 70]];  // five points of cividis
function tile(tenths) {
  if (tenths === null) return make("td", {}, "");
  const place = Math.max(0, Math.min(.9999, tenths / 1000)) * 4, i = Math.floor(place);
  const rgb = SCALE[i].map((from, c) => Math.round(from + (SCALE[i + 1][c] - from) * (place - i)));
  return make("td", {style: `background:rgb(${rgb});color:${tenths < 480 ? "#fff" : "#000"}`, title: shown(tenths / 10)}, shown(tenths / 10, 0));
}

for (const figure of document.querySelectorAll("figure.table")) setUpTable(figure);
for (const article of document.querySelectorAll("article.block")) {
  const block = data.blocks[article.dataset.block], state = {view: "all"}, updates = [];
  setUpSources(article, block);
  // What there is in one view only stays.
  const figures = [...article.querySelectorAll("figure[data-view]")], names = new Set(figures.map((figure) => figure.dataset.name));
  const inView = (figure, view) => figure.dataset.name.replace(`-${figure.dataset.view}-`, `-${view}-`);
  const setView = (view) => {
    state.view = view;
    for (const figure of figures) figure.hidden = figure.dataset.view !== view && names.has(inView(figure, view));
    updates.forEach((update) => update());
  };
  const controls = article.querySelector(".for-view");
  controls.append(choice("Scores on", Object.entries(VIEWS), setView));
  controls.hidden = false;
  updates.push(stepCurves(block, state, article.querySelector(".for-steps")), typeCurves(block, state, article.querySelector(".for-types")));
  setView("all");
}
for (const image of document.querySelectorAll(".picture img")) {
  const downloads = image.closest("figure").querySelector(".downloads");
  downloads.append(make("a", {href: image.src, download: `${image.closest("figure").dataset.name}.png`}, "PNG"));
}
document.documentElement.dataset.ready = "yes";
