// Tables: sorting keeps the groups apart, as bold is within a group.
function number(cell) {
  const text = cell.dataset.v ?? cell.textContent.trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : null;
}
const rowsOf = (body) => [...body.rows].filter((row) => !row.matches(".section"));
function sortTable(table, column, direction) {
  for (const body of table.tBodies) {
    const rows = rowsOf(body);
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
// `state`: of the table's comparison, whose methods are shown and no others; rows, columns and groups know their method.
function setUpTable(figure, state) {
  const table = figure.querySelector("table");
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells], rows = [...table.tBodies].flatMap(rowsOf);
  for (const body of table.tBodies) rowsOf(body).forEach((row, i) => { row.at = i; });
  heads.forEach((head, column) => {
    const button = make("button", {title: "Sort by this column", onclick: () => {
      const next = {null: "descending", descending: "ascending", ascending: null}[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      sortTable(table, column, {descending: -1, ascending: 1}[next] ?? 0);
    }}, ...head.childNodes);
    head.append(button);
  });
  const isShown = (method) => !state || method === undefined || state.methods.has(Number(method));
  let words = [];
  const update = () => {
    for (const row of rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      row.hidden = !(isShown(row.dataset.row) && isShown(row.dataset.other) && words.every((word) => text.includes(word)));
    }
    for (const body of table.tBodies) body.hidden = !isShown(body.dataset.row) || rowsOf(body).every((row) => row.hidden);
    heads.forEach((head, column) => {
      const hidden = !isShown(head.dataset.row);
      if (head.hidden !== hidden) for (const cell of [head, ...rows.map((row) => row.cells[column])]) cell.hidden = hidden;
    });
  };
  state ? state.on(["methods"], update) : update();
  if (rows.length < 6 || rows.some((row) => row.dataset.row !== undefined)) return;
  const status = make("span", {class: "soft", role: "status"});
  const search = make("input", {type: "search", placeholder: "Filter rows", "aria-label": "Filter rows", oninput: () => {
    words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    update();
    status.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  }});
  figure.querySelector(".tools").prepend(search, status);
}
