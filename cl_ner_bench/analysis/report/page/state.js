// What a comparison shows: view, measure, order, type, the heat map's method, and the methods. The address holds all of
// it (`#steps-SLUG?view=filter&methods=spankl,extendner`), so that a link restores it.
class State {
  constructor(block, section) {
    this.block = block;
    this.section = section;  // of the address
    const twice = (method) => block.rows.filter((row) => row.method === method).length > 1;
    this.names = block.rows.map((row) => twice(row.method) ? `${row.method}:${row.config}` : row.method);
    this.options = {  // the default first
      view: Object.keys(VIEWS), measure: Object.keys(block.curves), order: ["", ...block.orders.map(String)], type: block.types, heat: this.names,
    };
    this.listeners = [];
    for (const [field, [first]] of Object.entries(this.options)) this[field] = first;
    this.methods = this.every();
  }
  every() {
    return new Set(this.block.rows.keys());
  }
  // Calls `update` now, and whenever one of `fields` changes.
  on(fields, update) {
    this.listeners.push({fields, update});
    update();
  }
  set(changes) {
    Object.assign(this, changes);
    for (const {fields, update} of this.listeners) if (fields.some((field) => field in changes)) update();
    history.replaceState(null, "", this.address());
  }
  address() {
    const query = new URLSearchParams();
    for (const [field, [first]] of Object.entries(this.options)) if (this[field] !== first) query.set(field, this[field]);
    if (this.methods.size < this.names.length) query.set("methods", this.names.filter((_, i) => this.methods.has(i)).join(","));
    return `#${[this.section, String(query).replaceAll("%2C", ",")].filter(Boolean).join("?")}`;
  }
  restore(text) {
    const query = new URLSearchParams(text), names = query.get("methods")?.split(",") ?? [];
    const methods = new Set([...this.names.keys()].filter((i) => names.includes(this.names[i])));
    const changes = {methods: methods.size ? methods : this.every()};
    for (const [field, values] of Object.entries(this.options)) changes[field] = values.includes(query.get(field)) ? query.get(field) : values[0];
    this.set(changes);
  }
  select(title, field, options, shown = () => this[field]) {
    const select = make("select", {onchange: () => this.set({[field]: select.value})});
    for (const [key, text] of options) select.append(make("option", {value: key}, text));
    this.on([field], () => { select.value = shown(); });
    return make("label", {}, title, select);
  }
}

// Words (all of them; a comma stands between alternatives) and a group choose the methods of everything in a comparison.
function methodFilter(state) {
  const {block} = state, status = make("span", {class: "soft", role: "status"});
  const texts = block.rows.map((row) => [row.label, row.method, block.groups[row.group], row.architecture].join(" ").toLowerCase());
  const choose = () => {
    const ways = words.value.toLowerCase().split(",").map((way) => way.split(/\s+/).filter(Boolean)).filter((way) => way.length);
    const fits = (row, i) => (!group.value || row.group === group.value) && (!ways.length || ways.some((way) => way.every((word) => texts[i].includes(word))));
    state.set({methods: new Set([...block.rows.keys()].filter((i) => fits(block.rows[i], i)))});
  };
  const words = make("input", {type: "search", placeholder: "Filter methods", "aria-label": "Filter methods: words, a comma between alternatives", oninput: choose});
  const group = make("select", {onchange: choose, "aria-label": "Group of methods"}, make("option", {value: ""}, "all groups"));
  for (const [name, title] of Object.entries(block.groups)) group.append(make("option", {value: name}, title));
  const all = make("button", {onclick: () => { words.value = group.value = ""; choose(); }}, "Show all");
  state.on(["methods"], () => {
    const {size} = state.methods, n = block.rows.length;
    status.textContent = size < n ? `${size} of ${n} methods` : `${n} method${n === 1 ? "" : "s"}`;
    all.hidden = size === n;
  });
  return [words, group, status, all];
}

// A button beside a section's title: the address of this section with everything that was chosen.
function linkButton(state, section) {
  const status = make("span", {class: "soft", role: "status"});
  const copy = async () => {
    state.section = section;
    history.replaceState(null, "", state.address());
    const written = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    status.textContent = written ? "copied" : "now in the address bar";
    setTimeout(() => { status.textContent = ""; }, 4000);
  };
  return make("span", {class: "link"}, make("button", {onclick: copy, title: "Copy a link to this section as it is shown now"}, "copy link"), status);
}
