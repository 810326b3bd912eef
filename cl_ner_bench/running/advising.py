"""The grid of `bench advise`: the largest fair grid of a few methods that fits a time budget.

The grid has the scenario `add-one`. A *round* is one newcomer with one seed, learned by all methods. Means and
intervals count rounds. A budget first pays for three rounds, then for more sentences, more methods and more rounds.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError, counted, did_you_mean
from cl_ner_bench.running.estimate import Rates, UnfinishedRun, time_left
from cl_ner_bench.running.grid import Outcome, prepare
from cl_ner_bench.running.grid_data import load
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.merge import free_folder
from cl_ner_bench.running.planned_runs import file_word
from cl_ner_bench.running.runs import Prepared
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import NEWCOMER

if TYPE_CHECKING:
    from cl_ner_bench.analysis.comparison.compare import Comparison

log = logging.getLogger(__name__)

METHODS = ("extendner", "replay+extendner", "analytic-token")
"""A method of each kind: without memory, with memory, with a frozen encoder."""

MORE = ("selftrain", "derpp-token", "ice-pl")
"""A second method of each kind, for budgets that allow all sentences."""

REFERENCE = "joint-token"
"""Joint training, which is run beside the methods."""

ROUNDS, MOST_ROUNDS = 3, 10
"""Fewest rounds that allow a comparison, and most rounds that a budget pays for."""

FEWEST_MENTIONS = 10
"""Fewest mentions of a newcomer in its slice. With fewer, the sample is too small to learn the newcomer."""

FEWEST_SENTENCES = 400
"""Fewest train sentences. With fewer, the sample is too small for the other types."""


@dataclass(frozen=True)
class CandidateGrid:
    """A candidate grid: its methods, the train sentences of its sample (None: all), and its rounds."""

    methods: tuple[str, ...]
    sentences: int | None
    rounds: int


class TooFewMinutesError(UserError):
    """Error for a budget that is too small for ``smallest``, the smallest grid."""

    def __init__(self, message: str, smallest: CandidateGrid) -> None:
        super().__init__(message)
        self.smallest = smallest


@dataclass(frozen=True)
class Question:
    """A user's question to `bench advise`.

    ``given`` holds options of `bench run`, ``new`` the newcomer (None: several in turn), ``shots`` the number of its
    mentions to learn from (None: all of its slice), and ``minutes`` the budget. Attributes raise UserError if
    `bench run` refuses the options, if the type is unknown, or if the train part labels no other type.
    """

    given: Mapping[str, Any]
    new: str | None
    shots: int | None
    minutes: float

    @property
    def scenario(self) -> str:
        return "add-one" if self.shots is None else f"add-one-k{self.shots}"

    @cached_property
    def corpus(self) -> Corpus:
        """The whole corpus."""
        return load(layer(self.given)[0].options)

    @cached_property
    def types(self) -> list[str]:
        """All types of the corpus, in the order of the scenario's orders."""
        return sorted(self.corpus.card.types)

    @cached_property
    def newcomers(self) -> list[str]:
        """The newcomers, by falling number of mentions: the type that the user asked for, else all types whose slice
        holds enough mentions, else the three types with most mentions.

        With several newcomers, intervals count newcomers. Two newcomers are too few with any number of seeds, so only
        the first is then used.
        """
        counts = self.corpus.type_counts["train"]
        if self.new is not None and self.new not in self.types:
            near = did_you_mean(self.new, self.types)
            raise UserError(f"--new {self.new}: the corpus has no such type.{near} It has {', '.join(self.types)}")
        labelled = [t for t in self.types if counts[t]]
        if not [t for t in labelled if t != (self.new or labelled[0])]:
            given = self.given.get("dataset")
            raise UserError(
                f"--dataset {given}: train labels only {' and '.join(labelled)}, and "
                "each method learns old types before the new one. Give the corpus that the old model was trained on, "
                "with the new type labelled in it. Without that corpus, no method can be recommended; "
                f"`bench extend MODEL --data {given} --out NEW_MODEL` still learns the new type, and prints "
                "what the old types lose"
            )
        if self.new is not None:
            return [self.new]
        ranked = sorted(self.types, key=lambda t: (-counts[t], t))
        found = [t for t in ranked if self.needed(t) <= self.size] or ranked[:ROUNDS]
        return found if len(found) >= ROUNDS else found[:1]

    @property
    def size(self) -> int:
        """The number of train sentences of the corpus."""
        return len(self.corpus.ids("train"))

    def needed(self, type_: str) -> float:
        """Return the train sentences that a sample needs before a newcomer's slice holds enough of its mentions."""
        count = self.corpus.type_counts["train"][type_]
        return (self.shots or FEWEST_MENTIONS) * len(self.types) * self.size / count if count else math.inf

    @cached_property
    def fewest(self) -> int | None:
        """The train sentences of the smallest sample, or None for all."""
        hardest = max(self.needed(t) for t in self.newcomers[:ROUNDS])
        fewest = max(FEWEST_SENTENCES, hardest)
        return math.ceil(fewest) if fewest < self.size else None

    @cached_property
    def out(self) -> Path:
        """The results folder."""
        if self.given.get("out"):
            return Path(self.given["out"]).expanduser()
        names = [self.corpus.name, self.scenario, *([self.new] if self.new else []), f"{self.minutes:g}min"]
        return Path("results") / f"advise-{'-'.join(map(file_word, names))}"

    def pairs(self, rounds: int) -> tuple[list[int], list[int]]:
        """Return the orders and seeds of ``rounds`` rounds: first each newcomer, then further seeds."""
        orders = [self.types.index(t) for t in self.newcomers[:rounds]]
        return orders, [*range(math.ceil(rounds / len(orders)))]

    def prepared(self, grid: CandidateGrid, out: Path, command: Sequence[str] | None = None) -> Prepared:
        """Return the runs of a grid and of joint training. Raise UserError if `bench run` refuses them."""
        orders, seeds = self.pairs(grid.rounds)
        options = {
            **self.given,
            "methods": (*grid.methods, REFERENCE),
            "bounds": "none",
            "scenario": self.scenario,
            "orders": orders,
            "seeds": seeds,
            "max_sentences": grid.sentences,
            "keep_models": "none",
            "no_report": True,
            "out": str(out),
        }
        return prepare(options, command=command)

    def stored(self) -> CandidateGrid | None:
        """Return one round of the grid with which the results folder was begun, or None for an empty folder.

        Raise UserError if the folder holds runs of another question, because they would count in the answer.
        """
        stored = {id: record for id, record in ResultsFolder.open(self.out).runs.items() if record.order_of == NEWCOMER}
        own = [record for record in stored.values() if record.group != "reference"]
        if not own:
            return None
        methods = tuple(dict.fromkeys(m for m in (*METHODS, *MORE) if m in {record.method for record in own}))
        begun = CandidateGrid(methods or METHODS, own[0].settings.get("max_sentences"), 1)
        asked = self.prepared(replace(begun, rounds=MOST_ROUNDS), free_folder(self.out))
        keys = {run.id: run.record.step_keys for run in asked.runs}
        same = (id for id in stored.keys() & keys if stored[id].step_keys.items() <= keys[id].items())
        if others := sorted(stored.keys() - {*same}):
            raise UserError(
                f"--out {self.out}: holds runs of another question, for example {others[0]} (another newcomer, "
                f"other settings or other code); pass another folder, such as --out {free_folder(self.out)}"
            )
        return begun


Estimator = Callable[[CandidateGrid], float]
"""A function that returns the seconds that a grid still needs, with its report."""


class Advising:
    """The grid of one command within its time budget, which runs from the creation of this object.

    Args:
        question: the user's question.
        measure: returns the rates of a grid of which no step is finished (``profiling.perf.quick_rates``).
        command: the command for the runs' records.

    Raises:
        UserError: the results folder holds runs of another question, or the runs cannot be planned or measured.
    """

    def __init__(
        self, question: Question, measure: Callable[[Prepared], Rates], command: Sequence[str] | None = None
    ) -> None:
        self._end = time.monotonic() + 60 * question.minutes
        self.question, self.command = question, command
        self._begun = question.stored()
        smallest = self._begun or CandidateGrid(METHODS, question.fewest, 1)
        prepared = question.prepared(smallest, question.out if self._begun else free_folder(question.out))
        self.rates = rates_so_far(prepared) or measure(prepared)

    def plan(self) -> CandidateGrid:
        """Return the grid to learn: the one in the results folder, else the largest, with the rounds that fit.

        Raises:
            TooFewMinutesError: not even one round of the smallest grid fits.
        """
        if self._begun:
            needs = estimator(self.question, self.question.out, self.rates)
            return with_rounds_that_fit(self._begun, needs, self._seconds_left())
        nowhere = free_folder(Path("advise"))
        return choose(self.question, estimator(self.question, nowhere, self.rates), self._seconds_left())

    def run(self, grid: CandidateGrid, learn: Callable[[Prepared], Outcome]) -> Outcome:
        """Learn the first round, then as many as fit the budget at its measured rates, and write the report.

        ``learn`` learns the missing runs of a grid.
        """
        from cl_ner_bench.analysis.report.advice import candidates
        from cl_ner_bench.analysis.report.files import write_report

        question, one = self.question, replace(grid, rounds=1)
        first = question.prepared(one, question.out, self.command)
        before = self._seconds_left()
        outcome = learn(first)
        if outcome.code:
            return outcome
        took, rates = before - self._seconds_left(), rates_so_far(first)
        all_learned_now = len(first.todo) == len(first.runs)
        slower = max(1.0, took / seconds_from_scratch(first, rates)) if all_learned_now else 1.0
        if grid.rounds > 1 and candidates(self.comparison()):
            needs = estimator(question, question.out, rates, slower)
            fitting = with_rounds_that_fit(one, needs, self._seconds_left(), grid.rounds)
            if fitting.rounds < grid.rounds:
                log.info(f"it takes longer than planned: {fitting.rounds} of {counted(grid.rounds, 'round')} fit")
            outcome = learn(question.prepared(fitting, question.out, self.command))
            if outcome.code:
                return outcome
        return replace(outcome, written=write_report([question.out], question.out))

    def comparison(self) -> Comparison:
        """Return the comparison of the methods in the results folder."""
        from cl_ner_bench.analysis.comparison.compare import comparisons
        from cl_ner_bench.analysis.data.frames import load_results

        question = self.question
        return next(c for c in comparisons(load_results(question.out)) if c.scenario == question.scenario)

    def _seconds_left(self) -> float:
        return self._end - time.monotonic()


def rates_so_far(prepared: Prepared) -> Rates:
    """Return the rates of the finished steps in a grid's folder. They are false if there are no such steps."""
    stored = prepared.folder.runs
    return Rates([stored.get(run.id, run.record) for run in prepared.runs])


def estimator(question: Question, out: Path, rates: Rates, slower: float = 1.0) -> Estimator:
    """Return the estimator of trials in the results folder ``out``, at ``slower`` times the measured seconds."""
    return lambda grid: slower * seconds_needed(question.prepared(grid, out), rates)


def seconds_needed(prepared: Prepared, rates: Rates) -> float:
    """Return the seconds that a grid still needs, with its report."""
    return time_left([UnfinishedRun(run.record, run.done()) for run in prepared.todo], rates, prepared.jobs)


def seconds_from_scratch(prepared: Prepared, rates: Rates) -> float:
    """Return the seconds for all runs of a grid, finished or not, without a report."""
    return time_left([UnfinishedRun(run.record, ()) for run in prepared.runs], rates, prepared.jobs, report=False)


def choose(question: Question, needs: Estimator, budget: float) -> CandidateGrid:
    """Return the largest grid that fits ``budget`` seconds.

    Raise TooFewMinutesError if not even one round of the smallest grid fits.
    """
    whole = CandidateGrid((*METHODS, *MORE), None, ROUNDS)
    if needs(whole) <= budget:
        return with_rounds_that_fit(whole, needs, budget)
    if needs(fewer := replace(whole, methods=METHODS)) <= budget:
        return with_rounds_that_fit(fewer, needs, budget)
    small = CandidateGrid(METHODS, question.fewest, ROUNDS)
    if (least := needs(small)) > budget:
        one = replace(small, rounds=1)
        if (shortest := needs(one)) > budget:
            size = question.size if one.sentences is None else one.sentences
            raise TooFewMinutesError(
                f"--minutes {question.minutes:g}: too few. The smallest grid ({len(METHODS)} methods and joint "
                f"training, one newcomer, one seed, {size:,} train sentences) needs about {_minutes(shortest)} min "
                f"here, and one that can compare methods ({ROUNDS} rounds) about {_minutes(least)} min; pass --minutes "
                f"{_minutes(least)}, or what is cheaper: fewer --epochs or --shots, or a corpus of fewer sentences, "
                f"dev and test among them{_busy()}",
                one,
            )
        return with_rounds_that_fit(one, needs, budget, ROUNDS)
    assert small.sentences is not None, "all sentences do not fit, as was seen above"
    share = (budget - least) / max(needs(replace(small, sentences=None)) - least, 1e-9)
    between = small.sentences + share * (question.size - small.sentences)
    return replace(small, sentences=max(small.sentences, int(between) // 50 * 50))


def _busy() -> str:
    """Return a note on other work if this machine's load exceeds its cores, else ""."""
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    if load <= cores:
        return ""
    return f"; other work slows it now (load {load:.1f} on {counted(cores, 'core')})"


def with_rounds_that_fit(
    grid: CandidateGrid, needs: Estimator, budget: float, most: int = MOST_ROUNDS
) -> CandidateGrid:
    """Return the grid with as many further rounds as fit the budget, at most ``most``."""
    while grid.rounds < most and needs(more := replace(grid, rounds=grid.rounds + 1)) <= budget:
        grid = more
    return grid


def _minutes(seconds: float) -> int:
    """Return seconds as whole minutes, rounded up."""
    return math.ceil(seconds / 60)
