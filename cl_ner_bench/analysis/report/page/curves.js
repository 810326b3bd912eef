const MANY = 12, NAMED = 60;  // methods: the legend is folded above the one, lines have no names above the other

// Curves over steps. `series` gives for each row a list of {mean, std, n} per step, or null.
class Chart {
  constructor(state, title) {
    this.state = state;
    this.block = state.block;
    this.svg = draw("svg", {role: "img", tabindex: "0", "aria-label": title, onkeydown: (event) => this.key(event)});
    this.tip = make("div", {class: "tip", role: "status", hidden: true});
    this.element = make("div", {class: "chart"}, this.svg, this.tip);
    const buttons = this.block.rows.map((row, i) => {
      const mark = draw("svg", {width: 22, height: 12, viewBox: "-11 -6 22 12", "aria-hidden": "true"}, this.group(i, draw("path", {class: "line", d: "M-11 0H11"}), this.mark(i, 0, 0)));
      return make("button", {onclick: () => this.toggle(i), onpointerenter: () => this.emphasise(i), onpointerleave: () => this.emphasise(null)}, mark, row.label);
    });
    const legend = make("div", {class: "legend", role: "group", "aria-label": "Methods shown"}, ...buttons);
    this.legend = buttons.length <= MANY ? legend : make("details", {}, make("summary", {}, `Colours and marks of ${buttons.length} methods`), legend);
    state.on(["methods"], () => {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(state.methods.has(i))));
      this.paint();
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
  toggle(i) {
    const methods = new Set(this.state.methods);
    if (!methods.delete(i)) methods.add(i);
    this.state.set({methods});
  }
  emphasise(i) {
    for (const group of this.svg.querySelectorAll(".series")) group.classList.toggle("faded", i !== null && Number(group.dataset.row) !== i);
  }
  // `bounds`: where bands end.
  show(series, axis, bounds, learned) {
    Object.assign(this, {series, axis, bounds, learned});
    this.paint();
  }
  paint() {
    const width = this.element.clientWidth;
    if (!width || !this.series) return;
    const visible = this.series.map((points, i) => ({points, i})).filter(({points, i}) => this.state.methods.has(i) && known(points.map((p) => p.mean)).length);
    const steps = this.block.steps, wide = width > 640, height = wide ? Math.max(400, 70 + 13 * Math.min(visible.length, NAMED)) : 300;
    const banded = visible.length <= 4 && visible.some(({points}) => points.some((p) => p.std));
    const band = ({mean, std}) => [-1, 1].map((side) => Math.max(this.bounds[0], Math.min(this.bounds[1], mean + side * (std ?? 0))));
    const ends = visible.flatMap(({points}) => points.flatMap((p) => p.mean === null ? [] : banded ? band(p) : [p.mean]));
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
    const labels = wide && visible.length <= NAMED ? this.places(visible, room.top, height - room.bottom) : [];
    for (const {points, i} of visible) {
      const at = points.map((p, k) => p.mean === null ? null : [this.x(k), this.y(p.mean), ...band(p).map(this.y)]);
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
    this.tip.classList.toggle("many", entries.length > MANY);
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

function stepCurves(state, home) {
  const {block} = state, chart = new Chart(state, "Scores after each step"), {orders} = block;
  home.append(make("div", {class: "controls"},
    state.select("Measure", "measure", Object.entries(block.curves)),
    state.select("Order", "order", orders.length > 1 ? [["", "all"], ...orders.map((order) => [order, order])] : [["", `${orders[0]} (only one)`]])),
    chart.legend, chart.element, make("p", {class: "soft"}, `Point at a step, or use the arrow keys, for its values (mean ± standard deviation over trained models). Bands are drawn for up to four methods${block.rows.length > NAMED ? `, names for up to ${NAMED}` : ""}; the buttons above hide and show methods.`));
  state.on(["view", "measure", "order"], () => {
    const {order} = state, scores = block.scores[state.view][state.measure];
    const chosen = block.runs.map((run, i) => i).filter((i) => order === "" || block.runs[i][1] === Number(order));
    chart.show(block.rows.map((_, r) => {
      const own = chosen.filter((i) => block.runs[i][0] === r);
      return Array.from({length: block.steps}, (_, k) => stats(byModel(block, own, k).map((runs) => stats(runs.map((i) => scores[i][k] === null ? null : scores[i][k] / 100)).mean)));
    }), `${block.curves[state.measure]}${order === "" ? orders.length > 1 ? `, mean over ${orders.length} orders` : "" : `, order ${order}`}`, state.measure.startsWith("gap") ? [-100, 100] : [0, 100]);
  });
}

// A type is learned at another step in each order: with all orders chosen, the first is shown.
function typeCurves(state, home) {
  const {block} = state, {orders} = block, chart = new Chart(state, "F1 of a type after each step");
  const heat = make("table", {class: "heat"}), said = make("p", {class: "soft"});
  const shownOrder = () => state.order || String(orders[0]);
  const here = () => ({grids: block.tenths[state.view][orders.indexOf(Number(shownOrder()))], learned: block.learned[shownOrder()]});
  home.append(make("div", {class: "controls"},
    state.select("Type", "type", block.types.map((name) => [name, name])),
    state.select("Order", "order", orders.map((order) => [order, orders.length > 1 ? order : `${order} (only one)`]), shownOrder)),
    chart.legend, chart.element, said,
    make("div", {class: "controls"}, state.select("All types after each step, of", "heat", block.rows.map((row, i) => [state.names[i], row.label]))),
    make("div", {class: "wide", tabindex: "0", role: "region", "aria-label": "F1 of all types after each step"}, heat));
  state.on(["view", "type", "order"], () => {
    const {grids, learned} = here(), type = block.types.indexOf(state.type);
    chart.show(grids.map((grid) => grid.map((scores) => ({mean: scores[type] === null ? null : scores[type] / 10, std: null, n: 1}))), `F1 of ${state.type}`, [0, 100], learned[type]);
    said.textContent = `${state.type} is learned at step ${learned[type]} of order ${shownOrder()} (dotted line). Means over seeds.`;
  });
  state.on(["view", "heat", "order"], () => {
    const {grids, learned} = here(), grid = grids[state.names.indexOf(state.heat)];
    const inOrder = [...block.types.keys()].sort((a, b) => learned[a] - learned[b] || a - b);
    heat.replaceChildren(make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "Type"), ...grid.map((_, k) => make("th", {scope: "col"}, String(k + 1))))),
      make("tbody", {}, ...inOrder.map((t) => make("tr", {}, make("th", {scope: "row"}, block.types[t]), ...grid.map((scores) => tile(scores[t]))))));
  });
}
const SCALE = [[0, 32, 77], [64, 77, 107], [124, 123, 120], [187, 175, 113], [255, 234, 70]];  // five points of cividis
function tile(tenths) {
  if (tenths === null) return make("td", {}, "");
  const place = Math.max(0, Math.min(.9999, tenths / 1000)) * 4, i = Math.floor(place);
  const rgb = SCALE[i].map((from, c) => Math.round(from + (SCALE[i + 1][c] - from) * (place - i)));
  return make("td", {style: `background:rgb(${rgb});color:${tenths < 480 ? "#fff" : "#000"}`, title: shown(tenths / 10)}, shown(tenths / 10, 0));
}
