"""The training loop of one step, the same for every method."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.learning.streams import generator, stream
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.encoder import Encoder
from cl_ner_bench.models.encoder_info import encoder_info
from cl_ner_bench.models.limits import check_span_words
from cl_ner_bench.scenarios.task import StepData

EVALUATION_BUDGET = 1024
"""Sub-tokens in an evaluation batch: on a CPU, activations of more than that leave the cache."""

Progress = Callable[[dict[str, Any]], None]


class Trainer:
    """A learner and all that it needs to learn one step after the other.

    Args:
        learner_class: the method.
        settings: its hyper-parameters.
        recipe: ``epochs``, ``batch_size``, ``lr`` (encoder), ``head_lr``, ``weight_decay``, ``clip`` (global gradient
            norm), ``dropout`` (word vectors), ``warmup_updates`` and ``warmup_share`` (the smaller of the two counts),
            ``max_length`` (sub-tokens of a window, with specials).
        encoder: a name or folder as ``encoder_info`` knows it.
        precision: ``fp32``, or ``bf16`` for autocast in the encoder.
        nested: keep nested predictions of span methods.
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
    ) -> None:
        self.recipe, self.seed, self.nested = recipe, seed, nested
        self.device = torch.device(device)
        body = Encoder(encoder_info(encoder), recipe["max_length"])
        self.learner = learner_class(body, settings, recipe["dropout"]).to(self.device)
        self.learner.autocast = torch.bfloat16 if precision == "bf16" else None

    def learn(self, data: StepData, progress: Progress = lambda _: None) -> dict[str, Any]:
        """Learn one step; afterwards the learner holds the weights of the epoch that ``data.selection`` chose.

        ``progress`` is called after each update and may raise to stop. Returns a JSON-able record of what was done.

        Raises:
            FloatingPointError: the loss is not finite.
            UserError: a sentence is too long for the method, or a word cannot be read.
        """
        started, recipe, learner = time.perf_counter(), self.recipe, self.learner
        remarks: list[str] = []
        examples = self._examples(data.train, "train")
        dev = [] if data.selection == "last" else self._examples(data.dev, "dev")
        learner.enter(data)
        teacher = self._teacher_outputs(examples) if learner.needs_teacher and learner.n_old else {}
        # Where no type is new, the step tells streams apart that the types alone would make one.
        again = () if len(data.types) > len(learner.head.types) else (data.step,)
        self._grow(data)
        learner.begin_step(data)

        epochs, size = recipe["epochs"], recipe["batch_size"]
        updates = epochs * math.ceil(len(examples) / size)
        warmup = min(recipe["warmup_updates"], int(recipe["warmup_share"] * updates))
        groups = learner.parameter_groups(recipe["lr"], recipe["head_lr"], recipe["weight_decay"])
        optimizer = torch.optim.AdamW(groups, fused=True)
        schedule = get_cosine_schedule_with_warmup(optimizer, warmup, updates)
        # Dropout draws from torch's global stream.
        torch.manual_seed(stream(self.seed, "dropout", learner.architecture, data.types, *again))
        if data.selection != "last" and not any(s.mentions for s in data.dev):
            remarks.append("dev holds no mention of the step's types: the last epoch is kept")
        selected, best, best_weights, dev_scores = 0, -math.inf, {}, []
        means: dict[str, list[float]] = defaultdict(list)
        done = 0
        for epoch in range(1, epochs + 1):
            learner.train()
            learner.begin_epoch(epoch)
            sums: dict[str, float] = defaultdict(float)
            batches = list(shuffled(examples, size, generator(self.seed, "shuffle", data.labelled, epoch, *again)))
            for batch in batches:
                losses = self._update(batch, teacher, optimizer)
                schedule.step()
                for name, value in losses.items():
                    sums[name] += value
                done += 1
                total = sum(losses.values())
                if not math.isfinite(total):
                    raise FloatingPointError(f"loss is {total} in step {data.step}, update {done}: {losses}")
                progress({"epoch": epoch, "epochs": epochs, "update": done, "updates": updates, "loss": total})
            for name, value in sums.items():
                means[name].append(value / len(batches))
            score = self._dev_score(dev, data.dev_labelled, data.selection)
            dev_scores.append(score)
            if score is None or score > best:
                selected, best = epoch, -math.inf if score is None else score
                best_weights = {name: value.detach().clone() for name, value in learner.state_dict().items()}
        learner.load_state_dict(best_weights)
        learner.end_step(data)
        return {
            "step": data.step,
            "updates": updates,
            "warmup_updates": warmup,
            "epochs": epochs,
            "selection": data.selection,
            "selected_epoch": selected,
            "dev_scores": dev_scores,
            "losses": dict(means),
            "seconds": time.perf_counter() - started,
            "remarks": remarks,
        }

    def predict(self, sentences: Sequence[Sentence]) -> list[list[Prediction]]:
        """Predicted mentions of each sentence.

        Raises:
            UserError: a sentence is too long for the method, or a word cannot be read.
        """
        return self._predict(self._examples(sentences, "to predict"), self.learner.head.types)

    def save(self, folder: Path) -> None:
        """Write the learner after a step: ``model.safetensors`` and ``model.json``."""
        weights = {name: value.contiguous() for name, value in self.learner.state_dict().items()}
        safetensors.torch.save_file(weights, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps({"schema": 1, "types": self.learner.head.grown}))

    def load(self, folder: Path) -> None:
        """Take up a learner that ``save`` wrote."""
        for types in json.loads((folder / "model.json").read_text())["types"]:
            if types:
                self.learner.head.grow(types, self._head_stream)
        self.learner.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
        self.learner.to(self.device)

    def _examples(self, sentences: Sequence[Sentence], part: str) -> list[Example]:
        if self.learner.architecture == "span":
            check_span_words(sentences, part)
        tokens = self.learner.encoder.tokeniser.tokenise([s.words for s in sentences])
        return [Example(i, s, t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True))]

    def _head_stream(self, type: str) -> torch.Generator:
        return generator(self.seed, "head", self.learner.architecture, type)

    def _grow(self, data: StepData) -> None:
        if new := [t for t in data.types if t not in self.learner.head.types]:
            self.learner.head.grow(new, self._head_stream)
            self.learner.to(self.device)

    def _update(
        self, batch: Batch, teacher: Mapping[int, Tensor], optimizer: torch.optim.Optimizer
    ) -> dict[str, float]:
        old = torch.cat([teacher[e.index] for e in batch.examples]).to(self.device) if teacher else None
        losses = self.learner.losses(batch, self.learner(batch), None if old is None else Output(old))
        self.learner.zero_grad()  # of frozen weights too: stale gradients would count in the norm
        torch.stack(list(losses.values())).sum().backward()
        self.learner.after_backward()
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.recipe["clip"])
        optimizer.step()
        return {name: value.item() for name, value in losses.items()}

    def _teacher_outputs(self, examples: Sequence[Example]) -> dict[int, Tensor]:
        """Each sentence's logits of the previous step's selected model, which is the learner before it grows.

        Taken once per task in evaluation mode, over all spans or words (SpanKL, arXiv 2302.12200).
        """
        return {
            example.index: logits
            for batch, output in self._evaluate(examples)
            for example, logits in zip(
                batch.examples, output.logits.cpu().split(self.learner.rows(batch.lengths)), strict=True
            )
        }

    def _predict(self, examples: Sequence[Example], types: Sequence[str]) -> list[list[Prediction]]:
        found: dict[int, list[Prediction]] = {}
        for batch, output in self._evaluate(examples):
            decoded = self.learner.decode(output.logits, batch.lengths, types, self.nested)
            found.update(zip([e.index for e in batch.examples], decoded, strict=True))
        return [found[e.index] for e in examples]

    def _evaluate(self, examples: Sequence[Example]) -> Iterator[tuple[Batch, Output]]:
        self.learner.eval()
        for batch in by_length(examples, EVALUATION_BUDGET):
            with torch.no_grad():
                output = self.learner(batch)
            yield batch, output

    def _dev_score(self, dev: Sequence[Example], types: Sequence[str], selection: str) -> float | None:
        """``macro``- or ``micro``-F1 (0..100) over ``types``, None where dev holds no mention of them.

        Only types in gold or predictions count. SpanKL (arXiv 2302.12200): old types play no role in choosing the
        epoch, so that a span of theirs takes no word from a new one here. CFNER (EMNLP 2022) pools the types.
        """
        gold = {(e.index, *m) for e in dev for m in e.sentence.mentions if m.type in types}
        if not gold:
            return None
        found = {(e.index, *p[:3]) for e, ps in zip(dev, self._predict(dev, types), strict=True) for p in ps}
        scores = []
        for pooled in [types] if selection == "micro" else [[t] for t in types]:
            sides = [{m for m in side if m[3] in pooled} for side in (gold, found)]
            if total := sum(map(len, sides)):
                scores.append(200 * len(sides[0] & sides[1]) / total)
        return sum(scores) / len(scores)
