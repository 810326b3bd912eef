const states = new Map();
for (const article of document.querySelectorAll("article.block")) {
  const slug = article.dataset.block, block = data.blocks[slug], state = new State(block, `answer-${slug}`);
  states.set(article, state);
  for (const figure of article.querySelectorAll("figure.table")) setUpTable(figure, state);
  setUpSources(article, block);
  const controls = article.querySelector(".for-all");
  controls.append(state.select("Scores on", "view", Object.entries(VIEWS)), ...methodFilter(state));
  controls.hidden = false;
  // What there is in one view only stays.
  const figures = [...article.querySelectorAll("figure[data-view]")], names = new Set(figures.map((figure) => figure.dataset.name));
  const inView = (figure, view) => figure.dataset.name.replace(`-${figure.dataset.view}-`, `-${view}-`);
  state.on(["view"], () => {
    for (const figure of figures) figure.hidden = figure.dataset.view !== state.view && names.has(inView(figure, state.view));
  });
  const quoted = [...article.querySelectorAll(".quoted")];
  state.on(["methods"], () => {
    for (const part of quoted) part.hidden = !state.methods.has(Number(part.dataset.row));
  });
  stepCurves(state, article.querySelector(".for-steps"));
  typeCurves(state, article.querySelector(".for-types"));
  for (const section of article.querySelectorAll("section")) section.querySelector("h2, h3").append(linkButton(state, section.id));
}
setUpTable(document.querySelector("figure[data-kind=runs]"));
for (const image of document.querySelectorAll(".picture img")) {
  const downloads = image.closest("figure").querySelector(".downloads");
  downloads.append(make("a", {href: image.src, download: `${image.closest("figure").dataset.name}.png`}, "PNG"));
}
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll(".notes details")) folded.open = true;
});
// A link that was copied: `#SECTION?STATE`.
function follow() {
  const [id, query] = location.hash.slice(1).split("?"), target = document.getElementById(id);
  const state = states.get(target?.closest("article"));
  if (!state) return;
  state.section = target.closest("section").id;
  if (query === undefined) return;
  state.restore(query);
  // What is not on the screen has no height yet: the second call finds the place.
  const scroll = () => target.scrollIntoView({behavior: "instant"});
  scroll();
  requestAnimationFrame(scroll);
}
addEventListener("hashchange", follow);
follow();
document.documentElement.dataset.ready = "yes";
