"""Tables of the Markdown pages that tell what the stored comparison of methods says.

    python -m benchmarks.comparison overview      README.md: all methods, by group
    python -m benchmarks.comparison questions     docs/findings.md: the literature's questions, pairs of methods
    python -m benchmarks.comparison gaps          docs/findings.md: what is not learned, and what is lost later
    python -m benchmarks.comparison collapses     docs/findings.md: old types that a step lost, by the epoch kept
    python -m benchmarks.comparison situations    docs/which-method.md: an engineer's situations, the methods that fit
    python -m benchmarks.comparison types         docs/which-method.md: each type, by how often it was labelled
    python -m benchmarks.comparison nested        docs/findings.md: mentions inside another one
    python -m benchmarks.comparison epochs        docs/findings.md: a model for each type, with twice the epochs, too

``--results FOLDER`` names another folder with one comparison. ``python -m benchmarks.pages`` writes the tables into the
pages.

Intervals are Student's, over orders of tasks (each the mean of its seeds), without a correction for their number.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cl_ner_bench import load_results
from cl_ner_bench.analysis.comparison.compare import comparisons, group_title
from cl_ner_bench.analysis.comparison.intervals import ALPHA, Estimate, estimate, holm
from cl_ner_bench.analysis.comparison.undertrained import undertrained
from cl_ner_bench.analysis.data.distinct import LAST
from cl_ner_bench.analysis.data.outcomes import parse
from cl_ner_bench.analysis.scores.scorer import f1_scores
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.registry import resolve
from cl_ner_bench.storage.folder import ResultsFolder

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "reference" / "comparison"
MEASURES = END, LEARNING, FORGETTING = "task_macro_f1", "learning", "forgetting"
MICRO, GAP = "micro_f1", "gap"


class Question(NamedTuple):
    """A question, and pairs of methods whose differences (the first minus the second) answer it."""

    text: str
    pairs: tuple[tuple[str, str], ...]


QUESTIONS = (
    Question("Does distillation keep old types?", (("extendner", "finetune-token"), ("spankl", "finetune-span"))),
    Question(
        "Is distillation better than a frozen encoder?",
        (("extendner", "seqstar"), ("extendner", "seq-fixbc"), ("spankl", "frozen-span")),
    ),
    Question("Are pseudo-labels better than distillation?", (("selftrain", "extendner"),)),
    Question(
        "Does it help not to count unlabelled words as O?",
        (("masked-token", "finetune-token"), ("mib", "lwf"), ("extendner", "lwf")),
    ),
    # The loss of replay does not count them as O either: its gain over fine-tuning is not that of the sentences alone.
    Question(
        "Do five remembered sentences a type help?",
        (("replay-token", "masked-token"), ("replay-token", "finetune-token")),
    ),
    Question("Are remembered sentences better than distillation?", (("replay-token", "extendner"),)),
    Question(
        "On a frozen encoder: is a closed form better than gradient descent?",
        (
            ("slda", "seq-fixbc"),
            ("ncm", "seq-fixbc"),
            ("analytic-token", "seq-fixbc"),
            ("analytic-span", "frozen-span"),
        ),
    ),
    Question("Are span classifiers better?", (("spankl", "extendner"), ("joint-span", "joint-token"))),
)


class Situation(NamedTuple):
    """A constraint of an engineer, and the methods that keep to it."""

    text: str
    admits: Callable[[MethodCard], bool]


SITUATIONS = (
    Situation("No sentence of an earlier step may be kept", lambda m: m.group in ("memory-free", "closed-form")),
    Situation("Five sentences of each type may be kept", lambda m: m.group != "reference"),
    Situation("The encoder may not change after the first step", lambda m: m.group == "closed-form"),
    Situation(
        "Mentions are nested, or overlap", lambda m: m.architecture == "span" and m.group != "reference"
    ),
    Situation("All sentences are there, with all labels", lambda m: m.name.startswith("joint-")),
)  # fmt: skip


MOST = 6  # methods shown for a situation
COLLAPSE = 20  # points of F1 that an old type loses in a step
OF_TYPES = ("extendner", "spankl", "slda", "joint-token")  # the methods of the table of types


class Stored:
    """The finished runs of the comparison.

    Args:
        folder: the results folder; it holds one comparison.
    """

    def __init__(self, folder: Path) -> None:
        (self.comparison,) = comparisons(load_results(folder))
        frame = self.comparison.measures.query("view == 'all'")
        # Orders that share a model (joint training after the last step) have one value.
        frame = frame[[self.comparison.models[run_id, LAST] == run_id for run_id in frame["run_id"]]]
        self._by_order = frame.groupby(["method", "order"])[[*MEASURES, MICRO, GAP]].mean()
        self.methods = [row.method for row in self.comparison.rows]
        self.undertrained = {found.row.method for found in undertrained(self.comparison)}
        self.folder = ResultsFolder.open(folder)

    def values(self, method: str, measure: str) -> pd.Series:
        """Return a measure of a method by order."""
        return self._by_order.loc[method][measure].dropna()

    def estimate(self, method: str, measure: str) -> Estimate | None:
        """Return the mean of a measure over orders; None where the method has none."""
        return estimate_of(self.values(method, measure))

    def differences(self, method: str, other: str, measure: str) -> pd.Series:
        """Return ``method`` minus ``other``, by the orders that both have."""
        return (self.values(method, measure) - self.values(other, measure)).dropna()

    def difference(self, method: str, other: str, measure: str) -> Estimate | None:
        """Return the mean of ``differences``; None without any."""
        return estimate_of(self.differences(method, other, measure))

    def seconds(self, method: str) -> float:
        """Return the processor seconds of a step, its test predictions included: the mean over runs."""
        runs = [run for run in self.comparison.runs if run.method == method]
        return float(np.mean([step["cpu_seconds"] for run in runs for step in run.learned]))


def estimate_of(values: pd.Series) -> Estimate | None:
    """Return the mean of the values of several orders; None without any."""
    return estimate(values.to_numpy()[:, None]) if len(values) else None


def cell(found: Estimate | None, sign: str = "") -> str:
    """Return a mean and its interval; the mean alone where one order has no interval."""
    if found is None:
        return "–"
    mean, low, high = (float(values[0]) for values in (found.mean, found.low, found.high))
    return f"{mean:{sign}.1f}" if np.isnan(low) else f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def answer(found: Estimate | None, p: float) -> str:
    """Return what a difference says by its interval and by ``p`` after correction."""
    low, high = (np.nan, np.nan) if found is None else (float(found.low[0]), float(found.high[0]))
    if not (low > 0 or high < 0):
        return "cannot be said"
    return f"the {'first' if low > 0 else 'second'} is ahead{'' if p < ALPHA else ', not sure'}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; columns after the first hold numbers, unless their name ends with a blank."""
    rule = "|" + "|".join("---" if not i or name.endswith(" ") else "---:" for i, name in enumerate(header)) + "|"
    lines = [f"| {' | '.join(str(value).strip() for value in row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])


def overview(stored: Stored) -> str:
    """Return all methods by group, the best in the end first; a dagger marks the undertrained."""
    rows: list[Sequence[object]] = []
    for group, members in stored.comparison.groups:
        rows.append((f"*{group_title(group)}*", *[""] * 5))
        for name in sorted((row.method for row in members), key=lambda name: -stored.values(name, END).mean()):
            measures = (cell(stored.estimate(name, measure)) for measure in (END, MICRO, LEARNING, FORGETTING))
            dagger = " †" if name in stored.undertrained else ""
            rows.append((f"`{name}`{dagger}", *measures, f"{stored.seconds(name):.0f}"))
    header = ("method", "F1 in the end", "micro-F1 in the end", "F1 when learned", "forgetting", "processor s a step")
    return markdown(header, rows)


def questions(stored: Stored) -> str:
    """Return the differences that answer the literature's questions; p of F1 in the end, after Holm's correction.

    Leave out pairs of which the folder lacks a method.
    """
    here = [q._replace(pairs=tuple(p for p in q.pairs if {*p} <= {*stored.methods})) for q in QUESTIONS]
    found = {pair: stored.difference(*pair, END) for question in here for pair in question.pairs}
    tested = {pair: float(end.p[0]) for pair, end in found.items() if end and not np.isnan(end.p[0])}
    corrected = dict(zip(tested, holm([*tested.values()]), strict=True))
    rows = []
    for question in here:
        for at, pair in enumerate(question.pairs):
            differences = [stored.difference(*pair, measure) for measure in MEASURES]
            p = corrected.get(pair, np.nan)
            says = "no claim: undertrained" if {*pair} & stored.undertrained else answer(differences[0], p)
            first = ("" if at else question.text, " − ".join(f"`{method}`" for method in pair))
            rows.append((*first, *(cell(d, "+") for d in differences), f"{p:.2g}" if pair in corrected else "–", says))
    header = ("question", "pair ", "F1 in the end", "F1 when learned", "forgetting", "p", "in the end ")
    return markdown(header, rows)


def gaps(stored: Stored) -> str:
    """Return how far methods end below joint training: what they did not learn, and what they lost later."""
    parts = []
    for row in stored.comparison.rows:
        if row.group != "reference" and len(stored.values(row.method, GAP)):  # none where settings are not joint's
            joint, end = (stored.values(m, END).mean() for m in (f"joint-{row.architecture}", row.method))
            learned = stored.values(row.method, LEARNING).mean()
            parts.append((joint - end, joint - learned, learned - end, row.method))
    rows = [(f"`{method}`", *(f"{part:.1f}" for part in numbers)) for *numbers, method in sorted(parts)]
    return markdown(("method", "gap to joint", "not learned", "lost later"), rows)


def collapses(stored: Stored) -> str:
    """Return how often an old type lost ``COLLAPSE`` points: in steps that kept an earlier epoch, and in the others."""
    counts = stored.comparison.counts.query("view == 'all'").set_index(["run_id", "type", "step"])
    of = dict(zip(counts.index, f1_scores(counts[["tp", "fp", "fn"]].to_numpy()), strict=True))
    rows = []
    for row in stored.comparison.rows:
        if row.group not in ("memory-free", "exemplar"):
            continue
        lost: dict[bool, list[bool]] = {True: [], False: []}
        for run in stored.comparison.runs:
            if run.method != row.method:
                continue
            for learned in run.learned[1:]:
                step, earlier = learned["step"], learned["selected_epoch"] < learned["epochs"]
                old = [type_ for task in run.tasks[: step - 1] for type_ in task.types]
                drops = (of[run.run_id, type_, step - 1] - of[run.run_id, type_, step] for type_ in old)
                lost[earlier] += [drop >= COLLAPSE for drop in drops]
        rows.append((f"`{row.method}`", *(f"{sum(lost[early])} of {len(lost[early])}" for early in (True, False))))
    return markdown(("method", "lost, an earlier epoch kept", "lost, the last epoch kept"), rows)


def situations(stored: Stored) -> str:
    """Return a table for each situation: the methods that fit and end best."""
    header = (
        "method",
        "F1 in the end",
        "F1 when learned",
        "forgetting",
        "processor s a step",
        "keeps ",
        "behind the first? ",
    )
    tables = []
    for situation in SITUATIONS:
        fitting = [card for card in map(card_of, stored.methods) if situation.admits(card)]
        fitting.sort(key=lambda card: -float(stored.values(card.name, END).mean()))
        rows = []
        for card in fitting[:MOST]:
            measures = (cell(stored.estimate(card.name, measure)) for measure in MEASURES)
            lead = stored.difference(fitting[0].name, card.name, END)
            says = "" if card is fitting[0] else "yes" if lead and lead.low[0] > 0 else "cannot be told"
            says = "undertrained: no claim" if card.name in stored.undertrained else says
            rows.append((f"`{card.name}`", *measures, f"{stored.seconds(card.name):.0f}", stored_by(card), says))
        tables.append(f"### {situation.text}\n\n{markdown(header, rows)}")
    return "\n\n".join(tables)


def types(stored: Stored) -> str:
    """Return the F1 of each type right after it was learned, rare types first.

    How often a type was labelled is estimated by its share of the test sentences: both are drawn from one corpus.
    """
    c = stored.comparison
    first = c.runs[0].learned
    counts = c.counts.query("view == 'all'")
    gold = counts.query("step == learned_at").assign(gold=lambda frame: frame["tp"] + frame["fn"])
    often = gold.groupby("type")["gold"].first().sort_values() * first[0]["examples"] / first[-1]["predicted"]
    rows = [
        (f"`{type_}`", f"{labelled:.0f}", *(learned(counts, method, type_) for method in OF_TYPES))
        for type_, labelled in often.items()
    ]
    return markdown(("type", "labelled mentions, about", *(f"`{method}`" for method in OF_TYPES)), rows)


def epochs(stored: Stored) -> str:
    """Return the F1 of a model for each type alone, with the recipe's epochs and with twice as many; rare types first.

    The runs of twice as many are labelled ``ARCHITECTURE-twice``.
    """
    counts = stored.comparison.counts.query("view == 'all' and step == learned_at")
    counts = counts.assign(f1=f1_scores(counts[["tp", "fp", "fn"]].to_numpy()), gold=counts["tp"] + counts["fn"])
    often = counts.groupby("type")["gold"].first().sort_values()
    of = counts.set_index(["method", "type"])["f1"]
    names = ("single-task-token", "token-twice", "single-task-span", "span-twice")
    rows = [(f"`{type_}`", *(f"{of[name, type_]:.1f}" for name in names)) for type_ in often.index]
    rows.append(("*mean*", *(f"{of[name].mean():.1f}" for name in names)))
    return markdown(("type", "token, 4 epochs", "8 epochs", "span, 4 epochs", "8 epochs"), rows)


def nested(stored: Stored) -> str:
    """Return how many mentions inside another one each method finds after the last step, summed over its runs."""
    rows = []
    for row in stored.comparison.rows:
        gold, found, right = 0, 0, 0
        for run in stored.comparison.runs:
            if run.method == row.method:
                file = stored.folder.run(run.run_id).predictions_file(run.n_steps)
                for sentence in parse(file.read_bytes(), file):
                    own, predicted = (inner(sentence[side]) for side in ("gold", "pred"))
                    gold, found, right = gold + len(own), found + len(predicted), right + len(own & predicted)
        rows.append((f"`{row.method}`", gold, right, found))
    return markdown(("method", "mentions inside another", "found", "predicted inside another"), rows)


def inner(mentions: Sequence[Sequence[Any]]) -> set[tuple[Any, ...]]:
    """Return the mentions (start, end, type) that lie inside a longer one."""
    spans = [tuple(mention[:2]) for mention in mentions]
    return {
        (start, end, type_)
        for start, end, type_, *_ in mentions
        if any(first <= start and end <= last and (first, last) != (start, end) for first, last in spans)
    }


def learned(counts: pd.DataFrame, method: str, type_: object) -> str:
    """Return the mean F1 over runs of a type right after it was learned, of references after the last step."""
    own = counts[(counts["method"] == method) & (counts["type"] == type_)]
    steps = own if method.startswith("joint-") else own.query("step == learned_at")
    return f"{f1_scores(steps[['tp', 'fp', 'fn']].to_numpy()).mean():.1f}"


def stored_by(card: MethodCard) -> str:
    """Return what a method stores, with the values of its settings in place of their names."""
    return re.sub(r"\w+", lambda word: str(card.settings.get(word[0], word[0])), card.stores)


def card_of(method: str) -> MethodCard:
    """Return the card of a registered method."""
    (variant,) = resolve([method])
    return variant.card


TABLES: Mapping[str, Callable[[Stored], str]] = {
    "overview": overview,
    "questions": questions,
    "gaps": gaps,
    "collapses": collapses,
    "situations": situations,
    "types": types,
    "nested": nested,
    "epochs": epochs,
}


def printed(arguments: Sequence[str] | None = None) -> str:
    """Return what the command prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parsed = parser.parse_args(arguments)
    return TABLES[parsed.table](Stored(parsed.results))


def main() -> None:
    print(printed())


if __name__ == "__main__":
    main()
