"""A learner with everything needed to train, store, load and apply it, step by step."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from cl_ner_bench.corpora.card import UNSTATED
from cl_ner_bench.corpora.limits import check_span_words
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Example, by_length
from cl_ner_bench.learning.checkpoint import Checkpoint
from cl_ner_bench.learning.contract import needs_of
from cl_ner_bench.learning.evaluation import ProgressCallback, predict
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.memory import Exemplar, Memory, Recall
from cl_ner_bench.learning.random_streams import generator, seed_global, stream
from cl_ner_bench.learning.step import EVALUATION_BUDGET
from cl_ner_bench.learning.step_training import Inputs, StepTraining
from cl_ner_bench.learning.teacher import Teacher
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.scenarios.task import StepData


class Trainer:
    """A learner with everything needed to train it step by step.

    Args:
        learner_class: the method.
        settings: the method's hyper-parameters.
        recipe: ``epochs``, ``batch_size``, ``lr`` (encoder), ``head_lr``, ``weight_decay``, ``clip`` (global gradient
            norm), ``dropout`` (word vectors), ``warmup_updates`` and ``warmup_share`` (the smaller of the two counts),
            ``max_length`` (sub-tokens of a window, with specials), ``max_span_width`` (words, 0: every span), ``pool``
            (batches whose sentences are sorted by length, 1: none), ``exact`` (keep teachers in float32). Others
            that ``corpora.card.HyperParameters`` lists default to ``UNSTATED``.
        encoder: a name or folder that ``encoder_info`` accepts.
        precision: ``fp32``, or ``bf16`` for autocast in the linear layers of the encoder and of the span head.
        nested: keep nested predictions of span methods.
        tokens: the sub-tokens of sentences that are already tokenised; all others are tokenised here.
        recall: a function that returns train sentences by id, for methods with a memory. Without it, a memory can hold
            only sentences that this trainer has learned itself.
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
        self.learned: dict[int, Sentence] = {}  # train sentences of this process, for use without ``recall``
        self.learner = self._new_learner()

    def learn(
        self, data: StepData, progress: ProgressCallback = lambda _: None, checkpoint: Checkpoint | None = None
    ) -> dict[str, Any]:
        """Learn one step and return its record, which is JSON-able.

        Afterwards ``learner`` is a new learner, made from what ``save`` stores, with the weights of the epoch that
        ``data.selection`` chose. So the next step is the same whether this process goes on or another one loads the
        model.

        Args:
            progress: called after each update (with the counts and the ``seconds`` of the step so far) and after each
                dev batch; may raise to stop.
            checkpoint: receives a snapshot at the end of an epoch whenever one is due. If it holds one, the step
                resumes after that epoch and gives, to the bit, the weights and the record of an uninterrupted step
                (``seconds`` add up). The snapshot holds only what training changes: grown columns, teacher, frozen
                word vectors and batches are recomputed from the previous model and from named random streams.

        Raises:
            FloatingPointError: the loss is not finite.
            UserError: a sentence is too long for the method, a word cannot be read, or the method breaks its contract.
        """
        started, learner = time.perf_counter(), self.learner
        needs = needs_of(learner)
        train = self._examples(data.train, "train")
        gold = () if data.selection == "last" else data.dev
        dev = self._examples([s.only(()) for s in gold], "dev")
        learner.enter(data.shown)
        teacher = self._teacher(train) if "teacher" in needs and learner.n_old else None
        remembered = self._remember(data) if "memory" in needs else []
        new = [t for t in data.types if t not in learner.head.types]
        # Streams are keyed by the types; a step without a new type needs its number to get streams of its own.
        revisit = () if new else (data.step,)
        dropout_seed = stream(self.seed, "dropout", learner.architecture, data.types, *revisit)
        learner.encoder.dropout.seed(dropout_seed)
        seed_global(dropout_seed, self.device)  # for hooks, and for the dropout of encoders with their own forward pass
        self._grow(new)
        inputs = Inputs(train, gold, dev, remembered, teacher)
        training = StepTraining(learner, data, inputs, self.recipe, self.seed, revisit, self.nested, started)
        record = training.run(progress, checkpoint)
        if "memory" in needs:
            record["memory"] = self._memory_size()
        self.set_state(*self.state())
        return record

    def predict(
        self, sentences: Sequence[Sentence], progress: ProgressCallback = lambda _: None
    ) -> list[list[Prediction]]:
        """Return the predicted mentions of each sentence.

        ``progress`` is called after each batch with the number of words so far, and may raise to stop.

        Raises:
            UserError: a sentence is too long for the method, or a word cannot be read.
        """
        examples = self._examples(sentences, "to predict")
        return predict(self.learner, examples, self.learner.head.types, self.nested, progress)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the learner after a step, for ``set_state``: its tensors, and its other facts (JSON-able)."""
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
        # A method's own modules draw their weights from the global streams.
        seed_global(stream(self.seed, "modules", self.learner_class.architecture), self.device)
        info = encoder_info(self.encoder).with_lowest(self.recipe["encoder_layers"])
        body = Encoder(info, self.recipe["max_length"])
        dropout, width = self.recipe["dropout"], self.recipe["max_span_width"]
        learner = self.learner_class(body, self.settings, dropout, width, self.recipe)
        learner.autocast = torch.bfloat16 if self.precision == "bf16" else None
        return self._moved(learner)

    def _moved(self, learner: Learner) -> Learner:
        return learner if self.device.type == "cpu" else learner.to(self.device)

    def _remember(self, data: StepData) -> list[Example]:
        """Supply the learner's memory with its sentences, and return them."""
        self.learned |= {s.id: s for s in data.train}
        memory = self.learner.memory
        remembered = self._examples(memory.sentences(self.recall or self.learned.__getitem__), "memory")
        memory.load(remembered, self.device)
        return remembered

    def _memory_size(self) -> dict[str, int]:
        """Return the size of the memory: sentences, labelled mentions, and bytes of text (UTF-8)."""
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

    def _head_stream(self, type: str) -> torch.Generator:
        return generator(self.seed, "head", self.learner.architecture, type)

    def _grow(self, types: Sequence[str]) -> None:
        self.learner.grow(types, self._head_stream)
        self.learner.grown.append(tuple(types))
        self._moved(self.learner)

    def _teacher(self, examples: Sequence[Example]) -> Teacher:
        dtype = torch.float32 if self.recipe["exact"] else torch.float16
        return Teacher(self.learner, list(by_length(examples, EVALUATION_BUDGET, self.device)), dtype)
