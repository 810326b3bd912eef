"""Fair tuning: the same number of trials for every method. A trial is an ordinary run, scored on the dev part.

A trial's values depend only on the sampler's seed, the method and the scores of the method's earlier trials. So the
same command gives the same trials, with any other runs beside them and after any stop. The first ``DRAWN`` trials of a
method run together: trial 1 has the recipe's own values, the other values are drawn independently. Each later trial
waits for the method's earlier trials, and one trial of each method runs at a time.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from cl_ner_bench.analysis.data.trials import ALL, MEANING, OBJECTIVES, ScoredTrial, score_of, scored_trials
from cl_ner_bench.errors import UserError, require
from cl_ner_bench.registry import Variant
from cl_ner_bench.running import option_values
from cl_ner_bench.running.estimate import Rates, UnfinishedRun, time_left
from cl_ner_bench.running.grid import Outcome, carry_out, prepare, results_path
from cl_ner_bench.running.layers import Layered, layer
from cl_ner_bench.running.merge import free_folder
from cl_ner_bench.running.plan import check_labels, variants
from cl_ner_bench.running.progress import Display, RunEvent
from cl_ner_bench.running.recipe_file import RecipeFile
from cl_ner_bench.running.runs import Prepared
from cl_ner_bench.running.tuned_recipe import tuned_recipe
from cl_ner_bench.scenarios.split import TUNING
from cl_ner_bench.search_space import Search, rounded, space_of, stated
from cl_ner_bench.storage.files import digest
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRIALS = 20
DRAWN = 10
"""Trials of a method before TPE proposes values, as in Optuna: the start, then values drawn at random."""


@dataclass(frozen=True)
class Tuned:
    """The search of one method: its ``variant``, the values at its ``start``, and its ``space``."""

    variant: Variant
    start: Mapping[str, Any]
    space: Mapping[str, Search]
    group: str
    fixed: Mapping[str, Any]  # the settings of this method that the user gave

    @property
    def label(self) -> str:
        return self.variant.label

    def trials(self, most: int) -> int:
        """Return the number of trials: ``most``, or 1 if there is nothing to search."""
        return most if self.space else 1


class Tuning:
    """The search of one command.

    Args:
        given: the given options of `bench run`.
        trials: the number of trials of each method.
        objective: one of ``OBJECTIVES``.
        seed: the seed of the sampler.
        command: the command for the trials' records.

    Raises:
        UserError: something cannot be run as the user asks, or the results folder holds another search.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        trials: int | str = TRIALS,
        objective: str = ALL,
        seed: int | str = 0,
        command: Sequence[str] | None = None,
    ) -> None:
        self.trials = option_values.parse_value(option_values.number(int, 1), trials, "--trials")
        self.objective = option_values.parse_value(option_values.one_of(*OBJECTIVES), objective, "--objective")
        self.seed = option_values.parse_value(option_values.number(int, 0), seed, "--seed")
        self.command = command
        require("optuna", "tune", "bench tune")
        self.given = {key: value for key, value in given.items() if value is not None}
        layered: Layered = layer(self.given)[0]
        if layered.options.scenario.startswith("add-one"):
            raise UserError(
                f"--scenario {layered.options.scenario}: its orders are the new types, so all orders are for "
                "reports; tune on another scenario, such as split"
            )
        chosen, self.added = variants(layered.options)
        check_labels(layered.options, chosen)
        given_to = layered.options.set
        plain = results_path([layered])
        self.out = Path(layered.options.out or plain.with_name(f"tune-{plain.name}"))
        by_flag = {key for key in self.given if key not in ("methods", "set")}
        start = self._prepared([(v, 1, {}, given_to.get(v.label, {})) for v in chosen], {}, free_folder(self.out))
        self.plan = start.plans[0]
        self.tuned: list[Tuned] = []
        self.start_records: dict[str, RunRecord] = {}
        for variant, run in zip(chosen, start.runs, strict=True):
            settings = run.record.settings
            values = {k: v for k, v in settings.items() if k != "method"} | settings["method"]
            own = given_to.get(variant.label, {})
            card = variant.card
            space = space_of(card.search, card.group, values, {*by_flag, *own, *card.files})
            self.tuned.append(Tuned(variant, values, space, card.group, own))
            self.start_records[variant.label] = run.record
        one = start.runs[0].record
        inputs = {k: v for k, v in one.inputs.items() if k not in ("method", "source")}
        shared = ("recipe", "max_sentences", "split_seed", "precision", "exact", "threads", "device")
        self.study = digest(
            [
                *(one.dataset, one.scenario, one.order, one.encoder, one.fingerprints["data"]),
                *(one.fingerprints["split"], one.fingerprints["encoder"], inputs.get("parts")),
                *([key, one.settings[key]] for key in shared),
                *(self.objective, self.seed),
            ]
        )[:16]
        self.folder = ResultsFolder.open(self.out)
        self._check_stored()

    def _check_stored(self) -> None:
        """Raise UserError if the results folder holds another search, or methods with another number of trials."""
        own = {t.label: t for t in self.tuned}
        others: dict[str, int] = {}
        for run_id, record in self.folder.runs.items():
            trial = record.trial
            if trial is None or trial.study != self.study or not self._is_of(own.get(trial.method), record, trial):
                what = "a run that is no trial" if trial is None else "a trial of another search"
                raise UserError(
                    f"--out {self.out}: holds {what} ({run_id}): another dataset, encoder, recipe, objective, seed or "
                    f"space, other options or other code; pass another folder, such as --out {free_folder(self.out)}"
                )
            if trial.method not in own and trial.space:
                others[trial.method] = max(others.get(trial.method, 0), trial.number)
        if more := max((n for n, _ in self._beyond(learned=True)), default=0):
            raise UserError(
                f"--trials {self.trials}: --out {self.out} holds {more} trials of a method; pass --trials {more}, or "
                f"another folder, such as --out {free_folder(self.out)}"
            )
        if unequal := [method for method, n in others.items() if n != self.trials]:
            raise UserError(
                f"--trials {self.trials}: --out {self.out} holds {others[unequal[0]]} trials of {unequal[0]}, and all "
                f"methods of a folder have equally many; add it to --methods, or pass --trials {others[unequal[0]]}"
            )

    def _beyond(self, learned: bool) -> list[tuple[int, str]]:
        """Return number and run id of each stored trial that a larger ``--trials`` planned.

        With ``learned`` those of which something is stored or being learned, else the others.
        """
        found = []
        for run_id, record in self.folder.runs.items():
            if record.trial and record.trial.number > self.trials:
                is_stored = record.status == "failed" or self.folder.run(run_id).has_steps()
                if learned == (is_stored or self.folder.is_leased(run_id)):
                    found.append((record.trial.number, run_id))
        return found

    def _is_of(self, tuned: Tuned | None, record: RunRecord, trial: Trial) -> bool:
        """Return True if a stored trial fits this search, or if this command does not tune the trial's method."""
        if tuned is None:
            return True
        start = self.start_records[tuned.label]
        values, planned = ({**r.settings, **r.settings["method"], "method": None} for r in (record, start))
        fixed = planned.keys() - trial.space.keys()
        same = trial.space == stated(tuned.space) and all(values.get(key) == planned[key] for key in fixed)
        return same and record.fingerprints == start.fingerprints

    # Trials

    def known(self) -> list[ScoredTrial]:
        """Return the trials in the folder, with running ones."""
        runs = self.folder.runs
        return scored_trials(runs.values(), {run_id: self.folder.run(run_id) for run_id in runs})

    def rounds(self) -> list[list[tuple[Tuned, int]]]:
        """Return the trials by round. The trials of a round run together."""
        firsts = range(1, min(self.trials, DRAWN) + 1)
        numbers = [[*firsts], *([n] for n in range(len(firsts) + 1, self.trials + 1))]
        found = [[(t, n) for n in some for t in self.tuned if n <= t.trials(self.trials)] for some in numbers]
        return [some for some in found if some]

    def values(self, tuned: Tuned, number: int, known: Sequence[ScoredTrial]) -> dict[str, Any]:
        """Return the values of a trial: the stored values, else the sampler's proposal after the earlier trials."""
        own = {t.trial.number: t for t in known if t.trial.method == tuned.label}
        if number in own:
            return dict(own[number].trial.values)
        if number == 1:
            return {key: _within(tuned.start[key], search) for key, search in tuned.space.items()}
        earlier = [own[n] for n in range(1, number) if n in own] if number > DRAWN else []
        told = [(t.trial.values, t.score) for t in earlier if t.score is not None]
        return propose(tuned.space, told, int(digest([self.seed, tuned.label, number])[:8], 16))

    def _prepared(
        self,
        asked: Sequence[tuple[Variant, int, Mapping[str, Any], Mapping[str, Any]]],
        trials: Mapping[str, Trial],
        out: Path,
    ) -> Prepared:
        """Return the runs of trials. ``asked`` holds variant, number, values and the user's settings of each trial."""
        options = {
            **self.given,
            "methods": [f"{_name(v, n)}={v.spec.removeprefix(f'{v.label}=')}" for v, n, _, _ in asked],
            "set": {_name(v, n): {**own, **values} for v, n, values, own in asked},
            "bounds": "none",
            "orders": [TUNING],
            "split_seed": TUNING,
            "joint_steps": "last",
            "keep_models": "none",
            "no_report": True,
            "out": str(out),
        }
        return prepare(options, command=self.command, trials=trials)

    def prepared(self, some: Sequence[tuple[Tuned, int]]) -> Prepared:
        """Return the runs of a round. Raise UserError if `bench run` refuses them."""
        known = self.known()
        rows, trials = [], {}
        for tuned, number in some:
            values = self.values(tuned, number, known)
            rows.append((tuned.variant, number, values, tuned.fixed))
            trials[_name(tuned.variant, number)] = Trial(
                tuned.label, number, values, stated(tuned.space), self.objective, self.seed, self.study
            )
        return self._prepared(rows, trials, self.out)

    def run(self, display: Callable[[Tuning, int], Display] | None = None) -> Outcome:
        """Learn the missing trials, then write the recipe and the report. ``display`` shows the progress of a round.

        A stop loses at most the running trials. The code of the outcome is then 130 or 143.
        """
        for _, run_id in self._beyond(learned=False):
            self.folder.drop_run(run_id)
        for number, some in enumerate(self.rounds()):
            prepared = self.prepared(some)
            if prepared.todo:
                outcome = carry_out(prepared, display(self, number) if display else None, announce=number == 0)
                if outcome.code >= 128:
                    return outcome
        return self._finish()

    def _finish(self) -> Outcome:
        from cl_ner_bench.analysis.report.files import write_report

        known = self.known()
        failed = any(t.record.status != "done" for t in known)
        by_method = {t.label: [k for k in known if k.trial.method == t.label] for t in self.tuned}
        for label, own in by_method.items():
            if all(t.record.status != "done" for t in own):
                raise UserError(f"no trial of {label} was finished: {own[0].record.reason} (`bench status {self.out}`)")
        self.folder.write_top({self.folder.tuned_file: self._recipe(known).to_toml()})
        written = write_report([self.out], self.out)
        return Outcome(int(failed), self.out, [self.folder.tuned_file, *written])

    def _recipe(self, known: Sequence[ScoredTrial]) -> RecipeFile:
        search = {
            **({"command": shlex.join(self.command)} if self.command else {}),
            **{"trials": self.trials, "objective": self.objective, "meaning": MEANING[self.objective]},
            "sampler": self.sampler,
        }
        return tuned_recipe(known, str(self.plan.options.recipe), search)

    # Time left, and results

    def seconds_left(self, after: int, jobs: int) -> float:
        """Return the seconds for the rounds after round ``after``, by the rates of finished trials."""
        rates = Rates(t.record for t in self.known())
        if not rates:
            return 0.0
        total = 0.0
        for some in self.rounds()[after + 1 :]:
            records = [structs.replace(self.start_records[t.label], shared={}) for t, _ in some]
            total += time_left([UnfinishedRun(record, ()) for record in records], rates, jobs, report=False)
        return total

    def score(self, event: RunEvent) -> float | None:
        """Return the score of a trial that has ended, or None before its end."""
        return score_of(event.record, event.folder)

    @property
    def sampler(self) -> str:
        """The description of the sampler in outputs."""
        return f"TPE of Optuna, seed {self.seed}; trial 1 of a method is the start, 2 to {DRAWN} are drawn at random"

    @cached_property
    def statement(self) -> list[str]:
        """Notes on the search for outputs."""
        one = self.start_records[self.tuned[0].label]
        tasks = ", ".join(task.name for task in one.tasks)
        lines = [
            f"objective {self.objective}: {MEANING[self.objective]}",
            f"order and split seed {TUNING} ({tasks}), which no other command uses; test sentences are never read",
            f"start: recipe {one.settings['recipe']}; sampler: {self.sampler}",
        ]
        if self.added:
            lines.append(
                f"added, so that gaps can be taken to references that were tuned, too: {', '.join(self.added)}"
            )
        return lines


def _name(variant: Variant, number: int) -> str:
    """Return the label of a trial's run in the results folder."""
    return f"trial{number:02}-{variant.label}"


def _within(value: Any, search: Search) -> Any:
    """Return ``value`` if the search may try it, else its nearer bound or the first choice."""
    if search.choices:
        return value if search.holds(value) else search.choices[0]
    assert search.low is not None, "bounds are resolved"
    assert search.high is not None, "bounds are resolved"
    return type(search.low)(min(max(value, search.low), search.high))


def propose(space: Mapping[str, Search], told: Sequence[tuple[Mapping[str, Any], float]], seed: int) -> dict[str, Any]:
    """Return the values that TPE proposes after trials with scores, or random values without such trials."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(n_startup_trials=DRAWN, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = {key: _distribution(search) for key, search in space.items()}
        for values, score in told:
            trial = optuna.trial.create_trial(params=dict(values), distributions=distributions, value=score)
            study.add_trial(trial)
        found = study.ask(distributions).params
    finally:
        optuna.logging.set_verbosity(before)
    return {k: _within(rounded(v) if isinstance(v, float) else v, space[k]) for k, v in found.items()}


def _distribution(search: Search) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if search.choices:
        return CategoricalDistribution(search.choices)
    assert search.low is not None, "bounds are resolved"
    assert search.high is not None, "bounds are resolved"
    if isinstance(search.low, int) and isinstance(search.high, int):
        return IntDistribution(search.low, search.high, log=search.log)
    return FloatDistribution(float(search.low), float(search.high), log=search.log)
