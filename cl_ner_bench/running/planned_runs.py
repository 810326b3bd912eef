"""Planned runs of a grid: the record of each run and the key of each step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cl_ner_bench import method_code
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.learning.numerics import NUMERICS
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.registry import Variant
from cl_ner_bench.running import environment
from cl_ner_bench.running.grid_data import given_tasks
from cl_ner_bench.running.hyper_parameters import by_hand, printed_recipe, shared_by_methods
from cl_ner_bench.running.keys import StepKeys, numeric_identity
from cl_ner_bench.running.options import Options
from cl_ner_bench.running.runs import Run
from cl_ner_bench.scenarios.statistics import recall_ceiling, without_task
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import digest
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import CorpusRecord, EncoderIdentity, RunRecord
from cl_ner_bench.storage.run_record import Task as TaskRecord
from cl_ner_bench.validation import convert

_LONGEST = 48  # bytes of a name in a run's id; an id holds four names and at most 255 bytes


@dataclass(frozen=True)
class PlannedMethod:
    """A method of a grid with its ``training`` hyper-parameters and its ``own`` settings."""

    variant: Variant
    training: dict[str, Any]
    own: dict[str, Any]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The digests of the method's code and of the files that it reads."""
        card = self.variant.card
        return {"method": method_code.method_fingerprint(card), **method_code.files_fingerprint(card, self.own)}

    @cached_property
    def sources(self) -> list[str]:
        """The files of the method's code outside the suite."""
        return sorted(method_code.method_sources(self.variant.card))


class Planner:
    """Planner of the runs of one grid. It computes shared values once."""

    def __init__(self, options: Options, corpus: Corpus, encoder: EncoderInfo, folder: ResultsFolder) -> None:
        self._options, self._corpus, self._encoder, self._folder = options, corpus, encoder, folder
        self._keys = StepKeys()
        self._gold: dict[str, Any] = {}
        self._ceilings: dict[tuple[str, bool, int], float] = {}
        self._words: dict[tuple[str, bool], list[list[int]]] = {}

    def run(self, method: PlannedMethod, split: TaskSplit, seed: int) -> Run:
        """Return the run of a method on a split with a seed."""
        options, corpus, encoder, card = self._options, self._corpus, self._encoder, method.variant.card
        used = encoder.with_lowest(method.training.get("encoder_layers", 0))
        settings = self._settings(method)
        fingerprints = {
            "data": corpus.fingerprint,
            "split": split.hash,
            "tasks": digest(sorted(corpus.card.tasks.items())),
            "encoder": encoder.fingerprint,
            **method.fingerprints,
        }
        values = numeric_identity(card, settings, fingerprints)
        shared = shared_by_methods(options, method.variant, corpus, method.training)
        config = digest({"scenario": split.scenario, "split": given_tasks(options, corpus, split), **values})[:8]
        run_id = name_run(method.variant.label, split, seed, encoder.name, config)
        last_only = card.is_bound and options.joint_steps == "last"
        steps = [split.n_steps] if last_only else list(range(1, split.n_steps + 1))
        record = RunRecord(
            **of_data(corpus, split),
            run_id=run_id,
            method=method.variant.label,
            registry_name=card.name,
            label=method.variant.title,
            seed=seed,
            encoder=encoder.name,
            config=config,
            architecture=card.architecture,
            group=card.group,
            data=card.data,
            status="running",
            steps=steps,
            sizes=_sizes(split, card.is_cumulative, method.training["epochs"]),
            words=self._words_of(split, card.is_cumulative),
            setting=_setting(split, settings, fingerprints, shared),
            settings=settings,
            by_hand=by_hand(options, method.variant, corpus, method.training | method.own),
            recall_ceiling=self._recall_ceiling(method, split),
            uncased=encoder.uncased,
            encoder_identity=EncoderIdentity(**used.identity),
            undertrained_below=corpus.card.undertrained_below,
            fingerprints=fingerprints,
            versions={**environment.versions(), "numerics": str(NUMERICS)},
            machine=dict(environment.hardware()),
            inputs=self._inputs(method),
            step_keys=self._keys(card, values, split, seed, steps),
        )
        return Run(record, split, self._folder.run(run_id), card.start)

    def _settings(self, method: PlannedMethod) -> dict[str, Any]:
        options, corpus = self._options, self._corpus
        return {
            "recipe": printed_recipe(options),
            **method.training,
            "method": method.own,
            "max_sentences": options.max_sentences if corpus.sample else None,  # None: all sentences are used
            "split_seed": options.split_seed,
            "joint_steps": options.joint_steps,
            "training_check": options.training_check and method.variant.card.is_bound,
            "nested": options.nested,
            "device": environment.kind(options.device),
            "precision": options.precision,
            "exact": options.exact,
            "threads": options.threads,
        }

    def _inputs(self, method: PlannedMethod) -> dict[str, Any]:
        """Return the names with which a worker finds method, corpus and encoder."""
        options, corpus = self._options, self._corpus
        return {
            "method": method.variant.spec,
            **({"source": method.sources} if method.sources else {}),
            **{key: getattr(options, key) for key in ("dataset", "data", "tasks", "encoder")},
            **({"parts": corpus.division.to_json()} if corpus.division else {}),
            **({"scored": corpus.scored} if corpus.scored != "test" else {}),
        }

    def _recall_ceiling(self, method: PlannedMethod, split: TaskSplit) -> float | None:
        """Return the largest recall that the method can reach. Return None if it may predict any span."""
        span = method.variant.card.architecture == "span"
        nested, width = span and self._options.nested, span * method.training["max_span_width"]
        if nested and not width:
            return None
        which = (split.hash, nested, width)
        if which not in self._ceilings:
            if split.hash not in self._gold:
                self._gold[split.hash] = split.test_part(self._corpus, split.n_steps)
            self._ceilings[which] = recall_ceiling(self._gold[split.hash], nested, width)
        return self._ceilings[which]

    def _words_of(self, split: TaskSplit, cumulative: bool) -> list[list[int]]:
        which = (split.hash, cumulative)
        if which not in self._words:
            self._words[which] = _words(split, self._corpus, cumulative)
        return self._words[which]


def _setting(
    split: TaskSplit, settings: Mapping[str, Any], fingerprints: Mapping[str, str], training: Mapping[str, Any]
) -> str:
    """Return the digest of the values that must be equal before runs can be compared."""
    content = {
        "scenario": split.scenario,
        "training": training,
        **{key: fingerprints[key] for key in ("data", "tasks", "encoder")},
        **{key: settings[key] for key in ("split_seed", "precision", "exact", "nested")},
    }
    return digest(content)[:8]


def of_data(corpus: Corpus, split: TaskSplit) -> dict[str, Any]:
    """Return the fields of a run's record that corpus and split decide."""
    about = {
        "differences": [d.text for d in corpus.differences if not d.accepted],
        "accepted": [d.text for d in corpus.differences if d.accepted],
        "n_mentions": corpus.n_mentions,
        "without_task": without_task(corpus, split),
        "test_copies": corpus.test_copies,
    }
    return {
        "dataset": corpus.name,
        "scenario": split.scenario,
        "order": split.order,
        "n_steps": split.n_steps,
        "tasks": [
            TaskRecord(name=task.name, types=list(task.types), learned_at=k, domain=task.domain or "")
            for k, task in enumerate(split.tasks, 1)
        ],
        "order_of": split.order_of,
        "documents": list(corpus.documents),
        "lost_mentions": split.lost_mentions(corpus),
        "corpus": convert(about, CorpusRecord),
        "protocol": split.protocol.to_json(),
    }


def _sizes(split: TaskSplit, cumulative: bool, epochs: int) -> list[int]:
    """Return the sentences that pass the model in each step. A dev sentence counts a third of a train sentence."""
    alone = [(len(task.train), len(task.dev)) for task in split.tasks]
    return [(train + dev // 3) * epochs for train, dev in (split.cumulative_sizes if cumulative else alone)]


def _words(split: TaskSplit, corpus: Corpus, cumulative: bool) -> list[list[int]]:
    """Return the words of train, dev and test sentences for each step; with ``cumulative`` also of earlier steps.

    Dev counts only if it chooses the epoch.
    """
    rows, parts = [], ("train", "dev") if split.protocol.selection != "last" else ("train",)
    counts, known = {"train": 0, "dev": 0}, {part: set[int]() for part in parts}
    test = {name: _count(split, corpus, "test", ids) for name, ids in split.test_sets.items()}
    for step, task in enumerate(split.tasks, 1):
        for part in parts:
            ids = set(getattr(task, part)) - known[part]
            counts[part] = cumulative * counts[part] + _count(split, corpus, part, ids)
            known[part] |= ids if cumulative else set()
        rows.append([*counts.values(), sum(test[name] for name in split.scored_types(step))])
    return rows


def _count(split: TaskSplit, corpus: Corpus, part: str, ids: Iterable[int]) -> int:
    return sum(len(split.sentence(corpus, part, i).words) for i in ids)


def name_run(method: str, split: TaskSplit, seed: int, encoder: str, config: str) -> str:
    """Return the id of a run, which is the name of its folder."""
    names = (method, split.dataset, split.scenario, f"o{split.order}", f"s{seed}", encoder, config)
    return "-".join(map(file_word, names))


def file_word(name: str) -> str:
    """Return a name as part of a file name. Unsafe characters become ``_``, and a long name loses its end."""
    return re.sub(r"[^\w.+-]+", "_", name).encode()[:_LONGEST].decode(errors="ignore")
