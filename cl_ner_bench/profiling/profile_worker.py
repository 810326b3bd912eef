"""The child process of `bench perf` that measures one method: ``python -m cl_ner_bench.profiling.profile_worker``

It reads a request from stdin and writes its measurements to stdout, both JSON. ``profiling.perf`` sets the number of
threads in its environment. It loads corpus and encoder as a worker does, and writes no file.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from cl_ner_bench import registry
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.heads.span import SpanHead
from cl_ner_bench.running.environment import peak_memory
from cl_ner_bench.running.from_record import new_trainer, read_corpus, set_arithmetic
from cl_ner_bench.scenarios.task import StepData, TaskSplit
from cl_ner_bench.storage.run_record import RunRecord

LEFT_OUT = 2
"""First updates of a step, which are not measured because they allocate memory and compile kernels."""

FEWEST, MOST, SECONDS = 3, 8, 3.0
"""Bounds of the number of measured updates, as many as fit into ``SECONDS``."""

PROFILED = 3
"""Updates under the profiler, after the measured updates because the profiler slows them down."""

PREDICTED = (16, 256)
"""Fewest and most sentences to predict."""

CALIBRATED = 32
"""Sentences used to find the shift of the scores of a hardly trained span head."""

GROUPS = {
    "matrix products": r"mm|addmm|bmm|baddbmm|_addmm_activation|\w*mkldnn\w*|_scaled_dot_product\w*",
    "softmax": r"_softmax|_softmax_backward_data",
    "activation, norm": r"gelu(_backward)?|native_layer_norm(_backward)?|relu|tanh(_backward)?|threshold_backward",
    "optimiser": r"_fused_adamw?_|_foreach_\w+|linalg_vector_norm|addcdiv_|addcmul_|lerp_",
    "copies, casts": r"copy_|cat|index|index_select|index_copy_|gather|embedding\w*|constant_pad_nd|fill_|zero_",
}
"""Patterns of torch's operations by purpose. The softmax belongs to attention. The report adds "other": dropout masks,
targets, Python, and the time between operations."""

CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}
"""Formulas for operations that ``FlopCounterMode`` does not count by itself."""


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent answers Ctrl-C
    request = json.load(sys.stdin)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a method may print
            found = measure(request)
    except UserError as error:
        found = {"error": str(error)}
    except Exception as error:
        why = next(iter(str(error).splitlines()), "")
        name = request["record"]["method"]
        found = {"error": f"{name} cannot be measured: {type(error).__name__}: {why} (`bench run` keeps a log of it)"}
    json.dump(found, sys.stdout)
    return 0


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rates, the share of the limit, the shares of time and the memory of one run.

    ``request`` holds the run's ``record`` and ``split``, the ``device``, the ``steps`` to measure, and the time at
    which the parent ``started`` this process. Only the last of the steps is measured with limit and profile.
    """
    record, steps = msgspec.convert(request["record"], RunRecord), request["steps"]
    card = registry.resolve([record.inputs["method"]])[0].card
    corpus = read_corpus(record)
    split = TaskSplit.from_json(request["split"], corpus)
    settings, encoder = record.settings | {"epochs": 1}, record.inputs["encoder"]
    set_arithmetic(settings["threads"], request["device"])
    make_trainer = partial(new_trainer, card, settings, encoder, record.seed, request["device"])
    trainer = make_trainer()
    assert trainer.learner.encoder.tokeniser  # made here, because its making must not count for the first step
    start = time.time() - request["started"]
    rows: list[dict[str, Any]] = []
    measured = FEWEST
    for step in steps:
        if rows and card.start == "pretrained":
            trainer = make_trainer()
        whole = split.step_data(corpus, step, card.is_cumulative, card.start == "pretrained")
        learned = Learned(trainer, whole, measured, step == steps[-1])
        if not learned.rows:
            raise UserError(f"{record.method} cannot be measured: it makes no updates; leave it out of --methods")
        rows.append({"step": step, **learned.rates()})
        measured = min(MOST, max(FEWEST, int(SECONDS / learned.seconds * measured)))
    test = split.test_part(corpus, steps[-1])
    fewest, most = PREDICTED
    n = int(SECONDS * rows[-1]["sentences_per_second"])  # a second or so: predicting is about three times as fast
    return {
        "training": rows,
        "prediction": {"step": steps[-1], **predict(trainer, sample(test, min(len(test), most, max(fewest, n))))},
        "limit": learned.limit.found(learned.own),
        "profile": learned.profile,
        "memory_bytes": learned.memory,
        "start_seconds": start,
    }


def sample(sentences: Sequence[Sentence], n: int) -> tuple[Sentence, ...]:
    """Return ``n`` random sentences. If there are fewer, repeat them."""
    again, rest = divmod(n, len(sentences))
    return (*sentences,) * again + (*Random(0).sample(sentences, rest),)


@dataclass(frozen=True)
class Update:
    """A measured update. ``own`` is its time according to ``own_time``."""

    seconds: float
    own: float
    sentences: int
    words: int
    sub_tokens: int


class Learned:
    """A step learned on a sample, measured in the progress callbacks of ``Trainer.learn``.

    Args:
        measured: the number of updates to measure, after ``LEFT_OUT`` unmeasured updates.
        full: also measure the share of the limit, and profile ``PROFILED`` more updates.

    Attributes:
        setup: the seconds before the first update, for tokens, a teacher's outputs or a frozen encoder's vectors.
        memory: the peak memory of the process in bytes, without the profiler.
    """

    def __init__(self, trainer: Trainer, data: StepData, measured: int, full: bool) -> None:
        self.device = trainer.device
        self.limit = Limit(trainer.learner)
        self.rows: list[Update] = []
        self.profile: dict[str, Any] = {}
        self.memory = 0
        self.setup = 0.0
        self._batch: Batch
        updates = LEFT_OUT + measured + (PROFILED if full else 0)
        self.sentences = sample(data.train, updates * trainer.recipe["batch_size"])
        began = now(self.device)

        # A function, not a method: a copy of the learner as teacher also copies its hooks.
        def see(learner: nn.Module, given: tuple[Batch]) -> None:
            if learner.training and not self.setup:
                self.setup = now(self.device) - began
            self._batch = given[0]

        hook = trainer.learner.register_forward_pre_hook(see)
        course = self._course(measured, full)
        next(course)
        trainer.learn(replace(data, train=self.sentences, dev=(), selection="last"), lambda _: next(course, None))
        hook.remove()

    def _course(self, measured: int, full: bool) -> Iterator[None]:
        """Measure between updates. Each ``yield`` is one update."""
        for _ in range(LEFT_OUT):
            yield
        for _ in range(measured):
            begin, own = now(self.device), own_time(self.device)
            yield
            spent = now(self.device) - begin, own_time(self.device) - own
            examples = self._batch.examples
            words, sub_tokens = sum(e.length for e in examples), sum(e.tokens.size for e in examples)
            self.rows.append(Update(*spent, len(examples), words, sub_tokens))
            if full:
                self.limit(self._batch)
        self.memory = peak_memory()
        if not full:
            return
        from torch.profiler import ProfilerActivity, profile

        cuda = [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
        with profile(activities=[ProfilerActivity.CPU, *cuda]) as profiler:
            begin = now(self.device)
            for _ in range(PROFILED):
                yield
            seconds = now(self.device) - begin
        self.profile = {"updates": PROFILED, "shares": shares(profiler, seconds, self.device.type)}

    @property
    def seconds(self) -> float:
        """The seconds of all measured updates."""
        return sum(row.seconds for row in self.rows)

    @property
    def own(self) -> float:
        """The sum of ``Update.own``."""
        return sum(row.own for row in self.rows)

    def rates(self) -> dict[str, Any]:
        """Return the rates over all measured updates, the slowest and fastest rate, and the counted amounts."""
        sentences, sub_tokens = (sum(getattr(row, key) for row in self.rows) for key in ("sentences", "sub_tokens"))
        single = [row.sentences / row.seconds for row in self.rows]
        return {
            "sentences_per_second": sentences / self.seconds,
            "slowest": min(single),
            "fastest": max(single),
            "sub_tokens_per_second": sub_tokens / self.seconds,
            "updates": len(self.rows),
            "left_out": LEFT_OUT,
            "sentences": sentences,
            "words": sum(row.words for row in self.rows),
            "sub_tokens": sub_tokens,
            "setup_seconds_per_sentence": self.setup / len(self.sentences),
            "own_share": self.own / self.seconds,
        }


class Limit:
    """The least time for the matrix products of updates, measured alternately with the updates.

    torch counts the FLOPs of a forward and a backward pass of the batch (2 for a multiplication and an addition). The
    rate of torch's matmul is measured on the products of the encoder's linear layers (outputs, gradient of the inputs,
    gradient of the weights), in the precision of the run, without padding, into allocated memory:

        share = FLOPs of the updates / rate / seconds of the updates

    The loss does not count. The limit is unknown for a frozen encoder, whose vectors are computed before the updates.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        layers = [part for part in learner.encoder.backbone.modules() if isinstance(part, nn.Linear)]
        self._sizes = Counter((layer.in_features, layer.out_features) for layer in layers)
        self.seconds = 0.0  # least time for the products of all updates
        self.flops = 0  # of all products of all updates
        self._timed = [0.0, 0.0]  # seconds and FLOPs of the timed products
        self._buffers = [torch.empty(0)] * 6

    @property
    def unknown(self) -> str:
        """The reason why the limit is unknown, or ''."""
        if not self._sizes:
            return "the encoder has no linear layers"
        return "the encoder is frozen" if self.learner.encoder_frozen else ""

    def __call__(self, batch: Batch) -> None:
        """Measure the products of the update that has just ended."""
        if self.unknown:
            return
        rows, device = sum(n for tokens in batch.tokens for n in tokens.windows), self.learner.device
        seconds, timed = 0.0, 0
        for (n_in, n_out), layers in self._sizes.items():
            products = self._products(rows, n_in, n_out)
            threads, clock = torch.get_num_threads(), partial(own_time, device)
            timer = Timer("products()", globals={"products": products}, num_threads=threads, timer=clock)
            seconds += layers * timer.timeit(1).mean
            timed += layers * 6 * rows * n_in * n_out
        flops = count_flops(self.learner, batch)
        self._timed = [self._timed[0] + seconds, self._timed[1] + timed]
        self.flops += flops
        self.seconds += seconds * flops / timed

    def _products(self, rows: int, n_in: int, n_out: int) -> Callable[[], None]:
        """Return a function that computes a linear layer's outputs and the gradients of its inputs and weights."""
        shapes = ((rows, n_in), (n_out, n_in), (rows, n_out), (rows, n_out), (rows, n_in), (n_out, n_in))
        inputs, weight, outputs, gradient, of_inputs, of_weight = (
            self._buffer(i, *shape) for i, shape in enumerate(shapes)
        )

        def compute() -> None:
            torch.mm(inputs, weight.T, out=outputs)
            torch.mm(gradient, weight, out=of_inputs)
            torch.mm(gradient.T, inputs, out=of_weight)

        return compute

    def _buffer(self, i: int, rows: int, columns: int) -> Tensor:
        if self._buffers[i].numel() < rows * columns:
            dtype = self.learner.autocast or torch.float32
            self._buffers[i] = torch.randn(rows * columns, device=self.learner.device).to(dtype)
        return self._buffers[i][: rows * columns].view(rows, columns)

    def found(self, seconds: float) -> dict[str, Any]:
        """Return the limit as a share of ``seconds``, the time of the updates."""
        if self.unknown:
            return {"share": None, "unknown": self.unknown}
        timed, flops = self._timed
        return {"share": self.seconds / seconds, "gflops": flops / timed / 1e9}


def count_flops(learner: Learner, batch: Batch) -> int:
    """Return the FLOPs of a forward and a backward pass. This changes the gradients of the parameters."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        learner(batch).logits.sum().backward()
    return int(counter.get_total_flops())


def shares(profiler: Any, seconds: float, kind: str) -> dict[str, float]:
    """Return the share of ``seconds`` for each group of operations, on a device of this ``kind``."""
    spent = dict.fromkeys(GROUPS, 0.0)
    for event in profiler.key_averages():
        name = event.key.removeprefix("aten::")
        group = next((group for group, pattern in GROUPS.items() if re.fullmatch(pattern, name)), None)
        if group and event.device_type == torch.autograd.DeviceType.CPU:  # kernels count with their callers
            micro = event.self_cpu_time_total if kind == "cpu" else event.self_device_time_total
            spent[group] += micro / 1e6 / seconds
    return spent | {"other": max(0.0, 1 - sum(spent.values()))}


def predict(trainer: Trainer, gold: Sequence[Sentence]) -> dict[str, Any]:
    """Measure the rate of predictions.

    After a few updates a span head predicts far too many mentions, and choosing among them takes time that a trained
    head does not need. So shift its logits until it predicts about as many mentions as ``gold`` holds.
    """
    head, bare = trainer.learner.head, [s.only(()) for s in gold]
    logits: list[Tensor] = []
    hook = head.register_forward_hook(lambda *given: logits.append(given[-1].flatten()))
    trainer.predict(bare[:CALIBRATED])
    hook.remove()
    if isinstance(head, SpanHead):
        values, mentions = torch.cat(logits), sum(len(s.mentions) for s in gold[:CALIBRATED])
        highest = values.topk(min(len(values), 1 + mentions)).values
        head.register_forward_hook(lambda *given: given[-1] - highest[-1])
    begin = now(trainer.device)
    trainer.predict(bare)
    seconds = now(trainer.device) - begin
    words = sum(len(s.words) for s in bare)
    return {"sentences_per_second": len(bare) / seconds, "sentences": len(bare), "words": words}


def now(device: torch.device) -> float:
    """Wait for the device and return the clock time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def own_time(device: torch.device) -> float:
    """Return processor seconds if one thread computes, because other processes hardly disturb them; else ``now``."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else now(device)


if __name__ == "__main__":
    sys.exit(main())
