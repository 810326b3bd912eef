"""The notes that stand under each table and figure: what limits the results that they show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import pandas as pd

from cl_ner_bench.analysis.comparison.compare import Comparison, group_of, most_stored
from cl_ner_bench.analysis.comparison.learning import DEV_ZERO, learning_notes
from cl_ner_bench.analysis.literature.numbers import BF16
from cl_ner_bench.analysis.literature.settings import (
    ENCODERS,
    UNKNOWN,
    corpus_differences,
    encoder_differences,
    printed_name,
    settings,
)
from cl_ner_bench.storage.run_record import RunRecord, TrainingCheck

FEW = 3  # matched runs below which nothing is bold, ranked or claimed
OF_PAPERS = {"cfner", "ice", "ocilner", "recall"}  # recipes beside "paper" whose values are published ones
WARM_UP = 0.2  # share of a task's updates
TWICE_AS_LONG = 0.9  # of the step-1 score after training twice as long
MOST_TYPES = 8  # that a note names


@lru_cache(maxsize=16)
def undertrained(c: Comparison) -> tuple[str, ...]:
    """Return the reasons why these runs were trained too little to be compared; empty where they were not.

    A run is undertrained where its step-1 micro-F1 (all test sentences) is below the card's bound, or below
    90 % of what the same architecture reaches in twice the epochs. On the generated corpus joint training
    must also end above the bound: there its tasks are known to be learnable.
    """
    first, last = _micro(c, first=True), _micro(c, first=False)
    low: dict[str, float] = {}
    short: dict[str, float] = {}
    weak: dict[str, float] = {}
    bounds = []
    for run in c.runs:
        bound = run.undertrained_below or 0.0
        bounds.append(bound)
        label, start, end = run.label, first.get(run.run_id, math.nan), last[run.run_id]
        if start < bound:
            low[label] = min(start, low.get(label, math.inf))
        if (ratio := _ratio(_reference(c, run), start)) < TWICE_AS_LONG:
            short[label] = min(100 * ratio, short.get(label, math.inf))
        if run.dataset == "synthetic" and run.registry_name in ("joint-span", "joint-token") and end < bound:
            weak[label] = min(end, weak.get(label, math.inf))
    bound_text = f"{max(bounds, default=0):g}"
    reasons = []
    if low:
        reasons.append(f"step-1 micro-F1 below {bound_text}: {_values(low)}")
    if weak:
        reasons.append(f"final micro-F1 of joint training below {bound_text}: {_values(weak)}")
    if short:
        reasons.append(f"step 1 below 90 % of what twice the epochs reach: {_values(short, ' %')}")
    return tuple(reasons)


@lru_cache(maxsize=16)
def without_gap(c: Comparison) -> Mapping[str, str]:
    """Return the architectures whose joint training ends below the card's bound, each with its lowest final micro-F1
    in words: a gap to an undertrained model says nothing about the method."""
    last = _micro(c, first=False)
    lowest: dict[tuple[str, str], float] = {}
    for run in c.runs:
        end = last[run.run_id]
        if run.registry_name in ("joint-span", "joint-token") and end < (run.undertrained_below or 0.0):
            joint = run.architecture, run.label
            lowest[joint] = min(end, lowest.get(joint, math.inf))
    return {architecture: f"{label} {end:.1f}" for (architecture, label), end in lowest.items()}


@lru_cache(maxsize=16)
def notes_of(c: Comparison) -> tuple[str, ...]:
    """Return the notes of a comparison, the most serious first."""
    notes = []
    if reasons := undertrained(c):
        notes.append(f"undertrained: do not compare ({'; '.join(reasons)})")
    notes += _not_as_published(c)
    if no_gap := without_gap(c):
        notes.append(f"joint training is undertrained: no gap (final micro-F1 {_join(no_gap.values())})")
    notes += learning_notes(c)
    if not c.matched:
        notes.append("no (order, seed) pair was finished by every method: the rows cover different runs")
    elif len(c.pairs) < FEW:
        notes.append(f"n = {len(c.pairs)}: no claim about differences")
    if c.left_out and c.matched:
        notes.append(f"differences between methods are taken over n = {len(c.pairs)}, without {_left_out(c)}")
    if c.damaged:
        notes.append(f"damaged and left out, `bench verify` says why: {_join(c.damaged)}")
    if len(c.orders) == 1:
        notes.append("one order")
    if sample := _unique(run.settings.get("max_sentences") for run in c.runs):
        notes.append(f"a sample of {_join(sample)} training sentences, not the whole corpus")
    if other := [r for r in _unique(run.settings.get("recipe") for run in c.runs) if r != "paper"]:
        own = not set(other) <= OF_PAPERS
        notes.append(f"hyper-parameters of the recipe {_join(map(repr, other))}{', not of the papers' * own}")
    notes += dict.fromkeys(f"set by hand: {_by_hand(run)}" for run in c.runs if run.by_hand)
    if labels := _unique(run.label for run in c.runs if run.settings.get("precision") == "bf16"):
        notes.append(BF16 if len(labels) == len({run.label for run in c.runs}) else f"{BF16}: {_join(labels)}")
    if any(run.uncased for run in c.runs):
        notes.append(f"uncased encoder ({c.encoder}): not comparable with published numbers of cased encoders")
    accepted = dict.fromkeys(text for run in c.runs if run.corpus for text in run.corpus.accepted)
    notes += [f"another copy of the published corpus: {text}" for text in accepted]
    notes += _without_task(c)
    if lost := max((run.lost_mentions or 0 for run in c.runs), default=0):
        notes.append(f"the protocol's limit of words drops {lost:,} test mentions")
    if ceilings := _ceilings(c.runs):
        most = ", ".join(f"{label} {ceiling:.4g} %" for label, ceiling in ceilings.items())
        notes.append(f"mentions that overlap others, or are wider than a limit, are lost: recall is at most {most}")
    if long := _long_warm_up(c.runs):
        notes.append(f"warm-up longer than 20 % of a task's updates: {_values(long, ' %')}")
    if ratios := _ratios(c):
        notes.append(f"step-1 micro-F1 relative to the same architecture trained longer: {ratios}")
    steps: dict[str, set[int]] = {}
    for run in c.runs:
        for step in run.learned:
            for remark in step.get("remarks", ()):
                if remark != DEV_ZERO:  # which the notes on learning name
                    steps.setdefault(remark, set()).add(step["step"])
    notes += [f"step{'s' * (len(of) > 1)} {', '.join(map(str, sorted(of)))}: {remark}" for remark, of in steps.items()]
    moved = {(run.label, group_of(run), run.group) for run in c.runs if run.group != group_of(run)}
    why = {
        "reference": "learned from the data of all steps so far, so a reference",
        "exemplar": "kept sentences of earlier steps, so with stored examples",
    }
    notes += [f"{why[group]} and not {card}: {label}" for label, group, card in sorted(moved)]
    if stored := _stored(c.runs):
        notes.append(f"stored examples (sentences, KiB of text): {stored}")
    if any(group_of(run) == "reference" and len(run.steps) < run.n_steps for run in c.runs):
        notes.append("joint training at the last step only")
    if shared := _shared(c):
        notes.append(f"a model that several orders share counts once: {shared}")
    return tuple(notes)


def _left_out(c: Comparison) -> str:
    """Return the (order, seed) pairs that not every method finished, and the reason."""
    seeds: dict[str, dict[int, list[int]]] = {}
    for (order, seed), lacking in c.left_out.items():
        by_reason: dict[str, list[str]] = {}
        for row, reason in lacking.items():
            by_reason.setdefault(reason, []).append(row.label)
        why = "; ".join(f"{reason}: {_join(labels)}" for reason, labels in by_reason.items())
        seeds.setdefault(why, {}).setdefault(order, []).append(seed)
    return ", ".join(
        f"{' and '.join(f'order {order} seed {_join(of)}' for order, of in by_order.items())} ({why})"
        for why, by_order in seeds.items()
    )


def _shared(c: Comparison) -> str:
    """Return the rows with fewer trained models than runs, and how many of each."""
    runs = c.measures[c.measures["view"] == "all"]
    sizes = [(row.label, c.n_models(row, runs), len(row.of(runs))) for row in c.rows]
    return _join(f"{label} {models} (in {n} runs)" for label, models, n in sizes if models < n)


def sample_sizes(sizes: Mapping[str, int]) -> str:
    """Return ``n = 3`` for the sizes of rows by label, followed by those that differ: ``n = 3 (SpanKL 5)``."""
    (most, _), *_ = Counter(sizes.values()).most_common(1)
    others = _join(f"{label} {size}" for label, size in sizes.items() if size != most)
    return f"n = {most} ({others})" if others else f"n = {most}"


def _not_as_published(c: Comparison) -> list[str]:
    """Return how corpus and encoder differ from those that their names stand for, or that published numbers are of.

    Records of earlier versions do not say: then there is no note here, and nothing stands beside a published number.
    """
    name = printed_name(c.encoder)
    notes = [note for run in c.runs if run.corpus for note in corpus_differences(run)]
    if name in ENCODERS:
        notes += [note for run in c.runs if run.encoder_identity for note in encoder_differences(name, run)]
    theirs = {s.encoder for s in settings().values() if (s.dataset, s.scenario) == (c.dataset, c.scenario)} - {UNKNOWN}
    if theirs and name not in theirs and not any(run.uncased for run in c.runs):  # which has its own note
        notes.append(f"not the encoder of published numbers ({_join(sorted(theirs))})")
    return list(dict.fromkeys(notes))


def _without_task(c: Comparison) -> list[str]:
    """Return a note on the types that no task learns: how many train mentions count as O."""
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


def undefined_notes(c: Comparison, view: str) -> list[str]:
    """Return a note on types and whole tasks with undefined F1 after the last step: the test part has none of them."""
    final = c.counts[(c.counts["view"] == view) & (c.counts["step"] == c.n_steps)]
    names = []
    for unit in ("task", "type"):
        gold = final.groupby(unit)[["tp", "fn"]].sum().sum(axis=1)
        empty = [str(name) for name in gold.index[gold == 0]]
        if empty:
            names.append(f"{unit} {', '.join(empty)}")
    return [f"undefined (no gold mentions in the test part), left out of means: {'; '.join(names)}"] if names else []


def _micro(c: Comparison, first: bool) -> dict[str, float]:
    """Return micro-F1 per run over all test sentences, after step 1 (where it has that step) or after the last."""
    frame: pd.DataFrame = c.scores[c.scores["view"] == "all"]
    frame = frame[frame["step"] == (1 if first else frame["n_steps"])]
    return dict(zip(frame["run_id"], frame["micro_f1"], strict=True))


def _reference(c: Comparison, run: RunRecord) -> TrainingCheck | None:
    """Return the record of step 1 with twice the epochs: same architecture, setting, order and seed."""

    def identity(r: RunRecord) -> list[Any]:
        return [r.architecture, r.setting, r.order, r.seed, r.fingerprints.get("split")]

    return next((r.step1_reference for r in c.runs if r.step1_reference and identity(r) == identity(run)), None)


def _ratio(reference: TrainingCheck | None, start: float) -> float:
    return start / reference.micro_f1 if reference and reference.micro_f1 else math.nan


def _ratios(c: Comparison) -> str:
    first = _micro(c, first=True)
    worst: dict[str, tuple[float, str]] = {}
    for run in c.runs:
        reference = _reference(c, run)
        ratio = _ratio(reference, first.get(run.run_id, math.nan))
        if reference and not math.isnan(ratio):
            of = f"{reference.epochs} epochs: {reference.micro_f1:.1f}"
            text = f"{run.label} {100 * ratio:.1f} % ({of})"
            worst[run.label] = min((ratio, text), worst.get(run.label, (math.inf, "")))
    return ", ".join(text for _, text in worst.values())


def _long_warm_up(runs: Iterable[RunRecord]) -> dict[str, float]:
    """Return the largest share (percent) of warm-up in a task's updates, for methods where it is above the limit."""
    worst: dict[str, float] = {}
    for run in runs:
        for step in run.learned:
            if step["updates"] and step["warmup_updates"] > WARM_UP * step["updates"]:
                share = 100 * step["warmup_updates"] / step["updates"]
                worst[run.label] = max(share, worst.get(run.label, 0.0))
    return worst


def _ceilings(runs: Iterable[RunRecord]) -> dict[str, float]:
    """Return the percentage of gold mentions that a method can find, for methods that cannot find all."""
    known = {run.label: 100 * run.recall_ceiling for run in runs if run.recall_ceiling is not None}
    return {label: ceiling for label, ceiling in known.items() if ceiling < 100}


def _stored(runs: Iterable[RunRecord]) -> str:
    """Return what each method with stored examples held at the most, over its runs."""
    most: dict[str, tuple[int, int]] = {}
    for run in runs:
        if memory := most_stored(run):
            most[run.label] = max(most.get(run.label, (0, 0)), (memory["sentences"], memory["bytes"]))
    return _join(f"{label} {sentences:,} ({n / 2**10:,.1f})" for label, (sentences, n) in most.items())


def _by_hand(run: RunRecord) -> str:
    """Return settings as ``epochs = 3``; with the method's name where the setting is its own."""
    own = run.settings.get("method", {})
    return _join(f"{run.label} {k} = {v}" if k in own else f"{k} = {v}" for k, v in sorted(run.by_hand.items()))


def _unique(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value})


def _join(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _values(values: Mapping[str, float], unit: str = "") -> str:
    return ", ".join(f"{name} {value:.1f}{unit}" for name, value in values.items())
