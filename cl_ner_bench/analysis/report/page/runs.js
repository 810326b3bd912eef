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
