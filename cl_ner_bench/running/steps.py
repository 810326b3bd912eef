"""The steps of one run in the process that learns it: reuse, learning, checks and storage."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from cl_ner_bench.corpora.sentence import PARTS, Corpus, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.method_faults import describe
from cl_ner_bench.running import environment
from cl_ner_bench.running.from_record import new_trainer, read_corpus, set_arithmetic
from cl_ner_bench.running.heartbeat import Heartbeat, Interrupted
from cl_ner_bench.running.job import Job
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.files import canonical, gzipped
from cl_ner_bench.storage.run_record import TrainingCheck
from cl_ner_bench.untrusted import unpacked

if TYPE_CHECKING:
    from cl_ner_bench.analysis.scores.views import Views
    from cl_ner_bench.models.encoders.token_cache import TokenStore
    from cl_ner_bench.running.checkpoint import CheckpointFile


class Steps:
    """The steps of a job's run. ``record`` grows with each learned step."""

    def __init__(self, job: Job) -> None:
        from cl_ner_bench import registry

        self.job, self.record = job, job.record
        self.folder, self.run = job.open()
        self.keys = {int(step): key for step, key in self.record.step_keys.items()}
        self.folder.models.pin(self.keys[step] for step in job.pinned)
        self.card = registry.resolve([self.record.inputs["method"]])[0].card
        self.corpus = read_corpus(self.record)
        self.split = TaskSplit.from_json(self.run.split(), self.corpus)
        self._check(self.record.fingerprints)
        gc.freeze()  # the corpus stays in memory, so the collector need not visit it
        self.trainer: Any = None
        self.cpu_before = 0.0  # processor seconds of this process when the step began

    def _check(self, expected: dict[str, str]) -> None:
        from cl_ner_bench import method_code

        found = {"data": self.corpus.fingerprint, "split": self.split.hash}
        found["method"] = method_code.method_fingerprint(self.card)
        found |= method_code.files_fingerprint(self.card, self.record.settings["method"])
        for name, value in found.items():
            if value != expected[name]:
                raise UserError(f"the {name} changed after the grid was planned; start the command again")

    def is_missing(self, step: int) -> bool:
        return self.run.step(step, self.keys[step]) is None

    def record_learned(self) -> None:
        """Put the rows of all finished steps into the record, with the bytes that each step carries to the next."""
        finished = (self.run.step(step, key) for step, key in sorted(self.keys.items()))
        learned = [step.learned for step in finished if step]
        if self.card.start == "previous":
            learned = [row | {"carried_bytes": row["model_bytes"]} if "model_bytes" in row else row for row in learned]
        else:
            learned = [row | {"carried_bytes": 0} for row in learned]
        self.record = structs.replace(self.record, learned=learned)

    def reuse(self, step: int) -> None:
        """Reuse a step of another machine or run: copy its predictions and score them again."""
        self.run.fetch(step)
        if not self.record.is_shared(step) or not self.is_missing(step):
            return
        owner = self.record.learned_by(step)
        source = self.folder.run(owner)
        source.fetch(step)
        found = source.step(step, self.keys[step])
        if found and (predictions := found.predictions) is not None:
            predicted = [json.loads(row)["pred"] for row in unpacked(predictions).splitlines()]
            self._commit(step, found.learned, predictions, self._gold(step), predicted, owner)

    def to_learn(self, awaited: Collection[int]) -> Iterator[int]:
        """Yield the steps to learn.

        If steps build on each other, begin after the last stored model before the first missing step, and keep their
        order. If each step starts from the pretrained encoder, yield the missing steps, first those in ``awaited``, for
        which other runs wait.
        """
        missing = [step for step in self.record.steps if self.is_missing(step)]
        if self.card.start == "pretrained":
            yield from sorted(missing, key=lambda step: (step not in awaited, step))
        elif missing:
            yield from range(self._load_before(missing[0]) + 1, missing[-1] + 1)

    def _load_before(self, step: int) -> int:
        """Load the last stored model before ``step``. Return its step, or 0 if there is none."""
        for k in range(step - 1, 0, -1):
            if (trainer := self.folder.models.load(self.keys[k], self._loaded)) is not None:
                self.trainer = trainer
                return k
        return 0

    def _loaded(self, model: Path) -> Any:
        trainer = self._new_trainer()
        trainer.load(model)
        return trainer

    @cached_property
    def tokens(self) -> TokenStore:
        """The corpus as sub-tokens, shared by all workers on the corpus."""
        from cl_ner_bench.models.encoders.info import encoder_info
        from cl_ner_bench.models.encoders.token_cache import token_store

        words = (sentence.words for part in PARTS for sentence in self.corpus.used(part))
        return token_store(words, encoder_info(self.record.inputs["encoder"]), self.record.settings["max_length"])

    def _new_trainer(self, **recipe: Any) -> Any:
        settings, encoder = self.record.settings, self.record.inputs["encoder"]
        recall = partial(self.split.sentence, self.corpus, "train")
        set_arithmetic(settings["threads"], self.job.device)
        return new_trainer(
            self.card, settings | recipe, encoder, self.record.seed, self.job.device, self.tokens, recall
        )

    def learn(self, step: int, heartbeat: Heartbeat) -> dict[str, Any]:
        self.cpu_before = time.process_time()
        from_scratch = self.card.start == "pretrained"
        if self.trainer is None or from_scratch:
            self.trainer = self._new_trainer()
        data = self.split.step_data(self.corpus, step, cumulative=self.card.is_cumulative, from_scratch=from_scratch)
        learned: dict[str, Any] = self.trainer.learn(data, heartbeat, self._checkpoint(step))
        return {"step": step, **learned}

    def _checkpoint(self, step: int) -> CheckpointFile:
        from cl_ner_bench.running.checkpoint import CheckpointFile

        return CheckpointFile(self.folder.checkpoints, self.keys[step], self.job.checkpoint_seconds)

    def check_first_step(self, heartbeat: Heartbeat) -> None:
        """Raise UserError if the card says that step 1 is that of the base learner, but it differs."""
        from cl_ner_bench import method_code
        from cl_ner_bench.learning.first_step import deviation

        settings, says = self.record.settings, f'{self.card.file}: CARD[{self.card.name!r}] says first_step "base"'
        try:
            found = deviation(
                method_code.load_class(self.card), settings["method"], settings, lambda _: heartbeat.check()
            )
        except (Interrupted, UserError):
            raise
        except Exception as error:
            why = describe(error, self.card)
            raise UserError(f'{says}, which cannot be proven: on a tiny encoder, {why}. Set it to "own"') from error
        if found:
            raise UserError(
                f"{says}, but its step 1 differs from that of the plain {self.card.architecture} learner ({found}): "
                'nothing was shared. Set first_step to "own"'
            )

    def check_training(self, heartbeat: Heartbeat) -> None:
        """Learn step 1 for twice the epochs and record its micro-F1 (view ``all``): is the recipe too short?"""
        from cl_ner_bench.analysis.scores.scorer import f1

        if (known := self.run.fetch_training_check()) is None:
            heartbeat.begin(1, "checking")
            trainer = self._new_trainer(epochs=2 * self.record.settings["epochs"])
            learned = trainer.learn(self.split.step_data(self.corpus, 1), heartbeat)
            gold = self._gold(1)
            predicted = trainer.predict([sentence.only(()) for sentence in gold], heartbeat)
            counts = score(self.split, self.corpus, 1, gold, predicted)["all"]
            triples = [triple for types in counts.values() for triple in types.values()]
            micro = f1(*(sum(triple[i] for triple in triples) for i in range(3)))
            known = TrainingCheck(micro, learned["epochs"], learned["updates"])
            self.run.save_training_check(known)
        self.record = structs.replace(self.record, step1_reference=known)

    def finish(self, step: int, learned: dict[str, Any], heartbeat: Heartbeat) -> None:
        """Store a step and its model. If a step was only learned again for its model, keep the stored step."""
        self._keep_model(step)
        if self.is_missing(step):
            gold = self._gold(step)
            started = time.perf_counter()
            predicted = self.trainer.predict([sentence.only(()) for sentence in gold], heartbeat)
            learned |= {"predict_seconds": time.perf_counter() - started, "predicted": len(gold)}
            learned |= environment.resource_usage(self.cpu_before)
            rows = (
                canonical({"id": sentence.id, "gold": sentence.mentions, "pred": sorted(mentions)})
                for sentence, mentions in zip(gold, predicted, strict=True)
            )
            self._commit(step, learned, gzipped(rows), gold, predicted)
        self._checkpoint(step).drop()
        if self.job.keep_models != "all":
            self._drop({step - 1})

    def _gold(self, step: int) -> list[Sentence]:
        return self.split.test_part(self.corpus, step)

    def _commit(
        self,
        step: int,
        learned: dict[str, Any],
        predictions: bytes,
        gold: Sequence[Sentence],
        predicted: Sequence[Sequence[Any]],
        shared_with: str | None = None,
    ) -> None:
        views = score(self.split, self.corpus, step, gold, predicted)
        self.run.commit(step, self.keys[step], learned, views, predictions, shared_with)

    def _keep_model(self, step: int) -> None:
        """Store the model if the user or another run needs it, or if the run's next step starts from it."""
        last, keep = step == self.record.steps[-1], self.job.keep_models
        asked = keep == "all" or (keep == "last" and last) or step in self.job.pinned
        if asked or (self.card.start == "previous" and not last):
            self.folder.models.save(self.keys[step], self.trainer.save, lasting=keep == "all")

    def _drop(self, steps: Iterable[int]) -> None:
        for step in self.keys.keys() & set(steps):
            self.folder.models.drop(self.keys[step])

    def clean_up(self) -> None:
        """Remove the checkpoints of a finished run and, with ``--keep-models none``, its models."""
        for step in self.keys:
            self._checkpoint(step).drop()
        if self.job.keep_models == "none":
            self._drop(self.keys)


def score(
    split: TaskSplit, corpus: Corpus, step: int, gold: Sequence[Sentence], predicted: Sequence[Sequence[Any]]
) -> Views:
    """Return the counts after ``step`` by view.

    ``gold`` is ``split.test_part`` of the step, ``predicted`` holds the predicted mentions in these sentences.
    """
    from cl_ner_bench.analysis.scores.views import count_views

    ever = {s.id for s in split.test_part(corpus, split.n_steps) if s.mentions}
    return count_views({s.id: s.mentions for s in gold}, predicted, split.scored_types(step), split.test_sets, ever)
