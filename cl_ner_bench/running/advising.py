"""The plan of `bench advise`: the largest fair grid of a few methods that fits a time budget.

The grid has the scenario `add-one`. A *round* is one newcomer with one seed, learned by all methods. Means and
intervals count rounds. A budget first pays for three rounds, then for more sentences, more methods and more rounds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError, counted, did_you_mean
from cl_ner_bench.running.estimate import Job, Rates, time_left
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.grid_data import load
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.merge import free_folder
from cl_ner_bench.running.planned_runs import file_word
from cl_ner_bench.running.runs import Prepared
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord

METHODS = ("extendner", "replay+extendner", "analytic-token")
"""A method of each kind: without memory, with memory, with a frozen encoder."""

MORE = ("selftrain", "derpp-token", "ice-pl")
"""A second method of each kind, for budgets that allow all sentences."""

REFERENCE = "joint-token"
"""Joint training, which is run beside the methods."""

ROUNDS, MOST_ROUNDS = 3, 10
"""Fewest rounds that allow a comparison, and most rounds that a budget pays for."""

MENTIONS = 10
"""Fewest mentions of a newcomer in its slice. With fewer, the sample is too small to learn the newcomer."""

SENTENCES = 400
"""Fewest train sentences. With fewer, the sample is too small for the other types."""


@dataclass(frozen=True)
class Trial:
    """A candidate grid: its methods, the train sentences of its sample (None: all), and its rounds."""

    methods: tuple[str, ...]
    sentences: int | None
    rounds: int


class TooFewMinutesError(UserError):
    """Error for a budget that is too small for ``smallest``, the smallest grid."""

    def __init__(self, message: str, smallest: Trial) -> None:
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
        return (self.shots or MENTIONS) * len(self.types) * self.size / count if count else math.inf

    @cached_property
    def fewest(self) -> int | None:
        """The train sentences of the smallest sample, or None for all."""
        hardest = max(self.needed(t) for t in self.newcomers[:ROUNDS])
        fewest = max(SENTENCES, hardest)
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

    def prepared(self, trial: Trial, out: Path, command: Sequence[str] | None = None) -> Prepared:
        """Return the runs of a trial and of joint training. Raise UserError if `bench run` refuses them."""
        orders, seeds = self.pairs(trial.rounds)
        options = {
            **self.given,
            "methods": (*trial.methods, REFERENCE),
            "bounds": "none",
            "scenario": self.scenario,
            "orders": orders,
            "seeds": seeds,
            "max_sentences": trial.sentences,
            "keep_models": "none",
            "no_report": True,
            "out": str(out),
        }
        return prepare(options, command=command)

    def stored(self) -> Trial | None:
        """Return one round of the trial with which the results folder was begun, or None for an empty folder.

        Raise UserError if the folder holds runs of another question, because they would count in the answer.
        """
        stored = {
            id: record for id, record in ResultsFolder.open(self.out).runs.items() if record.order_of == "newcomer"
        }
        own = [record for record in stored.values() if record.group != "reference"]
        if not own:
            return None
        methods = tuple(dict.fromkeys(m for m in (*METHODS, *MORE) if m in {record.method for record in own}))
        begun = Trial(methods or METHODS, own[0].settings.get("max_sentences"), 1)
        asked = self.prepared(replace(begun, rounds=MOST_ROUNDS), free_folder(self.out))
        keys = {run.id: run.record.step_keys for run in asked.runs}
        same = (id for id in stored.keys() & keys if stored[id].step_keys.items() <= keys[id].items())
        if others := sorted(stored.keys() - {*same}):
            raise UserError(
                f"--out {self.out}: holds runs of another question, for example {others[0]} (another newcomer, "
                f"other settings or other code); pass another folder, such as --out {free_folder(self.out)}"
            )
        return begun


Clock = Callable[[Trial], float]


def seconds(prepared: Prepared, rates: Rates) -> float:
    """Return the seconds that a grid still needs, with its report."""
    return time_left([Job(run.record, run.done()) for run in prepared.todo], rates, prepared.jobs)


def alone(prepared: Prepared, rates: Rates) -> float:
    """Return the seconds for all runs of a grid, finished or not, without a report."""
    return time_left([Job(run.record, ()) for run in prepared.runs], rates, prepared.jobs, report=False)


def clock(question: Question, rates: Rates) -> Clock:
    """Return a function that returns the seconds of a trial in an empty results folder."""
    nowhere = free_folder(Path("advise"))
    return lambda trial: seconds(question.prepared(trial, nowhere), rates)


def measured(prepared: Prepared) -> Rates:
    """Return the rates of the steps that a grid has learned. They are false if there are no such steps."""
    return Rates(_with_own_steps(prepared))


def _with_own_steps(prepared: Prepared) -> list[RunRecord]:
    """Return the records of a grid with the finished steps in its folder."""
    stored = prepared.folder.runs
    return [stored.get(run.id, run.record) for run in prepared.runs]


def choose(question: Question, needs: Clock, budget: float) -> Trial:
    """Return the largest trial that fits ``budget`` seconds.

    Raise TooFewMinutesError if not even one round of the smallest trial fits.
    """
    whole = Trial((*METHODS, *MORE), None, ROUNDS)
    if needs(whole) <= budget:
        return grown(whole, needs, budget)
    if needs(fewer := replace(whole, methods=METHODS)) <= budget:
        return grown(fewer, needs, budget)
    small = Trial(METHODS, question.fewest, ROUNDS)
    if (least := needs(small)) > budget:
        one = replace(small, rounds=1)
        if (shortest := needs(one)) > budget:
            size = question.size if one.sentences is None else one.sentences
            raise TooFewMinutesError(
                f"--minutes {question.minutes:g}: too few. The smallest grid ({len(METHODS)} methods and joint "
                f"training, one newcomer, one seed, {size:,} train sentences) needs about {minutes(shortest)} min "
                f"here, and one that can compare methods ({ROUNDS} rounds) about {minutes(least)} min; pass --minutes "
                f"{minutes(least)}, or what is cheaper: fewer --epochs or --shots, or a corpus of fewer sentences, dev "
                f"and test among them{_busy()}",
                one,
            )
        return grown(one, needs, budget, ROUNDS)
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


def grown(trial: Trial, needs: Clock, budget: float, most: int = MOST_ROUNDS) -> Trial:
    """Return the trial with as many further rounds as fit the budget, at most ``most``."""
    while trial.rounds < most and needs(more := replace(trial, rounds=trial.rounds + 1)) <= budget:
        trial = more
    return trial


def minutes(of: float) -> int:
    """Return seconds as whole minutes, rounded up."""
    return math.ceil(of / 60)
