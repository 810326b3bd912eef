"""The notes under each table and figure, on the limits of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

from cl_ner_bench.analysis.comparison.compare import Comparison, group_of, most_stored
from cl_ner_bench.analysis.comparison.learning import learning_notes
from cl_ner_bench.analysis.comparison.naming import Naming, every, few
from cl_ner_bench.analysis.comparison.undertrained import training_ratios, undertrained, without_gap
from cl_ner_bench.analysis.literature.numbers import BF16
from cl_ner_bench.analysis.literature.settings import (
    ENCODERS,
    UNKNOWN,
    corpus_differences,
    encoder_differences,
    printed_name,
    settings,
)
from cl_ner_bench.storage.run_record import DEV_ZERO, RunRecord

UNDERTRAINED = "undertrained: do not compare"  # every table and figure keeps the notes that begin so
FEW = 3  # matched runs below which nothing is bold, ranked or claimed
OF_PAPERS = {"cfner", "ice", "ocilner", "recall"}  # recipes beside "paper" with published values
WARM_UP = 0.2  # share of a task's updates
MOST_TYPES = 8  # a note names no more types
FEW_COPIES = 0.01  # a smaller share of test sentences that are also in train gets no note


@lru_cache(maxsize=16)
def notes_of(c: Comparison) -> tuple[str, ...]:
    """Return the notes of a comparison, the most serious first. Long lists are cut to their worst entries.

    ``full_notes``, in ``notes_file``, have every entry.
    """
    return _notes(c, named_few(c))


@lru_cache(maxsize=16)
def full_notes(c: Comparison) -> tuple[str, ...]:
    """Return the notes of a comparison with all entries of their lists."""
    return _notes(c, every)


def named_few(c: Comparison) -> Naming:
    """Return a function that writes a list of names; it cuts a long list and names the file with all names."""
    return partial(few, where=notes_file(c))


def notes_file(c: Comparison) -> str:
    """Return the path in a report of the file with ``full_notes``."""
    return f"tables/notes-{c.slug}.md"


def _notes(c: Comparison, named: Naming) -> tuple[str, ...]:
    notes = []
    found = undertrained(c)
    if low := [f"{u.row.label} {u.f1:.1f}" for u in found if u.is_low]:
        bound = max(u.run.undertrained_below for u in found)
        notes.append(f"{UNDERTRAINED} {named(low)} (step-1 micro-F1 below {bound:g})")
    if short := [f"{u.row.label} {u.share:.1f} %" for u in found if not u.is_low]:
        notes.append(f"{UNDERTRAINED} {named(short)} (step 1, of what twice the epochs reach)")
    notes += _not_as_published(c)
    if no_gap := without_gap(c):
        notes.append(f"joint training is undertrained: no gap ({'; '.join(no_gap.values())})")
    notes += learning_notes(c, named)
    if not c.matched:
        notes.append("no (order, seed) pair was finished by every method: the rows cover different runs")
    elif len(c.pairs) < FEW:
        notes.append(f"n = {len(c.pairs)}: no claim about differences")
    if c.left_out and c.matched:
        notes.append(f"differences between methods are taken over n = {len(c.pairs)}, without {_left_out(c, named)}")
    if c.whole and (hidden := len(c.whole.rows) - len(c.rows)):
        notes.append(f"{hidden} more methods were run and are not shown: tests are corrected over those shown alone")
    if c.damaged:
        notes.append(f"damaged and left out, `bench verify` says why: {named(c.damaged)}")
    notes += _imported(c, named)
    if len(c.orders) == 1:
        notes.append("one order")
    if c.repeated:
        same = named(f"{order} repeats {other}" for order, other in c.repeated.items())
        notes.append(f"orders that are the same permutation count once: {same}")
    if sample := _unique(run.settings.get("max_sentences") for run in c.runs):
        notes.append(f"a sample of {_join(sample)} training sentences, not the whole corpus")
    if other := [r for r in _unique(run.settings.get("recipe") for run in c.runs) if r != "paper"]:
        own = not set(other) <= OF_PAPERS
        notes.append(f"hyper-parameters of the recipe {_join(map(repr, other))}{', not of the papers' * own}")
    if by_hand := dict.fromkeys(setting for run in c.runs for setting in _by_hand(run)):
        notes.append(f"set by hand: {named(by_hand)}")
    if labels := _unique(run.label for run in c.runs if run.settings.get("precision") == "bf16"):
        notes.append(BF16 if len(labels) == len({run.label for run in c.runs}) else f"{BF16}: {named(labels)}")
    lowest = _unique(run.settings.get("encoder_layers") for run in c.runs)
    if lowest and printed_name(c.encoder) not in ENCODERS:  # these have known layers, which a note above names
        notes.append(f"of the encoder ({c.encoder}) the lowest {_join(lowest)} layers alone")
    if priors := _unique(run.settings.get("span_prior") for run in c.runs):
        notes.append(f"span heads begin with a share of {_join(priors)} of spans found, SpanKL's with a half")
    if any(run.uncased for run in c.runs):
        notes.append(f"uncased encoder ({c.encoder}): not comparable with published numbers of cased encoders")
    accepted = dict.fromkeys(text for run in c.runs if run.corpus for text in run.corpus.accepted)
    notes += [f"another copy of the published corpus: {text}" for text in accepted]
    notes += _without_task(c) + _copies(c)
    if lost := max((run.lost_mentions or 0 for run in c.runs), default=0):
        notes.append(f"the protocol's limit of words drops {lost:,} test mentions")
    if ceilings := _ceilings(c.runs):
        most = named(f"{label} {ceiling:.4g} %" for label, ceiling in sorted(ceilings.items(), key=itemgetter(1)))
        notes.append(f"mentions that overlap others, or are wider than a limit, are lost: recall is at most {most}")
    if long := _long_warm_up(c.runs):
        shares = named(f"{label} {share:.1f} %" for label, share in sorted(long.items(), key=lambda item: -item[1]))
        notes.append(f"warm-up longer than 20 % of a task's updates: {shares}")
    if ratios := training_ratios(c):
        notes.append(f"step-1 micro-F1 relative to the same architecture trained longer: {named(ratios)}")
    steps: dict[str, set[int]] = {}
    for run in c.runs:
        for step in run.learned:
            for remark in step.get("remarks", ()):
                if remark != DEV_ZERO:  # the notes on learning name it
                    steps.setdefault(remark, set()).add(step["step"])
    notes += [f"step{'s' * (len(of) > 1)} {', '.join(map(str, sorted(of)))}: {remark}" for remark, of in steps.items()]
    moved = {(run.label, group_of(run), run.group) for run in c.runs if run.group != group_of(run)}
    why = {
        "reference": "learned from the data of all steps so far, so a reference",
        "exemplar": "kept sentences of earlier steps, so with stored examples",
    }
    for group, card in sorted({(group, card) for _, group, card in moved}):
        notes.append(f"{why[group]} and not {card}: {named(sorted(m[0] for m in moved if m[1:] == (group, card)))}")
    if stored := _stored(c.runs):
        notes.append(f"stored examples (sentences, KiB of text): {named(stored)}")
    if any(group_of(run) == "reference" and len(run.steps) < run.n_steps for run in c.runs):
        notes.append("joint training at the last step only")
    if shared := _shared(c):
        notes.append(f"a model that several orders share counts once: {named(shared)}")
    return tuple(notes)


def _imported(c: Comparison, named: Naming) -> list[str]:
    """Return a note on each row of imported results: the files, their date, the encoder, and the user's remark."""
    notes = []
    for row in c.rows:
        runs = [run for run in c.runs if run.imported and c.row_of[run.run_id] == row]
        files = {file.name: file for run in runs for file in (run.imported or {}).values()}
        if files:
            origin = named(f"{file.name} ({file.date})" for file in files.values())
            about = "".join(f"; {text}" for text in dict.fromkeys(run.settings.get("about") for run in runs) if text)
            notes.append(
                f"{row.label}: not learned by this suite, in no test of differences (what it learned from is not known "
                f"here; from {origin}, encoder {runs[0].encoder}{about})"
            )
    return notes


def _left_out(c: Comparison, named: Naming) -> str:
    """Return a text on the (order, seed) pairs that some methods lack, with the reason."""
    seeds: dict[str, dict[int, list[int]]] = {}
    for (order, seed), lacking in c.left_out.items():
        by_reason: dict[str, list[str]] = {}
        for row, reason in lacking.items():
            by_reason.setdefault(reason, []).append(row.label)
        why = "; ".join(f"{reason}: {named(labels)}" for reason, labels in by_reason.items())
        seeds.setdefault(why, {}).setdefault(order, []).append(seed)
    return ", ".join(
        f"{' and '.join(f'order {order} seed {_join(of)}' for order, of in by_order.items())} ({why})"
        for why, by_order in seeds.items()
    )


def _shared(c: Comparison) -> list[str]:
    """Return the rows with fewer trained models than runs, with both numbers."""
    runs = c.measures[c.measures["view"] == "all"]
    sizes = [(row.label, c.n_models(row, runs), len(row.of(runs))) for row in c.rows]
    return [f"{label} {models} (in {n} runs)" for label, models, n in sizes if models < n]


def sample_sizes(sizes: Mapping[str, int]) -> str:
    """Return the most common size, and the rows with another size, as in ``n = 3 (SpanKL 5)``."""
    (most, _), *_ = Counter(sizes.values()).most_common(1)
    others = few(f"{label} {size}" for label, size in sizes.items() if size != most)
    return f"n = {most} ({others})" if others else f"n = {most}"


def _not_as_published(c: Comparison) -> list[str]:
    """Return notes on a corpus or encoder that differs from its name's original, or from that of published numbers.

    Records of earlier versions lack these facts. They get no note, and no published number stands beside them.
    """
    name = printed_name(c.encoder)
    notes = [note for run in c.runs if run.corpus for note in corpus_differences(run)]
    if name in ENCODERS:
        notes += [note for run in c.runs if run.encoder_identity for note in encoder_differences(name, run)]
    theirs = {s.encoder for s in settings().values() if (s.dataset, s.scenario) == (c.dataset, c.scenario)} - {UNKNOWN}
    if theirs and name not in theirs and not any(run.uncased for run in c.runs):  # uncased encoders have their own note
        notes.append(f"not the encoder of published numbers ({_join(sorted(theirs))})")
    return list(dict.fromkeys(notes))


def _without_task(c: Comparison) -> list[str]:
    """Return notes on the types that no task learns, with the number of their train mentions, which count as O."""
    notes = []
    for run in c.runs:
        if run.corpus and run.corpus.without_task:
            found = {type_: counts.train for type_, counts in run.corpus.without_task.items()}
            by_size = sorted(found, key=lambda type_: (-found[type_], type_))
            named = [f"{type_} {found[type_]:,}" for type_ in by_size[:MOST_TYPES]]
            more = f" and {len(found) - MOST_TYPES} more types" if len(found) > MOST_TYPES else ""
            share = f"{sum(found.values()):,} of {run.corpus.n_mentions.train:,}"
            notes.append(f"types in no task, {share} train mentions count as O: {_join(named)}{more}")
    return list(dict.fromkeys(notes))


def _copies(c: Comparison) -> list[str]:
    """Return a note on test sentences that are also in train, if they are at least FEW_COPIES of all."""
    notes = []
    for run in c.runs:
        copies, predicted = run.corpus and run.corpus.test_copies, run.learned and run.learned[-1].get("predicted")
        if copies and predicted and copies >= FEW_COPIES * predicted:
            notes.append(f"{copies:,} of {predicted:,} test sentences also stand in train: they may be scored too well")
    return list(dict.fromkeys(notes))


@lru_cache(maxsize=32)  # every table of scores uses the notes
def undefined_notes(c: Comparison, view: str) -> tuple[str, ...]:
    """Return a note on types and tasks with undefined F1 after the last step, for lack of gold test mentions."""
    final = c.counts[(c.counts["view"] == view) & (c.counts["step"] == c.n_steps)]
    names = []
    for unit in ("task", "type"):
        gold = final.groupby(unit)[["tp", "fn"]].sum().sum(axis=1)
        empty = [str(name) for name in gold.index[gold == 0]]
        if empty:
            names.append(f"{unit} {', '.join(empty)}")
    return (f"undefined (no gold mentions in the test part), left out of means: {'; '.join(names)}",) if names else ()


def _long_warm_up(runs: Iterable[RunRecord]) -> dict[str, float]:
    """Return the largest share (percent) of warm-up in a task's updates, for methods above WARM_UP."""
    worst: dict[str, float] = {}
    for run in runs:
        for step in run.learned:
            if step["updates"] and step["warmup_updates"] > WARM_UP * step["updates"]:
                share = 100 * step["warmup_updates"] / step["updates"]
                worst[run.label] = max(share, worst.get(run.label, 0.0))
    return worst


def _ceilings(runs: Iterable[RunRecord]) -> dict[str, float]:
    """Return the percentage of gold mentions that a method can find, for methods that cannot find all mentions."""
    known = {run.label: 100 * run.recall_ceiling for run in runs if run.recall_ceiling is not None}
    return {label: ceiling for label, ceiling in known.items() if ceiling < 100}


def _stored(runs: Iterable[RunRecord]) -> list[str]:
    """Return the largest memory of each method with stored examples, over its runs."""
    most: dict[str, tuple[int, int]] = {}
    for run in runs:
        if memory := most_stored(run):
            most[run.label] = max(most.get(run.label, (0, 0)), (memory["sentences"], memory["bytes"]))
    return [f"{label} {sentences:,} ({n / 2**10:,.1f})" for label, (sentences, n) in most.items()]


def _by_hand(run: RunRecord) -> list[str]:
    """Return settings as ``epochs = 3``, with the method's name before its own settings."""
    own = run.settings.get("method", {})
    return [f"{run.label} {k} = {v}" if k in own else f"{k} = {v}" for k, v in sorted(run.by_hand.items())]


def unequal_settings(c: Comparison) -> str:
    """Return settings of training that were set by hand for some methods only, or to different values.

    An example is ``epochs = 2 (A)``.
    """
    rows: dict[str, set[str]] = {}
    methods = [run for run in c.runs if run.learned and run.group != "reference"]
    for run in methods:
        own = run.settings.get("method", {})  # settings that no other method has
        for key, value in run.by_hand.items():
            if key not in own:
                rows.setdefault(f"{key} = {value}", set()).add(run.label)
    labels = {run.label for run in methods}
    return "; ".join(f"{setting} ({every(sorted(of))})" for setting, of in sorted(rows.items()) if of != labels)


def _unique(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value})


def _join(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)
