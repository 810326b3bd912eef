"""The measures of continual learning, from counts. Formulas and sources: docs/measures.md.

Scores are 0..100 and unrounded; nan means undefined or not applicable. ``s`` is a score matrix of shape
``[T, U]``: ``s[k - 1, u]`` is the F1 of unit u (a task or a type) after step k, nan before it is learned
at step ``learned[u]`` (1..T).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_ner_bench.analysis.scores.scorer import f1_scores, micro_f1_scores
from cl_ner_bench.storage.run_record import TEST, Task

Floats = NDArray[np.float64]

STEP_SCORES = ("micro_f1", "macro_f1", "macro_f1_zero", "task_macro_f1")
OVER_STEPS = (
    "avg_micro_f1",
    "avg_macro_f1",
    "avg_micro_f1_after_first",
    "avg_macro_f1_after_first",
    "forgetting",
    "bi",
    "bwt",
    "learning",
    "forgetting_types",
    "bwt_types",
    "learning_types",
)
GAPS = ("gap", "gap_micro", "gap_macro", "gap_best")
FURTHER_OVER_STEPS = (
    "avg_task_macro_f1",
    "auc_micro_f1",
    "auc_task_macro_f1",
    "bi_types",
    "first_minus_last",
    "first_minus_last_types",
)
INTRANSIGENCE = ("intransigence", "intransigence_types")
MEASURES = (*STEP_SCORES, *OVER_STEPS, *GAPS, *FURTHER_OVER_STEPS, *INTRANSIGENCE)
SINGLE_TASK = ("single-task-span", "single-task-token")
"""The references for learning: models that each learn a single task."""
JOINT = ("joint-span", "joint-token")
"""The references for gaps. Warm-started joint training is none of them."""
OF_SINGLE_TASK = ("learning", "learning_types")
"""The measures of single-task models: the score of a task right after it was learned. Other measures are nan."""
LOWER_IS_BETTER = {
    *GAPS,
    *INTRANSIGENCE,
    *("forgetting", "forgetting_types", "first_minus_last", "first_minus_last_types"),
}

# Changes and differences of scores. 0 is no good value here: a type that was never found has it, too.
DIFFERENCES = LOWER_IS_BETTER | {"bi", "bi_types", "bwt", "bwt_types"}


def mean(values: Floats) -> float:
    """Return the mean of the defined values; nan if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def forgetting(s: Floats, learned: NDArray[np.int64]) -> float:
    """Return the mean over units learned before T of (max over k < T of s[k]) - s[T]; negative if they gained.

    Chaudhry et al. 2018 (arXiv 1801.10112, section 4). nan with one step.
    """
    if len(s) < 2:
        return math.nan
    return mean((_max(s[:-1]) - s[-1])[learned < len(s)])


def backward_interference(s: Floats) -> float:
    """Return the mean over all units of (s[T] minus max over all k), <= 0: the BI of SpanKL (arXiv 2302.12200).

    nan with one step.
    """
    return mean(s[-1] - _max(s)) if len(s) > 1 else math.nan


def backward_transfer(s: Floats, learned: NDArray[np.int64]) -> float:
    """Return BWT: the mean over units learned before T of s[T] - s[learned] (Lopez-Paz and Ranzato 2017,
    arXiv 1706.08840, equation 3). nan with one step."""
    early = learned < len(s)
    return mean((s[-1] - _when_learned(s, learned))[early])


def first_minus_last(s: Floats, learned: NDArray[np.int64]) -> float:
    """Return the forgetting since learning: the mean over units learned before T of s[learned] - s[T], which is -BWT.

    The forgetting of Wolczyk et al. 2021 (arXiv 2105.10919), who average over all units. nan with one step.
    """
    return -backward_transfer(s, learned)


def learning(s: Floats, learned: NDArray[np.int64]) -> float:
    """Return the plasticity: the mean over units of s[learned], the score right after learning.

    The learning accuracy of Riemer et al. 2019 (arXiv 1810.11910).
    """
    return mean(_when_learned(s, learned))


def intransigence(s: Floats, joint: Floats, learned: NDArray[np.int64]) -> float:
    """Return the mean over units of joint[learned] - s[learned]: the loss from learning a unit in sequence.

    ``joint`` are the scores ``[T, U]`` of a model trained on all tasks so far together. Chaudhry et al. 2018
    (arXiv 1801.10112, section 4); negative if learning in sequence was better.
    """
    return mean(_when_learned(joint, learned) - _when_learned(s, learned))


def area(values: Floats) -> float:
    """Return the area under the curve of ``values[T]`` over steps, by trapezoids, divided by its width T - 1.

    The first and the last step count half as much as the others. nan with one step, or if a step is undefined.
    """
    return float(np.trapezoid(values)) / (len(values) - 1) if len(values) > 1 else math.nan


def _max(s: Floats) -> Floats:
    """Return the maximum over steps of each unit, or nan if the unit is never defined."""
    top = np.where(np.isnan(s), -np.inf, s).max(axis=0)
    return np.where(np.isneginf(top), math.nan, top)


def _when_learned(s: Floats, learned: NDArray[np.int64]) -> Floats:
    return s[learned - 1, np.arange(s.shape[1])]


@dataclass(frozen=True)
class TaskLayout:
    """The units that a run learns, with their tasks and steps. A unit is a type on a test set.

    A type that several tasks learn belongs to the first of them (with a test set per domain, to the first in the
    domain).
    """

    units: tuple[tuple[str, str], ...]  # test set and type
    task_of: tuple[str, ...]  # per unit
    learned: NDArray[np.int64]  # per unit, 1..T
    tasks: tuple[str, ...]
    task_learned: NDArray[np.int64]
    member: NDArray[np.int64]  # [tasks, units], 1 if the unit belongs to the task
    of_type: NDArray[np.int64]  # [types, units], 1 if the unit is of the type

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> TaskLayout:
        """Return the layout of a run record's tasks, which have a ``domain`` if there are several test sets."""
        owner: dict[tuple[str, str], Task] = {}
        for task in tasks:
            for type_ in task.types:
                owner.setdefault((task.domain or TEST, type_), task)
        owners = {task.name: task.learned_at for task in reversed(list(owner.values()))}
        names = sorted(owners, key=lambda name: owners[name])
        types = dict.fromkeys(type_ for _, type_ in owner)
        return cls(
            units=tuple(owner),
            task_of=tuple(task.name for task in owner.values()),
            learned=np.array([task.learned_at for task in owner.values()], dtype=np.int64),
            tasks=tuple(names),
            task_learned=np.array([owners[name] for name in names], dtype=np.int64),
            member=np.array([[int(t.name == name) for t in owner.values()] for name in names]),
            of_type=np.array([[int(of == type_) for _, of in owner] for type_ in types]),
        )

    def task_scores(self, counts: NDArray[np.int64]) -> Floats:
        """Return s over tasks, ``[T, tasks]``: within-task micro-F1 from ``counts[T, units, 3]``."""
        return f1_scores(np.einsum("ut,ktc->kuc", self.member, counts))


def step_scores(counts: NDArray[np.int64], layout: TaskLayout) -> dict[str, Floats]:
    """Return ``STEP_SCORES`` after each step, each of shape ``[T]``; a type's counts are pooled over test sets.

    ``counts[T, units, 3]`` is 0 for units not yet learned and for steps that were not run. Their F1 is undefined, like
    the F1 of a type without gold, and means leave it out. Only ``macro_f1_zero`` is 0 at a step that was not run.
    """
    by_type = f1_scores(np.einsum("tu,kuc->ktc", layout.of_type, counts))
    steps = np.arange(1, len(counts) + 1)
    known = ((layout.learned[None, :] <= steps[:, None]) @ layout.of_type.T > 0).sum(axis=1)
    return {
        "micro_f1": micro_f1_scores(counts.sum(axis=1)),
        "macro_f1": np.array([mean(row) for row in by_type]),
        "macro_f1_zero": np.nansum(by_type, axis=1) / np.maximum(known, 1),
        "task_macro_f1": np.array([mean(row) for row in layout.task_scores(counts)]),
    }


def over_steps(
    scores: Mapping[str, Floats], fixed: NDArray[np.int64], layout: TaskLayout, complete: bool
) -> dict[str, float]:
    """Return ``OVER_STEPS`` and ``FURTHER_OVER_STEPS`` of one run and view.

    ``scores`` are the run's ``step_scores``. ``fixed[T, units, 3]`` are counts on the same sentences at every step
    (for view ``filter`` the sentences of the last step), so a frozen model forgets nothing. All measures are nan if
    steps are missing (``complete`` is false, as for joint training at the last step only).
    """
    if not complete:
        return dict.fromkeys((*OVER_STEPS, *FURTHER_OVER_STEPS), math.nan)
    tasks, types = layout.task_scores(fixed), f1_scores(fixed)  # types: each on its test set
    micro, macro = scores["micro_f1"], scores["macro_f1"]
    return {
        "avg_micro_f1": mean(micro),
        "avg_macro_f1": mean(macro),
        "avg_micro_f1_after_first": mean(micro[1:]),
        "avg_macro_f1_after_first": mean(macro[1:]),
        "forgetting": forgetting(tasks, layout.task_learned),
        "bi": backward_interference(tasks),
        "bwt": backward_transfer(tasks, layout.task_learned),
        "learning": learning(tasks, layout.task_learned),
        "forgetting_types": forgetting(types, layout.learned),
        "bwt_types": backward_transfer(types, layout.learned),
        "learning_types": learning(types, layout.learned),
        "avg_task_macro_f1": mean(scores["task_macro_f1"]),
        "auc_micro_f1": area(micro),
        "auc_task_macro_f1": area(scores["task_macro_f1"]),
        "bi_types": backward_interference(types),
        "first_minus_last": first_minus_last(tasks, layout.task_learned),
        "first_minus_last_types": first_minus_last(types, layout.learned),
    }


def against_joint(fixed: NDArray[np.int64], joint: NDArray[np.int64] | None, layout: TaskLayout) -> dict[str, float]:
    """Return ``INTRANSIGENCE``, from counts ``[T, units, 3]`` on the same sentences at every step.

    ``joint`` are the counts of joint training of the same architecture on the same tasks, or None if it is missing or
    one of the two runs lacks steps. The measures are then nan.
    """
    if joint is None:
        return dict.fromkeys(INTRANSIGENCE, math.nan)
    return {
        "intransigence": intransigence(layout.task_scores(fixed), layout.task_scores(joint), layout.task_learned),
        "intransigence_types": intransigence(f1_scores(fixed), f1_scores(joint), layout.learned),
    }
