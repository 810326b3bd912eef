"""Test sentences with a mention that a model found and later lost, for `bench report --examples`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.data.outcomes import RIGHT, Outcomes
from cl_ner_bench.analysis.data.run_outcomes import outcomes_of
from cl_ner_bench.analysis.report.quotes import Quote, QuotedRun, Quotes
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.report_texts import Rows, corpora_of, licences, predictions, text_of
from cl_ner_bench.storage.files import write_bytes
from cl_ner_bench.storage.run_record import RunRecord

FILE = "examples.md"
PER_TYPE = 3


@dataclass(frozen=True)
class Example:
    """A gold mention that was right after step ``before`` and wrong after ``step``.

    ``was`` and ``now`` are the predictions that overlap the mention after these two steps. ``again`` is the first later
    step after which the mention was right again, or 0.
    """

    sentence: int
    mention: Mention
    before: int
    step: int
    was: tuple[Mention, ...]
    now: tuple[Mention, ...]
    again: int


@dataclass(frozen=True)
class Lost:
    """The examples of one run by type, and the number of mentions of each type that it found and lost by the end."""

    run: RunRecord
    examples: Mapping[str, tuple[Example, ...]]
    numbers: Mapping[str, int]


def quote_examples(results: Results, data: Path | None = None, per_type: int = PER_TYPE) -> Quotes:
    """Return lost mentions with their sentences, at most ``per_type`` of each type.

    Take them from each method's first finished run with all steps (lowest order, then seed), without references.
    ``data`` is the place of the corpus if it was moved. Raise UserError if the corpus is missing or has changed, or if
    no run has several steps.
    """
    if per_type < 1:
        raise UserError(f"--examples-per-type {per_type}: expected a number of at least 1")
    found = [lost(results, run, per_type) for run in _first_runs(results)]
    if not found:
        raise UserError("--examples: no finished run has several steps, so nothing was forgotten")
    corpora = corpora_of([item.run for item in found], data, "--examples")
    runs = tuple(_quoted(item, corpora[text_of(item.run)].parts["test"]) for item in found)
    return Quotes(runs, tuple(licences(corpora.values())), per_type)


def write_examples(quotes: Quotes, out: Path) -> str:
    """Write ``examples.md`` below ``out``. Return a summary in a few lines that ends with the path."""
    parts = ["# Mentions that were found and then lost"]
    for warning, licence in quotes.licences:
        parts.append(f"> **{warning}** {_md(licence)}" if warning else f"> {_md(licence)}")
    parts.append(quotes.meaning)
    lines = []
    for item in quotes.runs:
        parts += _page(item)
        n = sum(map(len, item.quotes.values()))
        lines.append(f"{item.run.label}: {sum(item.numbers.values()):,} mentions lost by the end, {n} examples")
    path = out / FILE
    write_bytes(path, ("\n\n".join(parts) + "\n").encode())
    return "\n".join(["examples of forgetting:", *(f"  {line}" for line in lines), f"  {path}"])


def lost(results: Results, run: RunRecord, per_type: int) -> Lost:
    """Return at most ``per_type`` examples of each type, each from a different sentence.

    Mentions that stay lost come first. The further order is by step, then by place in the corpus.
    """
    r = outcomes_of(results, run.run_id)
    right = r.outcomes == RIGHT
    rows, columns = np.nonzero(right[:-1] & ~right[1:])
    never = [not right[row + 1 :, m].any() for row, m in zip(rows, columns, strict=True)]
    chosen: dict[int, list[tuple[int, int]]] = {type_: [] for type_ in range(len(r.types))}
    for i in sorted(range(len(rows)), key=lambda i: (not never[i], rows[i], columns[i])):
        row, m = int(rows[i]), int(columns[i])
        of_type = chosen[int(r.mentions[m, 3])]
        if len(of_type) < per_type and r.mentions[m, 0] not in [r.mentions[other, 0] for _, other in of_type]:
            of_type.append((row, m))
    steps = sorted({step for pairs in chosen.values() for row, _ in pairs for step in (row, row + 1)})
    predicted = {row: predictions(results.folders[run.run_id], r.steps[row]) for row in steps}
    examples = {
        r.types[type_]: tuple(_example(r, right, row, m, predicted) for row, m in pairs)
        for type_, pairs in chosen.items()
        if pairs
    }
    gone = r.mentions[right.any(axis=0) & ~right[-1], 3]
    return Lost(run, examples, {t: int((gone == i).sum()) for i, t in enumerate(r.types)})


def _example(r: Outcomes, right: Any, row: int, m: int, predicted: Mapping[int, Rows]) -> Example:
    sentence, start, end, type_ = r.mentions[m].tolist()
    later = np.flatnonzero(right[row + 1 :, m])

    def over(row: int) -> tuple[Mention, ...]:
        stored = predicted[row].get(sentence, {"pred": ()})["pred"]
        found = (Mention(*mention[:3]) for mention in stored)
        return tuple(sorted(mention for mention in found if mention.start < end and start < mention.end))

    again = r.steps[row + 1 + int(later[0])] if len(later) else 0
    mention = Mention(start, end, r.types[type_])
    return Example(sentence, mention, r.steps[row], r.steps[row + 1], over(row), over(row + 1), again)


def _first_runs(results: Results) -> list[RunRecord]:
    found: dict[tuple[Any, ...], RunRecord] = {}
    for c in comparisons(results):
        for row in c.rows:
            own = [run for run in c.runs if (run.method, run.config) == (row.method, row.config)]
            own = [run for run in own if 1 < len(run.steps) == run.n_steps]
            if own and row.group != "reference":
                found[c.slug, row] = min(own, key=lambda run: (run.order, run.seed, run.run_id))
    return list(found.values())


def _quoted(item: Lost, sentences: Sequence[Sentence]) -> QuotedRun:
    names = {task.learned_at: task.name for task in item.run.tasks}

    def quote(e: Example) -> Quote:
        words = sentences[e.sentence].words
        start, end, _ = e.mention
        text = " ".join(words[:start]), " ".join(words[start:end]), " ".join(words[end:])
        was, now = (tuple((" ".join(words[m.start : m.end]), m.type) for m in of) for of in (e.was, e.now))
        return Quote(e.sentence, text, e.before, e.step, names[e.step], was, now, e.again)

    return QuotedRun(item.run, {t: tuple(map(quote, of)) for t, of in item.examples.items()}, item.numbers)


def _page(item: QuotedRun) -> list[str]:
    run = item.run
    what = ", ".join(map(str, (run.dataset, run.scenario, run.encoder)))
    parts = [f"## {_md(run.label)}", _md(f"{what}, order {run.order}, seed {run.seed} ({run.run_id})")]
    if not item.quotes:
        parts.append("No mention that was found was lost in a later step.")
    for type_, quotes in item.quotes.items():
        parts.append(f"### {_md(type_)}: {item.numbers[type_]:,} lost by the end")
        for q in quotes:
            again = f"; right again after step {q.again}" if q.again else ""
            before, mention, after = map(_md, q.text)
            lines = (
                f"- Sentence {q.sentence}, lost in **step {q.step}** ({_md(q.task)}){again}  ",
                f"  text: {' '.join(part for part in (before, f'**[{mention}]**', after) if part)}  ",
                f"  gold: {_named([(q.text[1], type_)])}  ",
                f"  after step {q.before}: {_named(q.was)}  ",
                f"  after step {q.step}: {_named(q.now)}",
            )
            parts.append("\n".join(lines))
    return parts


def _named(mentions: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"“{_md(words)}” {_md(type_)}" for words, type_ in mentions) or "nothing (O)"


def _md(text: str) -> str:
    """Return text in one line, escaped for Markdown, because words of a corpus may look like markup."""
    return re.sub(r"([\\`*_{}\[\]|~#$])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
