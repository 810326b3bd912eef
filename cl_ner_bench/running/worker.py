"""The child process that learns the missing steps of one run: ``python -m cl_ner_bench.running.worker`` < request

It is started by ``running.job`` with its threads already fixed in the environment and told on its standard input what
to do. It holds the run's lease, takes the steps that another run has learned, learns the others, commits each, and
stops when the stop file appears, its parent is gone, or the lease was lost.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.corpora.sentence import PARTS, Corpus, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.running import machine
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage import leases, store
from cl_ner_bench.storage.atomic import host
from cl_ner_bench.storage.open import depot
from cl_ner_bench.storage.shared import Depot, StoreError, told_later
from cl_ner_bench.untrusted import unpacked

if TYPE_CHECKING:
    from cl_ner_bench.models.encoders.token_cache import TokenStore
    from cl_ner_bench.running.checkpoint import CheckpointFile

PREDICTIONS = "predictions.jsonl.gz"
INTERRUPTED, BUSY = 130, 75  # exit codes
RESUMES = "stopped; run the same command again to go on"


class Interrupted(Exception):  # noqa: N818  a stop is no error
    """The run was asked to stop."""


class Heartbeat:
    """Tells others how far this run is, at most twice a second, and hears whether it shall stop."""

    def __init__(self, folder: Path, stop: Path, lease: leases.Lease) -> None:
        self.file, self.stop, self.lease, self.parent = folder / store.PROGRESS, stop, lease, os.getppid()
        self.state: dict[str, Any] = {}
        self.next = 0.0
        self.telling = threading.Lock()

    def begin(self, step: int, phase: str) -> None:
        """Tell that a step begins, without the counts of the step before. Raises Interrupted as a call does."""
        self.state = {"schema": 1, "host": host(), "pid": os.getpid()}
        self({"step": step, "step_started": time.time(), "phase": phase}, now=True)

    def __call__(self, state: dict[str, Any], now: bool = False) -> None:
        """Take up news of the state. Raises Interrupted where the run shall stop."""
        self.state |= state
        if not now and time.monotonic() < self.next:
            return
        self.next = time.monotonic() + 0.5
        self.check()
        store.write_json(self.file, self.state | {"time": time.time()}, durable=False)

    def check(self) -> None:
        """Raises Interrupted where the run shall stop."""
        if self.stop.exists() or os.getppid() != self.parent or self.lease.lost:
            raise Interrupted

    def tell(self, shared: Depot) -> None:
        """Have others see the state, too."""
        with self.telling:
            shared.put(self.file)

    def end(self, shared: Depot) -> None:
        """Take the state away, for good."""
        with self.telling, told_later():
            shared.remove(self.file)


def main() -> int:
    request = json.load(sys.stdin.buffer)
    folder, record = Path(request["folder"]), request["record"]
    shared = depot(folder.parent.parent, request["store"])
    try:
        lease = leases.acquire(shared.leases, folder.name)
    except StoreError:  # nobody can tell who is at it
        return BUSY
    if lease is None:
        return BUSY
    with lease:
        os.ftruncate(sys.stdout.fileno(), 0)  # the log of an earlier attempt
        heartbeat = Heartbeat(folder, Path(request["stop"]), lease)
        lease.beat = lambda: heartbeat.tell(shared)
        started = time.perf_counter()
        record["times"] = {"started": now()}
        try:
            _tell(folder, record, shared)
            heartbeat.begin(0, "loading")
            _learn_run(Steps(folder, record, request, shared), request["first"], heartbeat)
            outcome, code = {"status": "done", "reason": ""}, 0
        except Interrupted:
            outcome, code = {"status": "interrupted", "reason": RESUMES}, INTERRUPTED
        except Exception as error:
            traceback.print_exc()
            outcome, code = {"status": "failed", "reason": f"{_reason(error)} (log: {folder / 'log.txt'})"}, 1
        record |= outcome
        record["times"] |= {"finished": now(), "seconds": time.perf_counter() - started, **machine.spent()}
        if not lease.lost:
            _tell(folder, record, shared)
            heartbeat.end(shared)
        if record["status"] == "done":
            from cl_ner_bench.analysis.data.outcomes import reduced_at

            reduced_at(folder, record)  # here, in parallel, and not when the report is made
    return code


def _tell(folder: Path, record: Mapping[str, Any], shared: Depot) -> None:
    store.write_record(folder / "run.json", record)
    with told_later():
        shared.put(folder / "run.json")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _reason(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"


def _learn_run(steps: Steps, first: Collection[int], heartbeat: Heartbeat) -> None:
    record = steps.record
    if steps.card.first_step == "base" and 1 in record["steps"] and steps.is_missing(1):
        steps.check_first_step(heartbeat)
    for step in record["steps"]:
        if steps.is_missing(step):
            steps.take(step)
    for step in steps.to_learn(first):
        heartbeat.begin(step, "learning")
        learned = steps.learn(step, heartbeat)
        heartbeat({"phase": "predicting", "predicted_words": 0}, now=True)
        steps.finish(step, learned, heartbeat)
        heartbeat.check()  # who was paused meanwhile must not speak for the one who took the run over
        record["learned"] = steps.learned()
        _tell(steps.folder, record, steps.shared)
    record["learned"] = steps.learned()
    if record["settings"]["training_check"]:
        record["step1_reference"] = steps.check_training(heartbeat)
    steps.clean_up()


class Steps:
    """The steps of one run: which are missing, how each is learned, and what of it is stored.

    ``request`` says how: ``device``, ``keep_models``, ``checkpoint_seconds``, and ``held``, the steps whose models
    others go on from: they are saved, and dropped by nobody here. ``shared`` is where others find what is finished.
    """

    def __init__(self, folder: Path, record: dict[str, Any], request: Mapping[str, Any], shared: Depot) -> None:
        from cl_ner_bench import registry
        from cl_ner_bench.corpora.load import load_corpus

        self.folder, self.out, self.record, self.shared = folder, folder.parent.parent, record, shared
        self.keep, self.device, self.held = request["keep_models"], request["device"], request["held"]
        self.checkpoint_seconds = request["checkpoint_seconds"]
        self.keys = {int(step): key for step, key in record["step_keys"].items()}
        inputs, settings = record["inputs"], record["settings"]
        self.card = registry.resolve([inputs["method"]])[0].card
        data = None if inputs["data"] is None else Path(inputs["data"])
        self.corpus = load_corpus(
            inputs["dataset"], data, inputs["tasks"], settings["max_sentences"], settings["split_seed"]
        )
        shared.get(folder / "split.json")
        self.split = TaskSplit.from_json(store.read_json(folder / "split.json"), self.corpus)
        self._check(record["fingerprints"])
        gc.freeze()  # the corpus stays: the collector need not walk it again and again
        self.trainer: Any = None
        self.cpu_before = 0.0  # processor seconds of this process when the step began

    def _check(self, expected: dict[str, str]) -> None:
        from cl_ner_bench import registry

        found = {"data": self.corpus.fingerprint, "split": self.split.hash}
        found["method"] = registry.code_fingerprint(self.card.file, self.card.module)
        for name, value in found.items():
            if value != expected[name]:
                raise UserError(f"the {name} changed after the grid was planned; start the command again")

    def is_missing(self, step: int) -> bool:
        return store.step_record(self._at(step), self.keys[step]) is None

    def _at(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def learned(self) -> list[dict[str, Any]]:
        """What was recorded of each finished step, and how many bytes the next one starts from."""
        found = (store.step_record(self._at(step), key) for step, key in sorted(self.keys.items()))
        learned = [record["learned"] for record in found if record]
        if self.card.start == "previous":
            return [row | {"carried_bytes": row["model_bytes"]} if "model_bytes" in row else row for row in learned]
        return [row | {"carried_bytes": 0} for row in learned]

    def take(self, step: int) -> None:
        """Have a step that was finished elsewhere, or that another run has learned: its predictions, scored anew."""
        self.shared.fetch(self._at(step))
        owner = self.record["shared"].get(str(step))
        if owner is None or not self.is_missing(step):
            return
        source = self.out / "runs" / owner / f"step-{step}"
        self.shared.fetch(source)
        known = store.step_record(source, self.keys[step])
        predictions = store.read_blob(source, known, PREDICTIONS) if known else None
        if known and predictions is not None:
            found = [json.loads(row)["pred"] for row in unpacked(predictions).splitlines()]
            self._commit(step, known["learned"], predictions, self._gold(step), found, owner)

    def to_learn(self, first: Collection[int]) -> Iterator[int]:
        """The missing steps: a chain in their order, behind the last step whose model is still there.

        Models that start anew are learned in any order: those of ``first``, for which others wait, before the rest.
        """
        missing = [step for step in self.record["steps"] if self.is_missing(step)]
        if self.card.start == "pretrained":
            yield from sorted(missing, key=lambda step: (step not in first, step))
        elif missing:
            yield from range(self._resume_behind(missing[0]) + 1, missing[-1] + 1)

    def _resume_behind(self, step: int) -> int:
        """Take up the last model before ``step`` that is there; returns its step, 0 where there is none."""
        for k in range(step - 1, 0, -1):
            self.shared.fetch(store.model_folder(self.out, self.keys[k]))
            if not store.has_model(self.out, self.keys[k]):
                continue
            trainer = self._new_trainer()
            try:
                trainer.load(store.model_folder(self.out, self.keys[k]))
            except FileNotFoundError:  # dropped just now by a run of another name that computes the same
                continue
            self.trainer = trainer
            return k
        return 0

    @cached_property
    def tokens(self) -> TokenStore:
        """The corpus as sub-tokens, which all workers on it share."""
        from cl_ner_bench.models.encoders.info import encoder_info
        from cl_ner_bench.models.encoders.token_cache import token_store

        words = (sentence.words for part in PARTS for sentence in self.corpus.used(part))
        return token_store(words, encoder_info(self.record["inputs"]["encoder"]), self.record["settings"]["max_length"])

    def _new_trainer(self, **recipe: Any) -> Any:
        import torch

        from cl_ner_bench import registry
        from cl_ner_bench.learning.trainer import Trainer

        settings, inputs = self.record["settings"], self.record["inputs"]
        torch.set_num_threads(settings["threads"])
        if self.device != "cpu":  # CPU kernels repeat at an equal thread count
            torch.use_deterministic_algorithms(True, warn_only=True)
        return Trainer(
            registry.load_class(self.card),
            settings["method"],
            settings | recipe,
            inputs["encoder"],
            self.record["seed"],
            self.device,
            settings["precision"],
            settings["nested"],
            self.tokens,
        )

    def learn(self, step: int, heartbeat: Heartbeat) -> dict[str, Any]:
        self.cpu_before = time.process_time()
        if self.trainer is None or self.card.start == "pretrained":
            self.trainer = self._new_trainer()
        from_scratch = self.card.start == "pretrained"
        data = self.split.step_data(self.corpus, step, union=self.card.data == "union", from_scratch=from_scratch)
        learned: dict[str, Any] = self.trainer.learn(data, heartbeat, self._checkpoint(step))
        return {"step": step, **learned}

    def _checkpoint(self, step: int) -> CheckpointFile:
        from cl_ner_bench.running.checkpoint import CheckpointFile

        file = self.out / "store" / f"{self.keys[step]}.checkpoint"
        return CheckpointFile(file, self.checkpoint_seconds, self.shared)

    def check_first_step(self, heartbeat: Heartbeat) -> None:
        """Raise UserError where step 1, which is shared as the base learner's, is not what the base learner learns."""
        from cl_ner_bench import registry
        from cl_ner_bench.learning.first_step import deviation

        settings, says = self.record["settings"], f'{self.card.file}: CARD[{self.card.name!r}] says first_step "base"'
        try:
            found = deviation(registry.load_class(self.card), settings["method"], settings, lambda _: heartbeat.check())
        except (Interrupted, UserError):
            raise
        except Exception as error:
            why = _reason(error)
            raise UserError(f'{says}, which cannot be proven: on a tiny encoder, {why}. Set it to "own"') from error
        if found:
            raise UserError(
                f"{says}, but its step 1 differs from that of the plain {self.card.architecture} learner ({found}): "
                'nothing was shared. Set first_step to "own"'
            )

    def check_training(self, heartbeat: Heartbeat) -> dict[str, Any]:
        """Step 1 learned for twice the epochs, and its micro-F1 (view ``all``): is the recipe long enough?"""
        from cl_ner_bench.analysis.scores.scorer import f1

        file = self.folder / store.TRAINING_CHECK
        self.shared.get(file)
        if (known := store.read_record(file)) is not None:
            return known
        heartbeat.begin(1, "checking")
        trainer = self._new_trainer(epochs=2 * self.record["settings"]["epochs"])
        learned = trainer.learn(self.split.step_data(self.corpus, 1), heartbeat)
        gold = self.split.test_part(self.corpus, 1)
        counts = score(self.split, self.corpus, 1, gold, trainer.predict([s.only(()) for s in gold], heartbeat))["all"]
        triples = [triple for types in counts.values() for triple in types.values()]
        micro = f1(*(sum(triple[i] for triple in triples) for i in range(3)))
        result = {"schema": 1, "micro_f1": micro, "epochs": learned["epochs"], "updates": learned["updates"]}
        store.write_record(file, result)
        self.shared.put(file)
        return result

    def finish(self, step: int, learned: dict[str, Any], heartbeat: Heartbeat) -> None:
        """Store a step and its model; a step that was finished, and is learned again for what follows, stays."""
        self._keep_model(step)
        if self.is_missing(step):
            gold = self._gold(step)
            started = time.perf_counter()
            pred = self.trainer.predict([s.only(()) for s in gold], heartbeat)
            learned |= {"predict_seconds": time.perf_counter() - started, "predicted": len(gold)}
            learned |= machine.spent(self.cpu_before)
            rows = (
                store.canonical({"id": s.id, "gold": s.mentions, "pred": sorted(p)})
                for s, p in zip(gold, pred, strict=True)
            )
            self._commit(step, learned, store.gzipped(rows), gold, pred)
        self._checkpoint(step).drop()
        if self.keep != "all":
            self._drop({step - 1})

    def _gold(self, step: int) -> list[Sentence]:
        return self.split.test_part(self.corpus, step)

    def _commit(
        self,
        step: int,
        learned: dict[str, Any],
        predictions: bytes,
        gold: Sequence[Sentence],
        pred: Sequence[Sequence[Any]],
        shared_with: str | None = None,
    ) -> None:
        views = score(self.split, self.corpus, step, gold, pred)
        counts = f"{store.ordered({'schema': 1, 'step': step, 'views': views})}\n".encode()
        blobs = {PREDICTIONS: predictions, "counts.json": counts}
        store.commit_step(self._at(step), self.keys[step], learned, blobs, shared_with)
        self.shared.publish(self._at(step))

    def _keep_model(self, step: int) -> None:
        """A chain needs its last model to go on after a stop; other models are kept if they were asked for."""
        last = step == self.record["steps"][-1]
        asked = self.keep == "all" or (self.keep == "last" and last) or step in self.held
        if asked or (self.card.start == "previous" and not last):
            store.save_model(self.out, self.keys[step], self.trainer.save)
            self.shared.publish(store.model_folder(self.out, self.keys[step]))

    def _drop(self, steps: Iterable[int]) -> None:
        for step in self.keys.keys() & set(steps) - set(self.held):
            self.shared.drop(store.model_folder(self.out, self.keys[step]))

    def clean_up(self) -> None:
        """A finished run leaves no checkpoints, and with ``--keep-models none`` no models."""
        for step in self.keys:
            self._checkpoint(step).drop()
        if self.keep == "none":
            self._drop(self.keys)


def score(
    split: TaskSplit, corpus: Corpus, step: int, gold: Sequence[Sentence], pred: Sequence[Sequence[Any]]
) -> dict[str, dict[str, dict[str, list[int]]]]:
    """``{view: {test set: {type: [tp, fp, fn]}}}`` after ``step``, as docs/results.md describes the views.

    ``gold`` is ``split.test_part`` of the step and ``pred`` what was predicted there.
    """
    from cl_ner_bench.analysis.scores.scorer import match

    at = {sentence.id: i for i, sentence in enumerate(gold)}
    ever = {s.id for s in split.test_part(corpus, split.n_steps) if s.mentions}
    matches = match([s.mentions for s in gold], pred, split.types(step))
    views: dict[str, dict[str, dict[str, list[int]]]] = {"all": {}, "filter": {}, "filter_last": {}}
    for test_set, types in split.scored_types(step).items():
        ids = split.test_sets[test_set]
        chosen = {"all": ids, "filter": [i for i in ids if gold[at[i]].mentions], "filter_last": ever.intersection(ids)}
        for view, those in chosen.items():
            # A domain is scored on the types taught there; the model may know others.
            views[view][test_set] = matches.count(types, [at[i] for i in those])
    return views


if __name__ == "__main__":
    sys.exit(main())
