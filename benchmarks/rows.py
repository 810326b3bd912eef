"""The rows of `benchmarks/speed.py`: what is compared in each, what it must reach, and how it is measured."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks import grid, startup
from benchmarks.measure import by_turns, peak_bytes, per_round, seconds, spread
from benchmarks.steps import (
    ENCODER,
    EXACT,
    FEW,
    FOLDER,
    LIMITED,
    Compared,
    Products,
    Timed,
    coarse_steps,
    few_nerd,
    knowing,
    paper_recipe,
    plain_predict,
    plain_updates,
    updates,
)
from cl_ner_bench import registry
from cl_ner_bench.analysis.scores.scorer import count, f1, f1_scores
from cl_ner_bench.corpora.cards import list_cards, recipe
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output, StepData
from cl_ner_bench.learning.trainer import EVALUATION_BUDGET, Trainer
from cl_ner_bench.models.decoding import decode_spans
from cl_ner_bench.models.heads.span import span_count, span_index
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.sharing import work
from cl_ner_bench.testing.plain import Plain, Row, select, span_losses

MODES: Mapping[str, Mapping[str, Any]] = {"width 12": LIMITED, "exact": EXACT}
STEP = 3  # of the eight: two old types and a new one


@dataclass(frozen=True)
class Settings:
    """How much is measured. A round of training is ``updates`` of 32 sentences, one of evaluation ``sentences``."""

    data: Path
    rounds: int = 5
    updates: int = 4
    sentences: int = 256
    grid: tuple[str, ...] = ()  # options of the grid, beside its methods, orders and seeds

    @lru_cache  # noqa: B019  there is one of it
    def trained(self, method: str, precision: str, mode: str) -> tuple[Timed, Products, int]:
        """Updates of the suite, the plain path and the products of matrices; and the epochs of the recipe."""
        corpus, architecture = few_nerd(self.data), registry.methods()[method].architecture
        settings = paper_recipe(corpus, architecture, **MODES[mode])
        steps = coarse_steps(corpus, (self.rounds * self.updates + 1) * settings["batch_size"], STEP)
        products = Products(steps[-1], torch.bfloat16 if precision == "bf16" else torch.float32)
        compared: dict[str, Compared] = {"plain": plain_updates(settings, steps[-1]), "products": products}
        timed = updates(method, steps, settings, precision, compared)
        return timed, products, int(recipe(corpus.card, "paper", architecture)["epochs"])


Measure = Callable[[Settings], list[float]]


@dataclass(frozen=True)
class Figure:
    """A row. ``unit``: ``x`` and ``%`` (of a limit) are to be large, ``of``, ``s``, ``min`` and ``GB`` small."""

    key: str
    text: str
    unit: str
    measure: Measure = field(repr=False)
    bound: float | None = None
    aim: float | None = None
    slow: bool = False  # measured on demand only

    def shown(self, values: Sequence[float]) -> list[str]:
        """The cells of its Markdown row."""
        found = " / ".join(self._number(v) for v in spread(values)) if len(values) > 1 else self._number(values[0])
        limits = ["" if limit is None else self._number(limit) for limit in (self.bound, self.aim)]
        return [self.text, found, *limits, self.met(values), f"`{self.key}`"]

    def met(self, values: Sequence[float]) -> str:
        """Whether the median is within bound and aim."""
        if self.bound is None:
            return ""
        if not self._reaches(median(values), self.bound):
            return "**no**"
        return "yes, aim too" if self.aim is not None and self._reaches(median(values), self.aim) else "yes"

    def _reaches(self, value: float, limit: float) -> bool:
        return value >= limit if self.unit in ("x", "%") else value <= limit

    def _number(self, value: float) -> str:
        match self.unit:
            case "%":
                return f"{100 * value:.0f} %"
            case "of":
                return f"{value:.2f}"
            case unit:
                digits = 4 if unit == "s" and value < 0.1 else 2
                return f"{value:.{digits}f} {unit}"


# Training and evaluation


def training(method: str, precision: str, mode: str) -> Measure:
    """Steps of the plain path over steps of the suite, with their share of what the suite does once in a task."""

    def measure(s: Settings) -> list[float]:
        timed, _, epochs = s.trained(method, precision, mode)
        return per_round(timed.others["plain"], timed.whole(epochs), s.rounds)

    return measure


def share(precision: str, mode: str) -> Measure:
    """The time that the products of matrices of a step would take at torch's rate, over the step's."""

    def measure(s: Settings) -> list[float]:
        timed, products, _ = s.trained("spankl", precision, mode)
        return [products.factor * r for r in per_round(timed.others["products"], timed.suite, s.rounds)]

    return measure


def evaluation(precision: str, mode: str) -> Measure:
    def measure(s: Settings) -> list[float]:
        corpus = few_nerd(s.data, "fewnerd")
        trainer = knowing(corpus, "spankl", paper_recipe(corpus, "span", **MODES[mode]), precision)
        sentences = [sentence.only(()) for sentence in corpus.used("test")[: s.sentences]]
        return by_turns(plain_predict(trainer, sentences), lambda: trainer.predict(sentences), s.rounds)

    return measure


# The span head


@dataclass
class Heads:
    """Head and losses, forward and backward from word vectors, with ``K - 1`` old types and a new one.

    What teachers say is given to both paths.
    """

    lengths: Sequence[int]
    mode: str
    types: int = 66

    @cached_property
    def trainer(self) -> Trainer:
        card, names = registry.methods()["spankl"], tuple(f"T{n}" for n in range(self.types))
        settings = dict(recipe(list_cards()["fewnerd"], "paper", "span")) | {"epochs": 1, "pool": 1, **MODES[self.mode]}
        trainer = Trainer(registry.load_class(card), card.settings, settings, ENCODER, seed=0)
        few = tuple(Sentence(n, ("a", "b")) for n in range(FEW))
        trainer.learn(StepData(1, names[:-1], names[:-1], few, (), names[:-1], "last"))
        trainer.learn(StepData(2, names, names[-1:], few, (), names[-1:], "last"))
        return trainer

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Each with a mention of the new type."""
        mentions = (Mention(0, 1, f"T{self.types - 1}"),)
        return [Sentence(i, ("the",) * n, mentions) for i, n in enumerate(self.lengths)]

    def suite(self) -> Callable[[], None]:
        learner = self.trainer.learner
        tokens = learner.encoder.tokeniser.tokenise([s.words for s in self.sentences])
        batch = Batch(tuple(Example(i, s, t) for i, (s, t) in enumerate(zip(self.sentences, tokens, strict=True))))
        old = Output(torch.randn(self.types - 1, sum(learner.rows(self.lengths))).T)
        vectors = torch.randn(sum(self.lengths), learner.head.hidden_size)

        def call() -> None:
            words = vectors.detach().requires_grad_()
            found = learner.losses(batch, Output(learner.head(words, self.lengths), words), old)
            torch.stack(list(found.values())).sum().backward()
            learner.zero_grad()

        return call

    def plain(self) -> Callable[[], None]:
        model = Plain(self.trainer.learner, FOLDER)
        rows = [Row(s, [], [(0, 0)] * len(s.words)) for s in self.sentences]
        old = torch.randn(sum(span_count(n) for n in self.lengths), self.types - 1)
        vectors = pad_sequence([torch.randn(n, self.trainer.learner.head.hidden_size) for n in self.lengths], True)

        def call() -> None:
            words = vectors.detach().requires_grad_()
            found = span_losses(select(model.scores(words), rows), rows, model.types, model.types[-1:], old, 0)
            torch.stack(list(found.values())).sum().backward()
            model.zero_grad()

        return call


def natural_lengths(n: int, mean: float = 20.2) -> list[int]:
    """Words of random sentences, spread as OntoNotes' are (median 18, one in a hundred beyond 60)."""
    rng = random.Random(0)
    return [max(1, round(rng.gammavariate(2.4, mean / 2.4))) for _ in range(n)]


def head_time(lengths: Sequence[int], mode: str) -> Measure:
    def measure(s: Settings) -> list[float]:
        heads = Heads(lengths, mode)
        return by_turns(heads.plain(), heads.suite(), s.rounds)

    return measure


def head_memory(lengths: Sequence[int], mode: str) -> Measure:
    """Peak of what torch allocates; it does not vary."""

    def measure(_: Settings) -> list[float]:
        heads = Heads(lengths, mode)
        return [peak_bytes(heads.suite()) / peak_bytes(heads.plain())]

    return measure


# Decoding and scoring


def decoding(mode: str, n: int = 20_000, types: int = 6) -> Measure:
    """Logits of a model that finds a mention in most sentences, and in some of them another that overlaps it."""

    def measure(s: Settings) -> list[float]:
        names, width = [f"T{k}" for k in range(types)], MODES[mode]["max_span_width"]
        rng, batches, lengths = random.Random(0), [], sorted(natural_lengths(n))
        while lengths:
            some = [lengths.pop()]
            while lengths and sum(some) + lengths[-1] <= EVALUATION_BUDGET:
                some.append(lengths.pop())
            stored, at = torch.full((types, sum(span_count(length, width) for length in some)), -6.0), 0
            for length in some:
                for _ in range(rng.choice((0, 1, 1, 1, 2))):
                    start = rng.randrange(length)
                    end = min(length, start + rng.randint(1, 3))
                    stored[rng.randrange(types), at + span_index(start, end, length, width)] = rng.uniform(0.1, 6)
                at += span_count(length, width)
            batches.append((stored.T, some))

        def decode() -> None:
            for logits, some in batches:
                decode_spans(logits, some, names, False, width)

        return [seconds(decode) for _ in range(s.rounds + 1)][1:]

    return measure


def scoring(s: Settings, n: int = 100_000) -> list[float]:
    """From lists of mentions to F1. Micro and macro must equal seqeval's, strict."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    rng, types = random.Random(0), [f"T{k}" for k in range(6)]

    def mentions() -> list[tuple[int, int, str]]:
        starts = sorted(rng.sample(range(0, 18, 3), rng.choice((0, 1, 1, 2))))
        return [(start, start + rng.randint(1, 3), rng.choice(types)) for start in starts]

    gold = [mentions() for _ in range(n)]
    pred = [list(found) if rng.random() < 0.85 else mentions() for found in gold]
    counts: dict[str, list[int]] = {}

    def score() -> None:
        counts.update(count(gold, pred, types))

    spent = [seconds(score) for _ in range(s.rounds + 1)][1:]
    y_true, y_pred = ([_tags(found) for found in side] for side in (gold, pred))
    totals = torch.tensor(list(counts.values())).sum(0).tolist()
    for average, mine in (("micro", f1(*totals)), ("macro", f1_scores(list(counts.values())).mean())):  # type: ignore[arg-type]
        theirs = 100 * f1_score(y_true, y_pred, average=average, mode="strict", scheme=IOB2)
        if abs(mine - theirs) > 1e-9:
            sys.exit(f"{average}-F1 is {mine} here and {theirs} by seqeval")
    return spent


def _tags(mentions: Sequence[tuple[int, int, str]], words: int = 21) -> list[str]:
    tags = ["O"] * words
    for start, end, type in mentions:
        tags[start:end] = [f"B-{type}"] + [f"I-{type}"] * (end - start - 1)
    return tags


# Grids and processes


def sharing(_: Settings) -> list[float]:
    """Sentences that pass the models of the paper's grid of six orders, unshared over shared. Tasks are of one size."""
    card = list_cards()["ontonotes"]
    types = sorted(card.types)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "card.toml"
        tasks = "\n".join(f"{name} = {list(own)}".replace("'", '"') for name, own in card.tasks.items())
        file.write_text(
            f'name = "six"\nreader = "synthetic"\norders = {[list(order) for order in card.orders]}\n'
            f"[reader_options]\nsize = {{ train = 600, dev = 60, test = 60 }}\n[tasks]\n{tasks}\n"
        )
        runs = prepare({"dataset": str(file), "orders": "all", "out": f"{folder}/out", "joint_steps": "all"}).runs
        assert sorted(runs[0].split.types(6)) == types
        return [work(runs, shared=False).sentences / work(runs).sentences]


def worker_memory(s: Settings) -> list[float]:
    """Largest resident memory of a process of `bench run`: 800 sentences, eight steps, one epoch of batches of 32."""
    options = ["--methods", "spankl", "--bounds", "none", "--dataset", "fewnerd-coarse", "--data", str(s.data)]
    options += ["--max-sentences", "800", "--epochs", "1", "--batch-size", "32", "--keep-models", "none", "--jobs", "1"]
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cl_ner_bench", "run", *options, "--quiet", "--out", folder]
        found = subprocess.run([sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE)
    return [int(found.stdout) * 1024 / 1e9]


def start(s: Settings) -> list[float]:
    """Seconds by the clock from the command to the first gradients; the first round fills the cache."""
    options = argparse.Namespace(method="spankl", dataset="fewnerd-coarse", data=str(s.data), jobs=1)
    with tempfile.TemporaryDirectory() as folder:
        method = startup.write_method(options.method, Path(folder))
        rounds = [startup.one_round(options, method, Path(folder, f"round-{n}")) for n in range(s.rounds + 1)][1:]
    return [found["stamps"]["update"] - found["started"] for found in rounds]


def whole_grid(s: Settings) -> list[float]:
    return [grid.ratio(s.data, s.grid)]


def default_run(_: Settings) -> list[float]:
    """Minutes of `bench run` without options."""
    with tempfile.TemporaryDirectory() as folder:
        return [grid.clock([sys.executable, "-m", "cl_ner_bench", "run", "--quiet", "--out", folder]) / 60]


FOUR, NATURAL = [256] * 4, natural_lengths(32)
BINDING = "width 12"


def _figures() -> list[Figure]:
    found = []
    for precision, bound, aim in (("bf16", 5.0, 7.0), ("fp32", 3.3, 4.0)):
        for mode in MODES:
            limits = (bound, aim) if mode == BINDING else ()
            text = f"training step of `spankl`, {precision}, {mode}, against plain"
            found.append(Figure(f"train-{precision}", text, "x", training("spankl", precision, mode), *limits))
    for precision, bound, aim in (("fp32", 0.70, 0.85), ("bf16", 0.50, 0.70)):
        for mode in MODES:
            limits = (bound, aim) if mode == BINDING else ()
            text = f"share of the GEMM limit, {precision}, {mode}"
            found.append(Figure(f"share-{precision}", text, "%", share(precision, mode), *limits))
    for precision, bound, aim in (("fp32", 2.4, 3.5), ("bf16", 4.0, 6.0)):
        for mode in MODES:
            limits = (bound, aim) if mode == BINDING else ()
            text = f"evaluation, K=66, {precision}, {mode}, against plain"
            found.append(Figure(f"eval-{precision}", text, "x", evaluation(precision, mode), *limits))
    for precision, bound in (("bf16", 4.0), ("fp32", 2.8)):
        text = f"training step of `extendner`, {precision}, against plain"
        found.append(Figure(f"extendner-{precision}", text, "x", training("extendner", precision, BINDING), bound))
    for name, lengths in (("L=256, 4 sentences", FOUR), ("32 random sentences", NATURAL)):
        for mode, time, memory in ((BINDING, (3, 4), (0.4, 0.35)), ("exact", (2,), (0.5,))):
            times, peaks = (time, memory) if lengths is FOUR else ((), ())
            text = f"span head, K=66, {name}, {mode}, against plain L x L"
            found.append(Figure("head-time", f"{text}: time", "x", head_time(lengths, mode), *times))
            found.append(Figure("head-memory", f"{text}: memory", "of", head_memory(lengths, mode), *peaks))
    return [
        *found,
        Figure("f1", "F1 of 100,000 sentences, equal to seqeval", "s", scoring, 0.1, 0.01),
        Figure("decoding", "decoding 20,000 sentences, K=6, width 12", "s", decoding(BINDING), 0.15),
        Figure("decoding", "decoding 20,000 sentences, K=6, exact", "s", decoding("exact")),
        Figure("sharing", "training saved by sharing, SpanKL's OntoNotes grid", "x", sharing, 1.2),
        Figure("memory", "peak memory of a worker", "GB", worker_memory, 1.5, 1),
        Figure("start", "start of `bench run` to the first training step", "s", start, 6, 3),
        Figure("grid", "whole grid on 2 cores against the plain loop in one process", "x", whole_grid, 8, 12, True),
        Figure("default", "`bench run` without options", "min", default_run, 4, 2, True),
    ]


FIGURES = _figures()
