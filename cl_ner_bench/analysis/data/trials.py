"""Trials of `bench tune`: their scores, derived from stored predictions on the dev part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cl_ner_bench.analysis.data.outcomes import parse
from cl_ner_bench.analysis.scores.scorer import match
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.checks import DamagedError, learn_again
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord, Trial

ALL, LABEL_FREE = OBJECTIVES = ("all", "label-free")
MEANING = {
    ALL: "micro-F1 over all learned types on the whole dev part after the last step. This uses dev labels of old "
    "types, which a deployed learner does not have",
    LABEL_FREE: "mean over steps of the harmonic mean of two F1 on the step's own dev sentences: of the new types, and "
    "of the old types against the previous model's predictions (step 1, and where neither model finds an old type: of "
    "the new types alone). It uses no label that a deployed learner lacks. "
    f"References, which learn from all labels, are scored as with the objective {ALL}",
}
"""The score that each objective maximises, 0..100."""

_Mentions = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class ScoredTrial:
    """A trial, its run and its score: 0 if the trial failed, None if it is not finished."""

    trial: Trial
    record: RunRecord
    score: float | None


def scored_trials(records: Iterable[RunRecord], folders: Mapping[str, RunFolder]) -> list[ScoredTrial]:
    """Return the trials among ``records`` with their scores, by method and number."""
    found = [(r.trial, r) for r in records if r.trial]
    scored = [ScoredTrial(trial, record, score_of(record, folders[record.run_id])) for trial, record in found]
    return sorted(scored, key=lambda t: (t.trial.study, t.trial.method, t.trial.number))


def best_of(trials: Iterable[ScoredTrial]) -> ScoredTrial:
    """Return the best trial of a method; the first of equal trials. Raises UserError if no trial is finished."""
    finished = [t for t in trials if t.score is not None and t.record.status == "done"]
    if not finished:
        raise UserError("no trial of the method is finished")
    return max(finished, key=lambda t: (t.score or 0.0, -t.trial.number))


def score_of(record: RunRecord, folder: RunFolder) -> float | None:
    """Return the score of a trial (0..100) by its objective: 0 if it failed, None if it is not finished.

    Raises DamagedError if the stored files cannot be scored.
    """
    if record.status == "failed":
        return 0.0
    if record.status != "done" or record.trial is None:
        return None
    try:
        return _label_free(record, folder) if _is_label_free(record, record.trial) else _all_types(record, folder)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        path = folder.step_folder(record.n_steps)
        raise DamagedError(path, f"is not as docs/results.md says ({error!r})", learn_again(path)) from None


def _is_label_free(record: RunRecord, trial: Trial) -> bool:
    return trial.objective == LABEL_FREE and record.group != "reference"


def _all_types(record: RunRecord, folder: RunFolder) -> float:
    counts = folder.counts(record.n_steps)["views"]["all"]
    return _micro(triple for types in counts.values() for triple in types.values()) or 0.0


def _micro(triples: Iterable[Sequence[int]]) -> float | None:
    """Return the micro-F1 (0..100) of counts, or None if all counts are 0, by the rule of ``micro_f1_scores``."""
    tp, fp, fn = map(sum, zip(*triples, strict=True))
    return 200 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def _label_free(record: RunRecord, folder: RunFolder) -> float:
    """Return the score of the objective ``LABEL_FREE``.

    A step is left out if its dev sentences have no mention of a new type, neither gold nor predicted.
    """
    split = folder.check_split(record)
    scores, old, before = [], dict[str, None](), dict[int, _Mentions]()
    for step, task in enumerate(record.tasks, 1):
        path = folder.predictions_file(step)
        rows = {row["id"]: row for row in parse(path.read_bytes(), path)}
        own = [i for i in split["tasks"][step - 1]["dev"] if i in rows]
        predicted = {i: rows[i]["pred"] for i in rows}
        gold = {i: rows[i]["gold"] for i in own}
        score = _agreement(gold, predicted, own, task.types)
        stays = [t for t in old if t not in task.types]
        agreement = _agreement(before, predicted, [i for i in own if i in before], stays) if stays else None
        if score is not None:
            both = score if agreement is None else 2 * score * agreement / max(score + agreement, 1e-9)
            scores.append(both)
        old, before = old | dict.fromkeys(task.types), predicted
    return sum(scores) / max(1, len(scores))


def _agreement(
    reference: Mapping[int, _Mentions], predicted: Mapping[int, _Mentions], ids: Sequence[int], types: Sequence[str]
) -> float | None:
    """Return ``_micro`` of predictions against the mentions of ``reference``, over some sentences and types."""

    def of(mentions: Mapping[int, _Mentions]) -> list[list[tuple[Any, ...]]]:
        return [[tuple(m) for m in mentions[i] if m[2] in types] for i in ids]

    return _micro(match(of(reference), of(predicted), types).count().values())
