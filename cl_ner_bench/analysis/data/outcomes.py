"""Outcomes: what became of each gold mention of a run after each step, derived from its predictions and stored.

Error analysis and intervals over sentences read outcomes. The file holds the sha256 of its source and is written again
if the source changes. The same predictions give the same bytes. docs/errors.md defines the kinds of errors and their
priority. The process of each run derives its outcomes without pandas, because the import would take longer.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cl_ner_bench.analysis.scores.measures import TaskLayout
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.checks import DamagedError, learn_again
from cl_ner_bench.storage.files import SEAL, is_changed, sealed, write_bytes
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import TEST, RunRecord
from cl_ner_bench.untrusted import unpacked

SCHEMA = 2  # 1 is the same without a seal
LIMIT = 2**31  # sentence ids and places stay below it: they are stored as 32-bit integers
Integers = NDArray[np.int64]

# The outcomes of a gold mention of a learned type.
RIGHT, AS_O, AS_NEW, AS_OLD, BOUNDARY = range(5)
NOT_LEARNED = -1
# After a step every gold mention has one kind of GOLD, and every false positive one kind of FALSE.
GOLD = (
    *("old-right", "old-as-O", "old-as-new", "old-as-old", "old-boundary"),
    *("new-right", "new-as-O", "new-as-new", "new-as-old", "new-boundary"),
)
FALSE = ("boundary", "O-as-new", "old-as-new", "type", "spurious")
KINDS = (*GOLD, *(f"false-{kind}" for kind in FALSE))


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one run, view ``all``. A type's number is its place in ``types``; O has the next number.

    ``steps``: ``[S]``, the stored steps. ``sentences``: the ids of the test part. ``mentions``: ``[n, 4]``, a sorted
    row per gold mention: sentence id, start, end, type. ``outcomes``: ``[S, n]``, the outcome of each mention after
    each step (RIGHT, AS_O, ...; NOT_LEARNED before its type is learned). ``learned``: ``[n]``, the step (1..T) that
    learns the mention's type. ``errors``: ``[S, kinds, types]``, counts by KINDS; kinds of GOLD count at the gold type,
    kinds of FALSE at the predicted type. ``confusion``: ``[m, 4]``, rows of step, gold type, predicted type and count,
    without zeros. ``final``: ``[r, 5]``, rows of sentence id, type, tp, fp, fn after the last step, without zeros.
    """

    types: tuple[str, ...]
    steps: tuple[int, ...]
    sentences: Integers
    mentions: Integers
    learned: Integers
    outcomes: NDArray[np.int8]
    errors: Integers
    confusion: Integers
    final: Integers

    @property
    def n_sentences(self) -> int:
        return len(self.sentences)


@dataclass(frozen=True)
class _Step:
    """Mentions after a step as ``[n, 4]`` rows of sentence id, start, end, type, each once and sorted."""

    sentences: Integers
    gold: Integers
    pred: Integers


def outcomes_in(folder: RunFolder, run: RunRecord) -> Outcomes:
    """Return the outcomes of the finished run in ``folder`` with the record ``run``.

    Outcomes that are missing, or come from other predictions, are derived and stored. Nothing is stored in a folder
    that cannot be written.

    Raises:
        DamagedError: predictions are missing, cannot be read or do not fit the run's record.
    """
    files = {step: folder.predictions_file(step) for step in run.steps}
    contents = {step: _read(path) for step, path in files.items()}
    domains = _domains(run, folder)
    source = hashlib.sha256(json.dumps([msgspec.to_builtins(run.tasks), domains]).encode())
    for content in contents.values():
        source.update(hashlib.sha256(content).digest())
    stored = _load(folder.outcomes_file, source.hexdigest())
    if stored is not None and _is_sound(stored, run):
        return stored
    try:
        found = derive_outcomes(run, domains, lambda step: parse(contents[step], files[step]))
    except DamagedError:
        raise
    except (UserError, ValueError) as error:  # ValueError: numbers beyond 64 bits
        wrong = f"holds a predictions.jsonl.gz unlike docs/results.md says ({error})"
        raise DamagedError(folder.path, wrong, learn_again(folder.outcomes_file)) from error
    with suppress(OSError):  # the folder may be read-only
        write_bytes(folder.outcomes_file, _dump(found, source.hexdigest()), durable=False)
    return found


def is_as_stored(folder: RunFolder, run: RunRecord, rows: Mapping[int, list[Any]]) -> bool:
    """Return True if the stored outcomes of the finished run in ``folder`` equal the outcomes of ``rows`` (by step)."""
    stored = _load(folder.outcomes_file)
    if stored is None or not _is_sound(stored, run):
        return False
    return _dump(stored, "") == _dump(derive_outcomes(run, _domains(run, folder), rows.__getitem__), "")


def derive_outcomes(run: RunRecord, domains: Mapping[str, Sequence[int]], rows: Callable[[int], list[Any]]) -> Outcomes:
    """Derive the outcomes of a run; ``rows(step)`` gives the rows of its predictions (docs/results.md).

    ``domains`` gives the test sentences of each test set if there are several test sets.
    """
    layout, last = TaskLayout.of(run.tasks), run.n_steps
    types = _types(layout)
    test_sets = list(dict.fromkeys(test_set for test_set, _ in layout.units))
    step_of = np.full((len(test_sets), len(types)), last + 1)  # last + 1: the test set never learns the type
    for (test_set, type_), learned in zip(layout.units, layout.learned, strict=True):
        step_of[test_sets.index(test_set), types.index(type_)] = learned
    steps = {step: _columns(rows(step), types, f"run {run.run_id}, step {step}") for step in run.steps}
    sentences, mentions = steps[last].sentences, steps[last].gold

    def learned_at(rows: Integers) -> Integers:
        test_set = np.zeros(len(rows), dtype=np.int64)
        for i, name in enumerate(test_sets[1:], 1):
            test_set[np.isin(rows[:, 0], domains[name])] = i
        found: Integers = step_of[test_set, rows[:, 3]]
        return found

    outcomes = np.full((len(steps), len(mentions)), NOT_LEARNED, dtype=np.int8)
    errors = np.zeros((len(steps), len(KINDS), len(types)), dtype=np.int64)
    confusion = []
    for row, (step, found) in enumerate(steps.items()):
        pred = found.pred[learned_at(found.pred) <= step]  # a domain is scored on its own types
        place = _places(found.gold, mentions)
        if (place < 0).any():
            raise UserError(f"run {run.run_id}: step {step} has gold mentions that the last step lacks")
        new = learned_at(found.gold) == step
        outcome, as_type, false = _compare(found.gold, pred, new, learned_at(pred) == step, len(types))
        outcomes[row, place] = outcome
        np.add.at(errors[row], (outcome + len(GOLD) // 2 * new, found.gold[:, 3]), 1)
        wrong = pred[false >= 0]
        np.add.at(errors[row], (len(GOLD) + false[false >= 0], wrong[:, 3]), 1)
        table = np.zeros((len(types) + 1, len(types) + 1), dtype=np.int64)
        np.add.at(table, (found.gold[:, 3], as_type), 1)
        over_o = pred[(false == FALSE.index("O-as-new")) | (false == FALSE.index("spurious")), 3]
        np.add.at(table[-1], over_o, 1)
        cells = np.argwhere(table)
        confusion.append(np.column_stack([np.full(len(cells), step), cells, table[tuple(cells.T)]]))
        if step == last:
            triples = [found.gold[outcome == RIGHT], wrong, found.gold[outcome != RIGHT]]
    return Outcomes(
        types=types,
        steps=tuple(steps),
        sentences=sentences,
        mentions=mentions,
        learned=learned_at(mentions),
        outcomes=outcomes,
        errors=errors,
        confusion=np.concatenate(confusion),
        final=_per_sentence(triples),
    )


def _compare(
    gold: Integers, pred: Integers, gold_is_new: NDArray[Any], pred_is_new: NDArray[Any], n_types: int
) -> tuple[Integers, Integers, Integers]:
    """Return the outcome of each gold mention, the type that it was taken for (``n_types`` for O), and the place in
    FALSE of each predicted mention (-1 if it is right).

    Lost gold mentions are matched with false positives that overlap them. If several overlap, the same span comes
    first, then the same type, then the most shared words, then text order.
    """
    places = _places(pred, gold)
    lost = np.ones(len(gold), dtype=bool)
    lost[places[places >= 0]] = False
    false = np.where(places < 0, FALSE.index("spurious"), -1)
    g, p = _overlaps(gold, pred, np.flatnonzero(lost), np.flatnonzero(places < 0))
    shared = np.minimum(gold[g, 2], pred[p, 2]) - np.maximum(gold[g, 1], pred[p, 1])
    same_span = (gold[g, 1:3] == pred[p, 1:3]).all(axis=1)
    same_type = gold[g, 3] == pred[p, 3]

    def nearest(of: Integers, other: Integers, rows: Integers) -> Integers:
        """Return the places of the pairs with the best partner of each mention in ``of``."""
        order = np.lexsort((*(rows[other, c] for c in (3, 2, 1)), -shared, ~same_type, ~same_span, of))
        return order[np.unique(of[order], return_index=True)[1]]

    outcome, as_type = np.where(lost, AS_O, RIGHT), np.where(lost, n_types, gold[:, 3])
    best = nearest(g, p, pred)
    as_type[g[best]] = pred[p[best], 3]
    outcome[g[best]] = np.where(same_type[best], BOUNDARY, np.where(pred_is_new[p[best]], AS_NEW, AS_OLD))

    false[(false >= 0) & pred_is_new] = FALSE.index("O-as-new")
    best = nearest(p, g, gold)
    old_as_new = pred_is_new[p[best]] & ~gold_is_new[g[best]]
    kind = np.where(old_as_new, FALSE.index("old-as-new"), FALSE.index("type"))
    false[p[best]] = np.where(same_type[best], FALSE.index("boundary"), kind)
    return outcome, as_type, false


def _overlaps(gold: Integers, pred: Integers, g: Integers, p: Integers) -> tuple[Integers, Integers]:
    """Return all pairs of the chosen rows that share a word; both are sorted by sentence."""
    first = np.searchsorted(pred[p, 0], gold[g, 0], side="left")
    number = np.searchsorted(pred[p, 0], gold[g, 0], side="right") - first
    left = np.repeat(g, number)
    right = p[np.arange(number.sum()) + np.repeat(first - (np.cumsum(number) - number), number)]
    meet = (gold[left, 1] < pred[right, 2]) & (pred[right, 1] < gold[left, 2])
    return left[meet], right[meet]


def _places(rows: Integers, among: Integers) -> Integers:
    """Return the place of each row in ``among`` (sorted, without duplicates), or -1 if it is absent."""
    keys, known = _keys(rows, among)
    place = np.searchsorted(known, keys)
    there = place < len(known)
    there[there] = known[place[there]] == keys[there]
    return np.where(there, place, -1)


def _keys(*tables: Integers) -> list[Integers]:
    """Return a number for each row; the numbers sort as the rows do. Raises ValueError for rows beyond 64 bits."""
    sizes = tuple(1 + np.concatenate(tables).max(axis=0, initial=0))
    return [np.ravel_multi_index(tuple(table.T), sizes) for table in tables]


def _per_sentence(triples: Sequence[Integers]) -> Integers:
    """Return rows of sentence id, type, tp, fp, fn; ``triples`` are the mentions that are tp, fp and fn."""
    pairs = [rows[:, [0, 3]] for rows in triples]
    cells, place = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    counts = np.zeros((len(cells), 3), dtype=np.int64)
    np.add.at(counts, (place.reshape(-1), np.repeat(range(3), [len(p) for p in pairs])), 1)
    return np.concatenate([cells, counts], axis=1)


def _types(layout: TaskLayout) -> tuple[str, ...]:
    return tuple(dict.fromkeys(type_ for _, type_ in layout.units))


def _columns(rows: list[Any], types: Sequence[str], where: str) -> _Step:
    number = {type_: i for i, type_ in enumerate(types)}

    def mentions(key: str) -> Integers:
        sizes = [len(row[key]) for row in rows]
        flat = [*chain.from_iterable(row[key] for row in rows)]
        columns = [[m[0] for m in flat], [m[1] for m in flat], [number[m[2]] for m in flat]]
        table = np.column_stack([np.repeat(ids, sizes), *(np.array(c, dtype=np.int64) for c in columns)])
        if table.size and not 0 <= table.min() <= table.max() < LIMIT:
            raise ValueError(f"a number outside of 0..{LIMIT - 1}")
        return table[np.unique(_keys(table)[0], return_index=True)[1]]

    try:
        ids = np.array([row["id"] for row in rows], dtype=np.int64)
        return _Step(np.unique(ids), mentions("gold"), mentions("pred"))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: {error!r}") from error


def _domains(run: RunRecord, folder: RunFolder) -> dict[str, list[int]]:
    """Return the test sentences of each test set, or nothing if there is one test set."""
    names = {task.domain or TEST for task in run.tasks}
    if names == {TEST}:
        return {}
    path = folder.split_file
    try:
        domains = json.loads(path.read_bytes())["domains"]
        return {name: list(map(int, domains[name])) for name in sorted(names)}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        wrong = f"does not say which test sentences belong to which test set ({error!r})"
        raise DamagedError(path, wrong, learn_again(path)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(path, f"cannot be read ({error.strerror})", learn_again(path)) from error


def parse(content: bytes, path: Path) -> list[Any]:
    """Return the rows of a file of predictions. Raises DamagedError if they cannot be read."""
    try:
        rows: list[Any] = json.loads(b"[" + b",".join(unpacked(content).splitlines()) + b"]")
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"cannot be read ({error})", learn_again(path)) from error
    return rows


_ARRAYS = ("sentences", "mentions", "learned", "errors", "confusion", "final")
_LETTERS = b"-.onpb"  # a letter for NOT_LEARNED and for each outcome


def _dump(r: Outcomes, source: str) -> bytes:
    letters = np.frombuffer(_LETTERS, dtype=np.uint8)
    content = {"schema": SCHEMA, "source": source, "types": r.types, "steps": r.steps}
    content |= {name: _pack(getattr(r, name)) for name in _ARRAYS}
    content["outcomes"] = [letters[row + 1].tobytes().decode() for row in r.outcomes]
    return gzip.compress(json.dumps(sealed(content), separators=(",", ":"), ensure_ascii=False).encode(), 6, mtime=0)


def _pack(array: Integers) -> dict[str, Any]:
    """Return numbers as base64 of 32-bit integers, which a report reads ten times as fast as the digits of JSON."""
    return {"shape": array.shape, "int32": base64.b64encode(array.astype("<i4").tobytes()).decode()}


def _unpack(stored: Mapping[str, Any]) -> Integers:
    return np.frombuffer(base64.b64decode(stored["int32"]), dtype="<i4").reshape(stored["shape"]).astype(np.int64)


def _load(path: Path, source: str | None = None) -> Outcomes | None:
    """Return the stored outcomes, or None if they are missing, changed, or of other predictions or another version."""
    try:
        content = json.loads(unpacked(path.read_bytes()))
        if content["schema"] not in (1, SCHEMA) or (source is not None and content["source"] != source):
            return None
        if is_changed(content) or (content["schema"] > 1 and SEAL not in content):
            return None
        place = np.zeros(256, dtype=np.int8)
        place[list(_LETTERS)] = np.arange(len(_LETTERS)) - 1
        rows = [place[np.frombuffer(row.encode(), dtype=np.uint8)] for row in content["outcomes"]]
        arrays = {name: _unpack(content[name]) for name in _ARRAYS}
        return Outcomes(types=tuple(content["types"]), steps=tuple(content["steps"]), outcomes=np.array(rows), **arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_sound(r: Outcomes, run: RunRecord) -> bool:
    """Return True if stored outcomes have the shapes and names of this run. A results folder may come from others."""
    n, steps, types = len(r.mentions), len(run.steps), len(r.types)
    shapes = [getattr(r, name).shape for name in ("sentences", "mentions", "learned", "outcomes", "errors")]
    wanted = [(r.n_sentences,), (n, 4), (n,), (steps, n), (steps, len(KINDS), types)]
    if (list(r.steps), r.types) != (run.steps, _types(TaskLayout.of(run.tasks))) or shapes != wanted:
        return False
    if [r.confusion.shape[1:], r.final.shape[1:]] != [(4,), (5,)]:
        return False
    limits = {types: (r.mentions[:, 3], r.final[:, 1]), types + 1: (r.confusion[:, 1], r.confusion[:, 2])}
    return all(((place >= 0) & (place < end)).all() for end, places in limits.items() for place in places)
