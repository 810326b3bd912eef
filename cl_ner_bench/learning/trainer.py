"""The training loop of one step, the same for every method."""

from __future__ import annotations

import inspect
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from torch import Tensor

from cl_ner_bench.corpora.card import UNSTATED
from cl_ner_bench.corpora.limits import check_span_words
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.carried import attributes, restore
from cl_ner_bench.learning.checkpoint import Checkpoint, resume, snapshot
from cl_ner_bench.learning.epoch_losses import EpochLosses
from cl_ner_bench.learning.imprint import imprint
from cl_ner_bench.learning.learner import Learner, Need
from cl_ner_bench.learning.memory import Exemplar, Memory, Recall
from cl_ner_bench.learning.optim import Optimizer
from cl_ner_bench.learning.random_streams import generator, stream
from cl_ner_bench.learning.step import EVALUATION_BUDGET, Step
from cl_ner_bench.learning.teacher import Teacher
from cl_ner_bench.learning.updates import count_updates
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.models.heads.cosine import CosineHead
from cl_ner_bench.scenarios.task import StepData

VECTORS_BYTES = 1 << 29
"""Limit for the stored word vectors of a frozen encoder. Above it they are recomputed for each batch."""

Progress = Callable[[dict[str, Any]], None]


class Trainer:
    """A learner with everything needed to train it step by step.

    Args:
        learner_class: the method.
        settings: its hyper-parameters.
        recipe: ``epochs``, ``batch_size``, ``lr`` (encoder), ``head_lr``, ``weight_decay``, ``clip`` (global gradient
            norm), ``dropout`` (word vectors), ``warmup_updates`` and ``warmup_share`` (the smaller of the two counts),
            ``max_length`` (sub-tokens of a window, with specials), ``max_span_width`` (words, 0: every span), ``pool``
            (batches whose sentences are sorted by length, 1: none), ``exact`` (keep teachers in float32); and those
            that ``corpora.card.HyperParameters`` adds, each ``UNSTATED`` if left out.
        encoder: a name or folder that ``encoder_info`` accepts.
        precision: ``fp32``, or ``bf16`` for autocast in the linear layers of the encoder and of the span head.
        nested: keep nested predictions of span methods.
        tokens: sub-tokens of sentences that are tokenised already; the others are tokenised here.
        recall: returns train sentences by id, for methods with a memory. Without it, memories hold only sentences that
            this trainer has learned itself.
    """

    def __init__(
        self,
        learner_class: type[Learner],
        settings: Mapping[str, Any],
        recipe: Mapping[str, Any],
        encoder: str,
        seed: int,
        device: str = "cpu",
        precision: str = "fp32",
        nested: bool = False,
        tokens: Mapping[tuple[str, ...], Tokens] | None = None,
        recall: Recall | None = None,
    ) -> None:
        self.learner_class, self.settings, self.encoder = learner_class, settings, encoder
        self.recipe = {**UNSTATED, **recipe}
        self.seed, self.precision, self.nested, self.tokens = seed, precision, nested, tokens
        self.device = torch.device(device)
        self.recall = recall
        self.learned: dict[int, Sentence] = {}  # train sentences of this process, for want of ``recall``
        self.learner = self._new_learner()

    def learn(
        self, data: StepData, progress: Progress = lambda _: None, checkpoint: Checkpoint | None = None
    ) -> dict[str, Any]:
        """Learn one step and return its record, which is JSON-able.

        Afterwards ``learner`` is a new learner, made from what ``save`` stores, with the weights of the epoch chosen
        by ``data.selection``. So a step behaves the same whether the process goes on or a new one loads the model.

        Args:
            progress: called after each update (with the counts and the ``seconds`` of the step so far) and after each
                dev batch; may raise to stop.
            checkpoint: receives a snapshot at the end of an epoch whenever it is due. If it holds one, the step
                resumes after that epoch and gives, to the bit, the weights and the record of an uninterrupted step
                (``seconds`` add up). The snapshot holds only what training changes: grown columns, teacher, frozen
                word vectors and batches are recomputed from the previous model and from named random streams.

        Raises:
            FloatingPointError: the loss is not finite.
            UserError: a sentence is too long for the method, a word cannot be read, or the method breaks its contract.
        """
        record = self._learn(data, progress, checkpoint)
        self.set_state(*self.state())
        return record

    def _learn(self, data: StepData, progress: Progress, checkpoint: Checkpoint | None) -> dict[str, Any]:
        started, recipe, learner = time.perf_counter(), self.recipe, self.learner
        needs = self._needs()
        remarks: list[str] = []
        shown = data.shown
        examples = self._examples(data.train, "train")
        gold = () if data.selection == "last" else data.dev
        dev = self._examples([s.only(()) for s in gold], "dev")  # without labels: hooks see the sentences of a batch
        learner.enter(shown)
        teacher = self._teacher(examples) if "teacher" in needs and learner.n_old else None
        remembered = self._remember(data) if "memory" in needs else []
        new = [t for t in data.types if t not in learner.head.types]
        # Streams are keyed by the types; a step without a new type needs its number to get streams of its own.
        revisit = () if new else (data.step,)
        dropout_seed = stream(self.seed, "dropout", learner.architecture, data.types, *revisit)
        learner.encoder.dropout.seed(dropout_seed)
        torch.manual_seed(dropout_seed)  # for hooks, and for the dropout of encoders with their own forward pass
        self._grow(new)
        shapes = _shapes(learner)
        step = self._step(shown, teacher, examples, dev)
        remarks += self._prepare_rows(step)
        learner.begin_step(step)
        _check_shapes(learner, shapes, "begin_step")
        plain = attributes(learner)
        if "all_embeddings" not in needs:
            learner.encoder.restrict_embeddings(e.tokens for e in (*examples, *dev, *remembered))

        epochs, size = recipe["epochs"] if learner.trains else 0, recipe["batch_size"]
        updates, warmup = count_updates(len(examples), {**recipe, "epochs": epochs})
        optimizer = learner.make_optimizer(
            learner.parameter_groups(recipe["lr"], recipe["head_lr"], recipe["weight_decay"]) if learner.trains else []
        )
        if learner.trains:
            _check_groups(learner, optimizer)
        if learner.trains and data.selection != "last" and not any(s.mentions for s in gold):
            remarks.append("dev holds no mention of the step's types: the last epoch is kept")
        training = resume(checkpoint, learner, optimizer)
        started -= training.seconds
        teacher_before = training.teacher_seconds
        for epoch in range(training.epoch + 1, epochs + 1):
            restore(learner, plain)
            learner.train()
            learner.begin_epoch(epoch)
            _check_groups(learner, optimizer)
            if learner.encoder_frozen:
                examples, dev = self._with_vectors(examples), self._with_vectors(dev)
                learner.train()
            losses = EpochLosses(self.device, data.step, training.updates)
            batches = list(
                shuffled(
                    examples,
                    size,
                    generator(self.seed, "shuffle", data.labelled, epoch, *revisit),
                    recipe["pool"],
                    self.device,
                )
            )
            for batch in batches:
                rate = self._rate(epoch, training.updates, warmup, updates)
                if losses.add(self._update(batch, teacher, optimizer, rate)):
                    learner.encoder.check_gradients()
                training.updates += 1
                counts = {"epoch": epoch, "epochs": epochs, "update": training.updates, "updates": updates}
                progress(counts | {"loss": losses.total, "seconds": time.perf_counter() - started})
            losses.read()
            learner.encoder.check_gradients()
            trained = time.perf_counter()
            score = self._dev_score(dev, gold, data.dev_labelled, data.selection, progress)
            score = learner.select(score, learner.outputs(step.batches("dev")))
            training.dev_seconds += time.perf_counter() - trained
            training.teacher_seconds = teacher_before + (teacher.seconds if teacher else 0)
            training.end_epoch({name: value / len(batches) for name, value in losses.sums.items()}, score, learner)
            if checkpoint and checkpoint.due():
                training.seconds = time.perf_counter() - started
                checkpoint.save(*snapshot(training, learner, optimizer))
        if idle := [name for name, p in learner.named_parameters() if p.requires_grad and p not in optimizer.updated]:
            remarks += [f"no gradient reached {_some(idle)}: not learned"] if updates else []
        if training.best_score == 0:
            remarks.append("dev score 0 in every epoch: the first epoch is kept")
        if learner.trains:
            learner.load_state_dict(training.best_weights)
        learner.encoder.restore_embeddings()
        restore(learner, plain)
        step = self._step(shown, teacher, examples, dev)  # with the word vectors of a frozen encoder
        learner.end_step(step)
        if "memory" in needs:
            learner.memory.add(learner.keep(step), data.labelled)
        _check_shapes(learner, shapes, "end_step, or an epoch,")
        return {
            "step": data.step,
            "updates": updates,
            "warmup_updates": warmup,
            "epochs": epochs,
            "selection": data.selection,
            "selected_epoch": training.selected,
            "dev_scores": training.dev_scores,
            "losses": training.losses,
            "seconds": time.perf_counter() - started,
            "teacher_seconds": teacher_before + (teacher.seconds if teacher else 0),
            "dev_seconds": training.dev_seconds,
            "examples": len(examples),
            "parameters": sum(p.numel() for p in learner.parameters()),
            "model_bytes": sum(value.nbytes for value in learner.state_dict().values()),
            "teacher": teacher.how if teacher else "none",
            **({"memory": self._memory_size()} if "memory" in needs else {}),
            "remarks": remarks,
        }

    def predict(self, sentences: Sequence[Sentence], progress: Progress = lambda _: None) -> list[list[Prediction]]:
        """Return the predicted mentions of each sentence.

        ``progress`` is called after each batch with the number of words so far, and may raise to stop.

        Raises:
            UserError: a sentence is too long for the method, or a word cannot be read.
        """
        return self._predict(self._examples(sentences, "to predict"), self.learner.head.types, progress)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the learner after a step as ``set_state`` takes it: tensors, and facts beside them (JSON-able)."""
        tensors = {name: value.contiguous() for name, value in self.learner.state_dict().items()}
        facts: dict[str, Any] = {"types": self.learner.grown, "frozen": self.learner.frozen_parameters}
        if self.learner.memory:
            facts["memory"] = [[exemplar.id, exemplar.labelled] for exemplar in self.learner.memory.exemplars]
        return tensors, facts

    def set_state(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the learner by a new one, made from what ``state`` returned."""
        if self.learner.grown:
            self.learner = self._new_learner()
        for types in facts["types"]:
            self._grow(types)
        self.learner.load_state_dict(tensors)
        self.learner.frozen_parameters = facts.get("frozen", ())  # absent in models of earlier versions
        self.learner.memory = Memory(Exemplar(id, tuple(labelled)) for id, labelled in facts.get("memory", ()))

    def save(self, folder: Path) -> None:
        """Write the learner after a step: ``model.safetensors`` and ``model.json``."""
        tensors, facts = self.state()
        safetensors.torch.save_file(tensors, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps({"schema": 1, **facts}))

    def load(self, folder: Path) -> None:
        """Load a learner that ``save`` wrote."""
        facts = json.loads((folder / "model.json").read_text())
        self.set_state(safetensors.torch.load_file(folder / "model.safetensors"), facts)

    def _new_learner(self) -> Learner:
        torch.manual_seed(stream(self.seed, "modules", self.learner_class.architecture))  # for a method's own modules
        body = Encoder(encoder_info(self.encoder), self.recipe["max_length"])
        dropout, width = self.recipe["dropout"], self.recipe["max_span_width"]
        learner = self.learner_class(body, self.settings, dropout, width, self.recipe)
        learner.autocast = torch.bfloat16 if self.precision == "bf16" else None
        return learner.to(self.device)

    def _step(
        self, shown: StepData, teacher: Teacher | None, examples: Sequence[Example], dev: Sequence[Example]
    ) -> Step:
        labelled = [replace(e, sentence=s) for e, s in zip(dev, shown.dev, strict=True)] if shown.dev else []
        return Step.of(shown, teacher, examples, labelled, self.device, self.recipe["epochs"])

    def _remember(self, data: StepData) -> list[Example]:
        """Supply the learner's memory with its sentences, and return them."""
        self.learned |= {s.id: s for s in data.train}
        memory = self.learner.memory
        remembered = self._examples(memory.sentences(self.recall or self.learned.__getitem__), "memory")
        memory.load(remembered, self.device)
        return remembered

    def _memory_size(self) -> dict[str, int]:
        """Return what the memory holds: sentences, labelled mentions, and bytes of text (UTF-8)."""
        sentences = self.learner.memory.sentences(self.recall or self.learned.__getitem__)
        return {
            "sentences": len(sentences),
            "mentions": sum(len(s.mentions) for s in sentences),
            "bytes": sum(len(word.encode("utf-8", "surrogatepass")) for s in sentences for word in s.words),
        }

    def _examples(self, sentences: Sequence[Sentence], part: str) -> list[Example]:
        if self.learner.architecture == "span" and not self.recipe["max_span_width"]:
            check_span_words(sentences, part)
        known = {} if self.tokens is None else self.tokens
        new = [s.words for s in sentences if s.words not in known]
        made = dict(zip(new, self.learner.encoder.tokeniser.tokenise(new), strict=True)) if new else {}
        return [Example(i, s, made.get(s.words) or known[s.words]) for i, s in enumerate(sentences)]

    def _needs(self) -> frozenset[Need]:
        if hasattr(self.learner, "needs_teacher"):  # in methods written for earlier versions
            name = type(self.learner).__name__
            raise UserError(f'{name}.needs_teacher is not asked any more: return frozenset({{"teacher"}}) from needs')
        for need in self.learner.needs:
            if need not in get_args(Need):
                known = ", ".join(get_args(Need))
                raise UserError(f"{type(self.learner).__name__}.needs holds {need!r}; known are {known}")
        return self.learner.needs

    def _head_stream(self, type: str) -> torch.Generator:
        return generator(self.seed, "head", self.learner.architecture, type)

    def _grow(self, types: Sequence[str]) -> None:
        self.learner.grow(types, self._head_stream)
        self.learner.grown.append(tuple(types))
        self.learner.to(self.device)

    def _prepare_rows(self, step: Step) -> list[str]:
        """Freeze old rows of the head and imprint new ones, if the recipe says so; return remarks."""
        recipe, learner = self.recipe, self.learner
        if learner.n_old and recipe["old_rows"] == "frozen":
            if learner.unlabelled:
                learner.head.freeze_unlabelled(step.labelled)
            else:  # nothing is old: all types have labels
                learner.head.requires_grad_(True)
        if recipe["head"] == "cosine" and not isinstance(learner.head, CosineHead):
            return ["the head is the method's own, not the recipe's cosine head"]
        if learner.n_old and recipe["new_rows"] != "random":
            imprint(learner, step.batches("dev" if recipe["new_rows"] == "imprint-dev" else "train"))
        return []

    def _rate(self, epoch: int, update: int, warmup: int, updates: int) -> float:
        """Return the factor on the learning rates at ``update`` (from 0), which is in ``epoch`` (from 1)."""
        factor = self.learner.rate(update, warmup, updates)
        if not self.learner.n_old and epoch <= self.recipe["first_lr_epochs"]:
            factor *= self.recipe["first_lr"] / self.recipe["lr"]
        return factor

    def _update(self, batch: Batch, teacher: Teacher | None, optimizer: Optimizer, rate: float) -> dict[str, Tensor]:
        losses = self.learner.losses(batch, self.learner(batch), teacher(batch) if teacher else None)
        _check_losses(self.learner, losses)
        self.learner.zero_grad()  # frozen weights too: stale gradients would count in the norm
        total = torch.stack(list(losses.values())).sum()
        if not total.requires_grad:
            raise UserError(f"{_hook(self.learner, 'losses')}: no loss depends on a parameter that learns")
        total.backward()
        self.learner.after_backward()
        self.learner.encoder.watch_gradient()
        if self.recipe["clip"]:
            torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.recipe["clip"])
        optimizer.step(rate)
        return {name: value.detach() for name, value in losses.items()}

    def _teacher(self, examples: Sequence[Example]) -> Teacher:
        dtype = torch.float32 if self.recipe["exact"] else torch.float16
        return Teacher(self.learner, list(by_length(examples, EVALUATION_BUDGET, self.device)), dtype)

    def _with_vectors(self, examples: list[Example]) -> list[Example]:
        """Return the examples with their word vectors, if these fit into ``VECTORS_BYTES``."""
        size = sum(e.length for e in examples) * self.learner.encoder.hidden_size * 4
        if not examples or examples[0].vectors is not None or size > VECTORS_BYTES:
            return examples
        kept: dict[int, Tensor] = {}
        self.learner.eval()
        for batch in by_length(examples, EVALUATION_BUDGET, self.device):
            with torch.no_grad():
                words = self.learner.encode(batch)
            kept.update(zip([e.index for e in batch.examples], words.split(batch.lengths), strict=True))
        return [replace(e, vectors=kept[e.index].clone()) for e in examples]

    def _predict(self, examples: Sequence[Example], types: Sequence[str], progress: Progress) -> list[list[Prediction]]:
        found: dict[int, list[Prediction]] = {}
        words = 0
        for batch, output in self.learner.outputs(by_length(examples, EVALUATION_BUDGET, self.device)):
            decoded = self.learner.decode(output, batch.lengths, types, self.nested)
            found.update(zip([e.index for e in batch.examples], decoded, strict=True))
            words += sum(batch.lengths)
            progress({"predicted_words": words})
        return [found[e.index] for e in examples]

    def _dev_score(
        self,
        dev: Sequence[Example],
        gold: Sequence[Sentence],
        types: Sequence[str],
        selection: str,
        progress: Progress = lambda _: None,
    ) -> float | None:
        """Return ``macro``- or ``micro``-F1 (0..100) over ``types``; None if dev has no mention of them.

        ``dev`` holds the sentences to predict, ``gold`` the same sentences with their labels. Only types in gold or
        predictions count. Old types take no part in choosing the epoch (SpanKL, arXiv 2302.12200), so predictions of
        them are left out before overlaps are resolved. CFNER (EMNLP 2022) pools the types (``micro``).
        """
        wanted = {(i, *m) for i, s in enumerate(gold) for m in s.mentions if m.type in types}
        if not wanted:
            return None
        found = {(e.index, *p[:3]) for e, ps in zip(dev, self._predict(dev, types, progress), strict=True) for p in ps}
        right, total = (Counter(m[3] for m in side) for side in (wanted & found, (*wanted, *found)))
        if selection == "micro":
            return 200 * sum(right[t] for t in types) / sum(total[t] for t in types)
        scores = [200 * right[t] / total[t] for t in types if total[t]]
        return sum(scores) / len(scores)


def _check_losses(learner: Learner, losses: Any) -> None:
    """Raise UserError unless ``losses`` are named scalar tensors."""
    if isinstance(losses, dict):
        wrong = [name for name, value in losses.items() if not isinstance(value, Tensor) or value.ndim]
        if losses and not wrong:
            return
        found = f"{_kind(losses[wrong[0]])} for {wrong[0]!r}" if wrong else "an empty dict"
    else:
        found = _kind(losses)
    expected = "a dict of scalar tensors, as {'ce': loss}"
    raise UserError(f"{_hook(learner, 'losses')} must return {expected}; it returned {found}")


def _hook(learner: Learner, name: str) -> str:
    """Return the name of a hook of a method, and file and line where the method defines it."""
    code = inspect.unwrap(getattr(type(learner), name)).__code__
    return f"{code.co_filename}:{code.co_firstlineno}: {type(learner).__name__}.{name}"


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _shapes(learner: Learner) -> dict[str, torch.Size]:
    """Return the shapes of all stored tensors except those in ``carried``, which may have any shape."""
    return {name: value.shape for name, value in learner.state_dict().items() if not name.startswith("carried.")}


def _check_shapes(learner: Learner, shapes: Mapping[str, torch.Size], where: str) -> None:
    """Raise UserError if a hook added, removed or reshaped tensors."""
    found = _shapes(learner)
    if changed := sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name)):
        raise UserError(
            f"{type(learner).__name__}: {where} added, removed or reshaped {_some(changed)}: a stored model could not "
            "be loaded. Make modules and buffers in __init__ or grow, and keep other tensors in self.carried."
        )


def _check_groups(learner: Learner, optimizer: Optimizer) -> None:
    """Raise UserError unless the optimiser has each trainable parameter exactly once, and no others."""
    counts = Counter(optimizer.parameters)
    left_out = [name for name, p in learner.named_parameters() if p.requires_grad and not counts[p]]
    twice = [name for name, p in learner.named_parameters() if counts[p] > 1]
    if left_out:
        why = (
            f"leaves out {_some(left_out)}, which would never learn. Return them there (they must be made by then), or "
            "freeze them with requires_grad_(False)"
        )
    elif twice:
        why = f"returns {_some(twice)} twice"
    elif counts.keys() - set(learner.parameters()):
        why = "returns a parameter that is in no module of the learner: it would be lost when the step ends"
    else:
        return
    raise UserError(f"{type(learner).__name__}.parameter_groups {why}.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
