"""The training of one step: the order in which a method's hooks are called, and the epoch that is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.carried import attributes, restore
from cl_ner_bench.learning.checkpoint import Checkpoint, TrainingState, resume, snapshot
from cl_ner_bench.learning.contract import check_groups, check_losses, check_shapes, hook, shapes_of, some
from cl_ner_bench.learning.epoch_losses import EpochLosses
from cl_ner_bench.learning.evaluation import ProgressCallback, dev_score, predict
from cl_ner_bench.learning.imprint import imprint
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.random_streams import generator
from cl_ner_bench.learning.step import EVALUATION_BUDGET, Step
from cl_ner_bench.learning.teacher import Teacher
from cl_ner_bench.learning.updates import count_updates
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.scenarios.task import StepData
from cl_ner_bench.storage.run_record import DEV_ZERO

VECTORS_BYTES = 1 << 29
"""Limit for the stored word vectors of a frozen encoder. Above it they are recomputed for each batch."""


@dataclass(frozen=True)
class Inputs:
    """The sentences of a step as examples, and the previous model.

    Attributes:
        train: the train sentences with the labels of the step.
        gold: the labelled dev sentences that score an epoch; empty if the last epoch is kept.
        dev: the same sentences without labels, because hooks see the sentences of a batch.
        remembered: the sentences of the method's memory.
        teacher: None in step 1, and for methods without the need ``teacher``.
    """

    train: list[Example]
    gold: Sequence[Sentence]
    dev: list[Example]
    remembered: list[Example]
    teacher: Teacher | None


class StepTraining:
    """The training of one step of a learner whose head has grown.

    Args:
        revisit: added to the keys of random streams, to give a step without a new type its own; otherwise empty.
        started: ``time.perf_counter()`` when the step began.
    """

    def __init__(
        self,
        learner: Learner,
        data: StepData,
        inputs: Inputs,
        recipe: Mapping[str, Any],
        seed: int,
        revisit: tuple[int, ...],
        nested: bool,
        started: float,
    ) -> None:
        self.learner, self.data, self.inputs, self.recipe = learner, data, inputs, recipe
        self.seed, self.revisit, self.nested = seed, revisit, nested
        self.remarks: list[str] = []
        self._started, self._teacher_before = started, 0.0

    def run(self, progress: ProgressCallback, checkpoint: Checkpoint | None) -> dict[str, Any]:
        """Train the learner and return the step's record; ``Trainer.learn`` describes both arguments."""
        self._begin()
        state = self._train(progress, checkpoint)
        self._end(state)
        return self._record(state)

    def _begin(self) -> None:
        """Let the method prepare the step, and make the optimiser."""
        learner, recipe = self.learner, self.recipe
        self._shapes = shapes_of(learner)
        self._step = self._step_of_hooks()
        self.remarks += self._prepare_rows()
        learner.begin_step(self._step)
        check_shapes(learner, self._shapes, "begin_step")
        self._plain = attributes(learner)
        if "all_embeddings" not in learner.needs:
            used = (*self.inputs.train, *self.inputs.dev, *self.inputs.remembered)
            learner.encoder.restrict_embeddings(e.tokens for e in used)
        self._epochs = recipe["epochs"] if learner.trains else 0
        self._updates, self._warmup = count_updates(len(self.inputs.train), {**recipe, "epochs": self._epochs})
        self._optimizer = learner.make_optimizer(
            learner.parameter_groups(recipe["lr"], recipe["head_lr"], recipe["weight_decay"]) if learner.trains else []
        )
        if learner.trains:
            check_groups(learner, self._optimizer)
            if self.data.selection != "last" and not any(s.mentions for s in self.inputs.gold):
                self.remarks.append("dev holds no mention of the step's types: the last epoch is kept")

    def _train(self, progress: ProgressCallback, checkpoint: Checkpoint | None) -> TrainingState:
        """Train the epochs that no snapshot holds yet."""
        state = resume(checkpoint, self.learner, self._optimizer)
        self._started -= state.seconds
        self._teacher_before = state.teacher_seconds
        while state.epoch < self._epochs:
            self._epoch(state, progress)
            if checkpoint and checkpoint.due():
                state.seconds = self._seconds()
                checkpoint.save(*snapshot(state, self.learner, self._optimizer))
        return state

    def _epoch(self, state: TrainingState, progress: ProgressCallback) -> None:
        learner, epoch = self.learner, state.epoch + 1
        restore(learner, self._plain)
        learner.train()
        learner.begin_epoch(epoch)
        check_groups(learner, self._optimizer)
        if learner.encoder_frozen:
            train, dev = self._with_vectors(self.inputs.train), self._with_vectors(self.inputs.dev)
            self.inputs = replace(self.inputs, train=train, dev=dev)
            learner.train()
        losses = EpochLosses(learner.device, self.data.step, state.updates)
        batches = self._batches(epoch)
        for batch in batches:
            if losses.add(self._update(batch, self._rate(epoch, state.updates))):
                learner.encoder.check_gradients()
            state.updates += 1
            counts = {"epoch": epoch, "epochs": self._epochs, "update": state.updates, "updates": self._updates}
            progress(counts | {"loss": losses.total, "seconds": self._seconds()})
        losses.read()
        learner.encoder.check_gradients()
        trained = time.perf_counter()
        score = learner.select(self._dev_score(progress), learner.outputs(self._step.batches("dev")))
        state.dev_seconds += time.perf_counter() - trained
        state.teacher_seconds = self._teacher_seconds()
        state.end_epoch({name: value / len(batches) for name, value in losses.sums.items()}, score, learner)

    def _batches(self, epoch: int) -> list[Batch]:
        order = generator(self.seed, "shuffle", self.data.labelled, epoch, *self.revisit)
        size, pool = self.recipe["batch_size"], self.recipe["pool"]
        return list(shuffled(self.inputs.train, size, order, pool, self.learner.device))

    def _update(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        learner, teacher = self.learner, self.inputs.teacher
        losses = learner.losses(batch, learner(batch), teacher(batch) if teacher else None)
        check_losses(learner, losses)
        parameters = [*learner.parameters()]
        for parameter in parameters:  # frozen ones, too: stale gradients would count in the norm
            parameter.grad = None
        total = torch.stack(list(losses.values())).sum()
        if not total.requires_grad:
            raise UserError(f"{hook(learner, 'losses')}: no loss depends on a parameter that learns")
        total.backward()
        learner.after_backward()
        learner.encoder.watch_gradient()
        if self.recipe["clip"]:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe["clip"])
        self._optimizer.step(rate)
        return {name: value.detach() for name, value in losses.items()}

    def _rate(self, epoch: int, update: int) -> float:
        """Return the factor on the learning rates at ``update`` (from 0), which is in ``epoch`` (from 1)."""
        factor = self.learner.rate(update, self._warmup, self._updates)
        if not self.learner.n_old and epoch <= self.recipe["first_lr_epochs"]:
            factor *= self.recipe["first_lr"] / self.recipe["lr"]
        return factor

    def _dev_score(self, progress: ProgressCallback) -> float | None:
        data, types = self.data, self.data.dev_labelled
        if not any(m.type in types for s in self.inputs.gold for m in s.mentions):
            return None
        predicted = predict(self.learner, self.inputs.dev, types, self.nested, progress)
        return dev_score(self.inputs.gold, predicted, types, data.selection)

    def _end(self, state: TrainingState) -> None:
        """Load the weights of the selected epoch; let the method end the step and remember sentences."""
        learner = self.learner
        optimised = self._optimizer.updated
        if idle := [name for name, p in learner.named_parameters() if p.requires_grad and p not in optimised]:
            self.remarks += [f"no gradient reached {some(idle)}: not learned"] if self._updates else []
        if state.best_score == 0:
            self.remarks.append(DEV_ZERO)
        if learner.trains:
            learner.load_state_dict(state.best_weights)
        learner.encoder.restore_embeddings()
        restore(learner, self._plain)
        step = self._step_of_hooks()  # with the word vectors of a frozen encoder
        learner.end_step(step)
        if "memory" in learner.needs:
            learner.memory.add(learner.keep(step), self.data.labelled)
        check_shapes(learner, self._shapes, "end_step, or an epoch,")

    def _record(self, state: TrainingState) -> dict[str, Any]:
        learner, teacher = self.learner, self.inputs.teacher
        return {
            "step": self.data.step,
            "updates": self._updates,
            "warmup_updates": self._warmup,
            "epochs": self._epochs,
            "selection": self.data.selection,
            "selected_epoch": state.selected,
            "dev_scores": state.dev_scores,
            "losses": state.losses,
            "seconds": self._seconds(),
            "teacher_seconds": self._teacher_seconds(),
            "dev_seconds": state.dev_seconds,
            "examples": len(self.inputs.train),
            "parameters": sum(p.numel() for p in learner.parameters()),
            "model_bytes": sum(value.nbytes for value in learner.state_dict(keep_vars=True).values()),
            "teacher": teacher.how if teacher else "none",
            "remarks": self.remarks,
        }

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _teacher_seconds(self) -> float:
        return self._teacher_before + (self.inputs.teacher.seconds if self.inputs.teacher else 0)

    def _step_of_hooks(self) -> Step:
        """Return the step as hooks see it."""
        shown, inputs = self.data.shown, self.inputs
        pairs = zip(inputs.dev, shown.dev, strict=True) if shown.dev else ()
        labelled = [replace(example, sentence=sentence) for example, sentence in pairs]
        return Step.of(shown, inputs.teacher, inputs.train, labelled, self.learner.device, self.recipe["epochs"])

    def _prepare_rows(self) -> list[str]:
        """Freeze old rows of the head and imprint new ones, if the recipe says so; return remarks."""
        recipe, learner, step = self.recipe, self.learner, self._step
        if learner.n_old and recipe["old_rows"] == "frozen":
            if learner.unlabelled:
                learner.head.freeze_unlabelled(step.labelled)
            else:  # all types are labelled: no row stays frozen
                learner.head.requires_grad_(True)
        if recipe["head"] == "cosine" and not isinstance(learner.head, CosineHead):
            return ["the head is the method's own, not the recipe's cosine head"]
        if learner.n_old and recipe["new_rows"] != "random":
            imprint(learner, step.batches("dev" if recipe["new_rows"] == "imprint-dev" else "train"))
        return []

    def _with_vectors(self, examples: list[Example]) -> list[Example]:
        """Return the examples with their word vectors, if these fit into ``VECTORS_BYTES``."""
        learner = self.learner
        size = sum(e.length for e in examples) * learner.encoder.hidden_size * 4
        if not examples or examples[0].vectors is not None or size > VECTORS_BYTES:
            return examples
        kept: dict[int, Tensor] = {}
        learner.eval()
        for batch in by_length(examples, EVALUATION_BUDGET, learner.device):
            with torch.no_grad():
                words = learner.encode(batch)
            kept.update(zip([e.index for e in batch.examples], words.split(batch.lengths), strict=True))
        return [replace(e, vectors=kept[e.index].clone()) for e in examples]
