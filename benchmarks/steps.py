"""Training steps and evaluations of the suite and of other code, which start from the same weights and run by turns.

`python -m benchmarks.timing` measures them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, get_cosine_schedule_with_warmup  # noqa: F401 - imported here, so the time of `Plain` leaves it out

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.cards import recipe
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.learning.learner import Batch, Learner, Output, StepData
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.testing.plain import PROJECTION, Plain, Row, Training, predict, read
from cl_ner_bench.testing.timing import cpu_seconds

ENCODER = "minilm"
FOLDER = encoder_info(ENCODER).folder
FEW = 8  # sentences in the steps before the measured step; their scores do not matter
EXACT: Mapping[str, Any] = {"max_span_width": 0, "exact": True}
LIMITED: Mapping[str, Any] = {"max_span_width": 12, "exact": False}

Update = Callable[[Sequence[Sentence]], object]
Compared = Callable[[Learner, Plain | None, int], Update]
"""A function that makes an ``Update``. It gets the learner at the beginning of the step (which it must copy), the
learner's teacher and the number of updates."""


def first_steps(corpus: Corpus, n: int, last: int) -> list[StepData]:
    """Return steps 1 to ``last`` of the base order without dev: ``n`` train sentences in the last step, few before."""
    split = make_split(corpus)
    steps = [split.step_data(corpus, k) for k in range(1, last + 1)]
    return [replace(s, train=s.train[: n if s.step == last else FEW], dev=(), selection="last") for s in steps]


def paper_recipe(corpus: Corpus, architecture: str, **changes: Any) -> dict[str, Any]:
    """Return the paper's recipe with batches of 32, one epoch and then ``changes``."""
    return dict(recipe(corpus.card, "paper", architecture)) | {"batch_size": 32, "epochs": 1, "pool": 1} | changes


@dataclass
class Timed:
    """CPU seconds of each update except the first, for the suite and for the code that it is compared with.

    ``once``: the suite's CPU seconds before the first update of a step (tokens, the teacher's outputs, the optimiser).
    """

    suite: list[float]
    others: dict[str, list[float]]
    once: float

    def whole(self, epochs: int) -> list[float]:
        """Return the seconds of each update of the suite, with its share of ``once`` in a step of ``epochs`` epochs."""
        share = self.once / (epochs * (len(self.suite) + 1))
        return [spent + share for spent in self.suite]


def updates(
    method: str, steps: Sequence[StepData], settings: Mapping[str, Any], precision: str, others: Mapping[str, Compared]
) -> Timed:
    """Learn ``steps``, and time the last. After each of its updates, all ``others`` make one on the same batch."""
    card = registry.methods()[method]
    base: Any = method_code.load_class(card)
    n_updates = -(-len(steps[-1].train) // settings["batch_size"])
    teacher: Plain | None = None
    batches: list[list[Sentence]] = []
    turns: dict[str, Update] = {}
    spent: dict[str, list[float]] = {name: [] for name in ("suite", *others)}
    aside = began = 0.0  # seconds to set up ``others``, and the beginning of the suite's turn

    class Recorded(base):
        def begin_step(self, data: StepData) -> None:
            nonlocal aside
            super().begin_step(data)
            if data.step == steps[-1].step:
                aside -= time.process_time()
                for name, make in others.items():
                    turns[name] = make(self, teacher, n_updates)
                aside += time.process_time()

        def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
            batches.append([example.sentence for example in batch.examples])
            found: dict[str, Tensor] = super().losses(batch, output, teacher)
            return found

    trainer = Trainer(Recorded, card.settings, settings, ENCODER, seed=0, precision=precision)
    for data in steps[:-1]:
        trainer.learn(data)
    if len(steps) > 1 and "teacher" in trainer.learner.needs:
        teacher = Plain(trainer.learner, FOLDER)
    batches.clear()

    def progress(_: Mapping[str, Any]) -> None:
        nonlocal began
        spent["suite"].append(time.process_time() - began)
        for name, update in turns.items():
            spent[name].append(cpu_seconds(partial(update, batches[-1])))
        began = time.process_time()

    began = time.process_time()
    trainer.learn(steps[-1], progress)
    first, *suite = spent.pop("suite")
    once = max(0.0, first - aside - sum(suite) / len(suite))
    return Timed(suite, {name: times[1:] for name, times in spent.items()}, once)


def plain_updates(settings: Mapping[str, Any], data: StepData) -> Compared:
    """Return the plain path on the sentences of ``data``. It has spans of any width; its tokens are made beforehand."""

    def compared(learner: Learner, teacher: Plain | None, updates: int) -> Update:
        model = Plain(learner, FOLDER, settings["dropout"])
        training = Training(model, {**settings, "max_span_width": 0}, updates)
        rows = {row.sentence.id: row for row in read(data.train, FOLDER)}
        return lambda batch: training.update([rows[s.id] for s in batch], data.labelled, teacher)

    return compared


# The plain path with parts of the engine

TEACHER, UNPADDED, FUSED, MASKS = "teacher kept", "no padding", "fused AdamW", "cheap dropout"
PARTS = (TEACHER, UNPADDED, FUSED, MASKS, "words in use only")


class Kept:
    """A teacher that computes its outputs once. The plain path uses it like a model."""

    def __init__(self, teacher: Plain, rows: Sequence[Row]) -> None:
        teacher.eval()
        with torch.no_grad():
            self.outputs = {row.sentence.id: teacher.logits([row]) for row in rows}

    def eval(self) -> None:
        pass

    def logits(self, rows: Sequence[Row], width: int) -> Tensor:
        return torch.cat([self.outputs[row.sentence.id] for row in rows])


class TorchDropout(Dropout):
    """The dropout of torch."""

    def __call__(self, values: Tensor, p: float) -> Tensor:
        return F.dropout(values, p)


class Unpadded(Plain):
    """The plain path on top of the engine's encoder."""

    def __init__(self, learner: Learner, sentences: Sequence[Sentence], dropout: float, have: Sequence[str]) -> None:
        super().__init__(learner, FOLDER, dropout)
        encoder = Encoder(encoder_info(ENCODER))
        encoder.load_state_dict(learner.encoder.state_dict())
        tokens = encoder.tokeniser.tokenise([s.words for s in sentences])
        self.tokens = dict(zip([s.id for s in sentences], tokens, strict=True))
        encoder.dropout = Dropout() if MASKS in have else TorchDropout()
        if PARTS[-1] in have:
            encoder.restrict_embeddings(tokens)
        self.backbone, self.encoder, self.rate = encoder.backbone, encoder, dropout

    def words(self, rows: Sequence[Row]) -> Tensor:
        vectors = self.encoder([self.tokens[row.sentence.id] for row in rows])
        return pad_sequence(self.encoder.dropout(vectors, self.rate).split([len(row.first) for row in rows]), True)


def with_parts(settings: Mapping[str, Any], data: StepData, have: Sequence[str]) -> Compared:
    """Return the plain path with the parts of the engine that ``have`` names."""

    def compared(learner: Learner, teacher: Plain | None, n_updates: int) -> Update:
        assert teacher is not None
        dropout = settings["dropout"]
        rows = {row.sentence.id: row for row in read(data.train, FOLDER)}
        kept: Any = Kept(teacher, list(rows.values()))
        unpadded = UNPADDED in have
        model = Unpadded(learner, data.train, dropout, have) if unpadded else Plain(learner, FOLDER, dropout)
        training = Training(model, settings, n_updates, **({"fused": True} if FUSED in have else {}))
        return lambda batch: training.update([rows[s.id] for s in batch], data.labelled, kept)

    return compared


# The limit: the time of the matrix products alone


class Products:
    """The matrix products of training steps, without padding: forward and both gradients.

    FLOPs forward for t sub-tokens in a window, T sub-tokens in all windows, N words, S spans, K types, hidden size h
    and feed-forward size f:

        linear layers   2 T (4 h h + 2 h f) per layer; span head: 2 N h (100 K), tag head: 2 N h (1 + 2 K)
        attention       4 t t h per layer, summed over windows
        span scores     2 S 50 K

    Backward takes twice as many. Only the linear layers are timed, each by torch's matmul into allocated memory. The
    time of the other products follows from their FLOPs at the same rate.

    Args:
        data: the step that the batches come from.
        dtype: the number format of the products.
    """

    def __init__(self, data: StepData, dtype: torch.dtype) -> None:
        self.rows = {row.sentence.id: row for row in read(data.train, FOLDER)}
        self.dtype, self.buffers = dtype, [torch.randn(0, dtype=dtype)] * 6
        self.flops = self.beyond = 0  # FLOPs of the linear layers, and of the other products

    def __call__(self, learner: Learner, teacher: Plain | None, updates: int) -> Update:
        config = json.loads((FOLDER / "config.json").read_text())
        layers, hidden, inner = (config[k] for k in ("num_hidden_layers", "hidden_size", "intermediate_size"))
        sizes = [(hidden, hidden)] * 4 + [(hidden, inner), (inner, hidden)]
        columns = sum(p.numel() for p in learner.head.parameters() if p.ndim == 1)

        def products(batch: Sequence[Sentence]) -> None:
            windows = [len(window) for s in batch for window in self.rows[s.id].windows]
            lengths = [len(s.words) for s in batch]
            for n, n_in, n_out in [(sum(windows), *size) for size in sizes] * layers + [
                (sum(lengths), hidden, columns)
            ]:
                self._product(n, n_in, n_out)
                self.flops += 6 * n * n_in * n_out
            self.beyond += 12 * layers * hidden * sum(t * t for t in windows)
            if learner.architecture == "span":
                self.beyond += 6 * PROJECTION * learner.n_columns * sum(learner.rows(lengths))

        return products

    @property
    def factor(self) -> float:
        """Return all FLOPs divided by the FLOPs of the timed products."""
        return 1 + self.beyond / self.flops

    def _product(self, n: int, n_in: int, n_out: int) -> None:
        shapes = ((n, n_in), (n_out, n_in), (n, n_out), (n, n_out), (n, n_in), (n_out, n_in))
        inputs, weight, outputs, gradient, to_inputs, to_weight = (self._buffer(k, *s) for k, s in enumerate(shapes))
        torch.mm(inputs, weight.T, out=outputs)
        torch.mm(gradient, weight, out=to_inputs)
        torch.mm(gradient.T, inputs, out=to_weight)

    def _buffer(self, k: int, rows: int, columns: int) -> Tensor:
        if self.buffers[k].numel() < rows * columns:
            self.buffers[k] = torch.randn(rows * columns, dtype=self.dtype)
        return self.buffers[k][: rows * columns].view(rows, columns)


# Evaluation


def knowing(
    corpus: Corpus, method: str, settings: Mapping[str, Any], precision: str, predicted: float = 3.0
) -> Trainer:
    """Return a trainer that has learned all types of ``corpus`` from a few sentences.

    An untrained span head predicts half of all spans as mentions. Its biases are shifted until it predicts about
    ``predicted`` mentions per sentence, about as many as sentences have.
    """
    card = registry.methods()[method]
    trainer = Trainer(method_code.load_class(card), card.settings, settings, ENCODER, seed=0, precision=precision)
    types, sample = corpus.card.types, corpus.used("train")[:FEW]
    trainer.learn(StepData(1, types, types, sample, (), types, "last"))
    low, high = 0.0, 10.0
    for _ in range(12 if trainer.learner.architecture == "span" else 0):
        shift_head(trainer.learner, (low + high) / 2)
        many = sum(map(len, trainer.predict(sample))) > predicted * len(sample)
        low, high = ((low + high) / 2, high) if many else (low, (low + high) / 2)
    return trainer


@torch.no_grad()
def shift_head(learner: Learner, shift: float) -> None:
    """Set the biases of starts to ``shift`` and of ends to ``-shift``. This lowers the scores of spans."""
    for bias in (p for p in learner.head.parameters() if p.ndim == 1):
        bias.view(-1, 2, PROJECTION).copy_(torch.tensor([shift, -shift])[:, None])


def plain_predict(trainer: Trainer, sentences: Sequence[Sentence]) -> Callable[[], object]:
    """Return an evaluation by the plain path with the same weights. Its tokens are made beforehand."""
    model, rows = Plain(trainer.learner, FOLDER), read(sentences, FOLDER)
    return lambda: predict(model, rows)
