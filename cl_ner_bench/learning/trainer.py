"""The training loop of one step, the same for every method."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from torch import Tensor

from cl_ner_bench.corpora.limits import check_span_words
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.carried import attributes, restore
from cl_ner_bench.learning.checkpoint import Checkpoint, resumed, state
from cl_ner_bench.learning.learner import Learner, Need, Output
from cl_ner_bench.learning.optim import AdamW
from cl_ner_bench.learning.random_streams import generator, stream
from cl_ner_bench.learning.teacher import Teacher
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.scenarios.task import StepData

EVALUATION_BUDGET = 1024
"""Sub-tokens in an evaluation batch: on a CPU, activations of more than that leave the cache."""

VECTORS_BYTES = 1 << 29
"""A frozen encoder's word vectors that would take more are computed again for each batch."""

Progress = Callable[[dict[str, Any]], None]


class Trainer:
    """A learner and all that it needs to learn one step after the other.

    Args:
        learner_class: the method.
        settings: its hyper-parameters.
        recipe: ``epochs``, ``batch_size``, ``lr`` (encoder), ``head_lr``, ``weight_decay``, ``clip`` (global gradient
            norm), ``dropout`` (word vectors), ``warmup_updates`` and ``warmup_share`` (the smaller of the two counts),
            ``max_length`` (sub-tokens of a window, with specials), ``max_span_width`` (words, 0: every span), ``pool``
            (batches whose sentences are sorted by length, 1: none), ``exact`` (keep teachers in float32).
        encoder: a name or folder as ``encoder_info`` knows it.
        precision: ``fp32``, or ``bf16`` for autocast in the linear layers of the encoder and of the span head.
        nested: keep nested predictions of span methods.
        tokens: sub-tokens of sentences that were tokenised before; others are tokenised here.
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
    ) -> None:
        self.learner_class, self.settings, self.recipe, self.encoder = learner_class, settings, recipe, encoder
        self.seed, self.precision, self.nested, self.tokens = seed, precision, nested, tokens
        self.device = torch.device(device)
        self.learner = self._new_learner()

    def learn(
        self, data: StepData, progress: Progress = lambda _: None, checkpoint: Checkpoint | None = None
    ) -> dict[str, Any]:
        """Learn one step; afterwards the learner holds the weights of the epoch that ``data.selection`` chose.

        It is then a new one, made of what ``save`` stores, so that nothing else of it lives on in this process either.

        ``progress`` is called after each update (with what is done and the ``seconds`` that the step took so far) and
        each batch of dev, and may raise to stop. Returns a JSON-able record of what was done.

        ``checkpoint`` is given the state at the end of an epoch whenever it is due. Where it has one, the step goes on
        behind that epoch, in a trainer that holds the previous step's model, and gives the weights and the record
        (``seconds`` aside, which add up) that it would have given without a stop, to the bit. Only what training
        changes is kept: grown columns, the teacher, frozen word vectors and batches are made again, for they follow
        from the previous step's weights, from frozen weights, or from streams that are named by what they are for.

        Raises:
            FloatingPointError: the loss is not finite.
            UserError: a sentence is too long for the method, a word cannot be read, or the method leaves its contract.
        """
        record = self._learn(data, progress, checkpoint)
        self._take_up(self.learner.state_dict(), self._facts())
        return record

    def _learn(self, data: StepData, progress: Progress, checkpoint: Checkpoint | None) -> dict[str, Any]:
        started, recipe, learner = time.perf_counter(), self.recipe, self.learner
        needs = self._needs()
        remarks: list[str] = []
        shown = data.shown
        examples = self._examples(data.train, "train")
        gold = () if data.selection == "last" else data.dev
        dev = self._examples([s.only(()) for s in gold], "dev")  # no forward pass carries their labels to the method
        learner.enter(shown)
        teacher = self._teacher(examples) if "teacher" in needs and learner.n_old else None
        new = [t for t in data.types if t not in learner.head.types]
        # Where no type is new, the step tells streams apart that the types alone would make one.
        again = () if new else (data.step,)
        masks = stream(self.seed, "dropout", learner.architecture, data.types, *again)
        learner.encoder.masks.seed(masks)
        torch.manual_seed(masks)  # what hooks draw, and dropout of encoders that bring their own forward pass
        self._grow(new)
        stored = _shapes(learner)
        learner.begin_step(shown)
        _check_stored(learner, stored, "begin_step")
        plain = attributes(learner)
        if "all_embeddings" not in needs:
            learner.encoder.narrow(e.tokens for e in (*examples, *dev))

        epochs, size = recipe["epochs"], recipe["batch_size"]
        updates = epochs * math.ceil(len(examples) / size)
        warmup = min(recipe["warmup_updates"], int(recipe["warmup_share"] * updates))
        optimizer = AdamW(learner.parameter_groups(recipe["lr"], recipe["head_lr"], recipe["weight_decay"]))
        _check_groups(learner, optimizer)
        if data.selection != "last" and not any(s.mentions for s in gold):
            remarks.append("dev holds no mention of the step's types: the last epoch is kept")
        course = resumed(checkpoint, learner, optimizer)
        started -= course.seconds
        for epoch in range(course.epoch + 1, epochs + 1):
            restore(learner, plain)
            learner.train()
            learner.begin_epoch(epoch)
            _check_groups(learner, optimizer)
            if learner.encoder_frozen:
                examples, dev = self._with_vectors(examples), self._with_vectors(dev)
                learner.train()
            sums: dict[str, float] = defaultdict(float)
            batches = list(
                shuffled(
                    examples,
                    size,
                    generator(self.seed, "shuffle", data.labelled, epoch, *again),
                    recipe["pool"],
                    self.device,
                )
            )
            for batch in batches:
                losses = self._update(batch, teacher, optimizer, cosine(course.updates, warmup, updates))
                for name, value in losses.items():
                    sums[name] += value
                course.updates += 1
                done, total = course.updates, sum(losses.values())
                if not math.isfinite(total):
                    raise FloatingPointError(f"loss is {total} in step {data.step}, update {done}: {losses}")
                counts = {"epoch": epoch, "epochs": epochs, "update": done, "updates": updates, "loss": total}
                progress(counts | {"seconds": time.perf_counter() - started})
            score = self._dev_score(dev, gold, data.dev_labelled, data.selection, progress)
            course.end_epoch({name: value / len(batches) for name, value in sums.items()}, score, learner)
            if checkpoint and checkpoint.due():
                course.seconds = time.perf_counter() - started
                checkpoint.save(*state(course, learner, optimizer))
        if idle := [name for name, p in learner.named_parameters() if p.requires_grad and p not in optimizer.updated]:
            remarks += [f"no gradient reached {_some(idle)}: not learned"] if updates else []
        if course.best_score == 0:
            remarks.append("dev score 0 in every epoch: the first epoch is kept")
        learner.load_state_dict(course.best_weights)
        learner.encoder.widen()
        restore(learner, plain)
        learner.end_step(shown)
        _check_stored(learner, stored, "end_step, or an epoch,")
        return {
            "step": data.step,
            "updates": updates,
            "warmup_updates": warmup,
            "epochs": epochs,
            "selection": data.selection,
            "selected_epoch": course.selected,
            "dev_scores": course.dev_scores,
            "losses": course.losses,
            "seconds": time.perf_counter() - started,
            "examples": len(examples),
            "parameters": sum(p.numel() for p in learner.parameters()),
            "model_bytes": sum(value.nbytes for value in learner.state_dict().values()),
            "teacher": teacher.how if teacher else "none",
            "remarks": remarks,
        }

    def predict(self, sentences: Sequence[Sentence], progress: Progress = lambda _: None) -> list[list[Prediction]]:
        """Predicted mentions of each sentence. ``progress`` is called after each batch, with the words that
        are done, and may raise to stop.

        Raises:
            UserError: a sentence is too long for the method, or a word cannot be read.
        """
        return self._predict(self._examples(sentences, "to predict"), self.learner.head.types, progress)

    def save(self, folder: Path) -> None:
        """Write the learner after a step: ``model.safetensors`` and ``model.json``."""
        weights = {name: value.contiguous() for name, value in self.learner.state_dict().items()}
        safetensors.torch.save_file(weights, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps({"schema": 1, **self._facts()}))

    def load(self, folder: Path) -> None:
        """Take up a learner that ``save`` wrote."""
        facts = json.loads((folder / "model.json").read_text())
        self._take_up(safetensors.torch.load_file(folder / "model.safetensors"), facts)

    def _new_learner(self) -> Learner:
        torch.manual_seed(stream(self.seed, "modules", self.learner_class.architecture))  # modules of a method's own
        body = Encoder(encoder_info(self.encoder), self.recipe["max_length"])
        learner = self.learner_class(body, self.settings, self.recipe["dropout"], self.recipe["max_span_width"])
        learner.autocast = torch.bfloat16 if self.precision == "bf16" else None
        return learner.to(self.device)

    def _facts(self) -> dict[str, Any]:
        """Return what is stored of the learner beside its tensors."""
        return {"types": self.learner.grown, "frozen": self.learner.frozen_parameters}

    def _take_up(self, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put a learner that is made of what was stored in place of one that learned."""
        if self.learner.grown:
            self.learner = self._new_learner()
        for types in facts["types"]:
            self._grow(types)
        self.learner.load_state_dict(weights)
        self.learner.frozen_parameters = facts.get("frozen", ())  # older models do not say

    def _examples(self, sentences: Sequence[Sentence], part: str) -> list[Example]:
        if self.learner.architecture == "span" and not self.recipe["max_span_width"]:
            check_span_words(sentences, part)
        known = {} if self.tokens is None else self.tokens
        new = [s.words for s in sentences if s.words not in known]
        made = dict(zip(new, self.learner.encoder.tokeniser.tokenise(new), strict=True)) if new else {}
        return [Example(i, s, made.get(s.words) or known[s.words]) for i, s in enumerate(sentences)]

    def _needs(self) -> frozenset[Need]:
        if hasattr(self.learner, "needs_teacher"):  # of methods written for earlier versions
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

    def _update(self, batch: Batch, teacher: Teacher | None, optimizer: AdamW, rate: float) -> dict[str, float]:
        losses = self.learner.losses(batch, self.learner(batch), teacher(batch) if teacher else None)
        self.learner.zero_grad()  # of frozen weights too: stale gradients would count in the norm
        torch.stack(list(losses.values())).sum().backward()
        self.learner.after_backward()
        self.learner.encoder.check_gradient()
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.recipe["clip"])
        optimizer.step(rate)
        return {name: value.item() for name, value in losses.items()}

    def _teacher(self, examples: Sequence[Example]) -> Teacher:
        dtype = torch.float32 if self.recipe["exact"] else torch.float16
        return Teacher(self.learner, list(by_length(examples, EVALUATION_BUDGET, self.device)), dtype)

    def _with_vectors(self, examples: list[Example]) -> list[Example]:
        """The examples with their word vectors, unless they have them or these would take too much."""
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
        for batch, output in self._evaluate(examples):
            decoded = self.learner.decode(output.logits, batch.lengths, types, self.nested)
            found.update(zip([e.index for e in batch.examples], decoded, strict=True))
            words += sum(batch.lengths)
            progress({"predicted_words": words})
        return [found[e.index] for e in examples]

    def _evaluate(self, examples: Sequence[Example]) -> Iterator[tuple[Batch, Output]]:
        self.learner.eval()
        for batch in by_length(examples, EVALUATION_BUDGET, self.device):
            with torch.no_grad():
                output = self.learner(batch)
            yield batch, output

    def _dev_score(
        self,
        dev: Sequence[Example],
        gold: Sequence[Sentence],
        types: Sequence[str],
        selection: str,
        progress: Progress = lambda _: None,
    ) -> float | None:
        """Return ``macro``- or ``micro``-F1 (0..100) over ``types``, None where dev holds no mention of them.

        ``dev`` are the sentences to predict, ``gold`` the same ones with their labels.
        Only types in gold or predictions count. SpanKL (arXiv 2302.12200): old types play no role in choosing the
        epoch, so that a span of theirs takes no word from a new one here. CFNER (EMNLP 2022) pools the types.
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


def _shapes(learner: Learner) -> dict[str, torch.Size]:
    """Return the shapes of the tensors for which a new learner has a place; those in ``carried`` need none."""
    return {name: value.shape for name, value in learner.state_dict().items() if not name.startswith("carried.")}


def _check_stored(learner: Learner, stored: Mapping[str, torch.Size], where: str) -> None:
    """Raise UserError where a hook changed which tensors there are, or their shapes."""
    found = _shapes(learner)
    if changed := sorted(name for name in found.keys() | stored.keys() if found.get(name) != stored.get(name)):
        raise UserError(
            f"{type(learner).__name__}: {where} added, removed or reshaped {_some(changed)}: a stored model could not "
            "be loaded. Make modules and buffers in __init__ or grow, and keep other tensors in self.carried."
        )


def _check_groups(learner: Learner, optimizer: AdamW) -> None:
    """Raise UserError unless the optimiser knows each parameter that learns, once, and no others."""
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


def cosine(update: int, warmup: int, updates: int) -> float:
    """Share of the learning rate at ``update`` (from 0): linear warm-up, then half a cosine down to 0."""
    if update < warmup:
        return update / warmup
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, updates - warmup)))
