"""Speed of the engine against the plain path: python -m benchmarks.timing --data PATH

PATH is the folder of Few-NERD (train, dev and test files). The output is the Markdown table of docs/performance.md:
figure | min / median / max | bound | aim | met | key. The plain path is cl_ner_bench/testing/plain.py: padded random
batches of 32, the teacher at every step, fp32, stock AdamW. Ratios are of CPU times, measured by turns in one process
with one thread, in the environment of the suite's workers. Each round makes `--updates` training steps or evaluates
`--sentences` sentences. For the growth of costs with the corpus see `python -m benchmarks.scaling stages`.

    --only train,eval     measure the rows whose keys begin with these words; slow rows (grid, default) need this
    --grid "OPTIONS"      use these `bench run` options for the size of the row `grid`
    --json FILE           store every value, with the machine and the versions
    --techniques          measure each technique, from the plain path to the full engine. Each stage keeps the earlier
                          techniques. Work done once per task does not count. Writes docs/performance.csv and .png.
    --draw                draw the figure of --techniques again from docs/performance.csv
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.figure import Figure as Drawing
from torch.nn.utils.rnn import pad_sequence

from benchmarks.steps import (
    ENCODER,
    EXACT,
    FEW,
    FOLDER,
    LIMITED,
    PARTS,
    Compared,
    Products,
    Timed,
    first_steps,
    knowing,
    paper_recipe,
    plain_predict,
    plain_updates,
    updates,
    with_parts,
)
from cl_ner_bench import HOME, method_code, registry
from cl_ner_bench.analysis.figures.style import BLUE, COLUMN, RC, RED
from cl_ner_bench.analysis.scores.scorer import count
from cl_ner_bench.corpora.cards import list_cards, recipe
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output, StepData
from cl_ner_bench.learning.step import EVALUATION_BUDGET
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.decoding import decode_spans
from cl_ner_bench.models.heads.span import span_count, span_index
from cl_ner_bench.running.environment import hardware, versions
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.runs import work
from cl_ner_bench.testing.plain import Plain, Row, Training, predict, read, score, select, span_losses
from cl_ner_bench.testing.timing import as_a_worker, by_turns, cpu_seconds, peak_bytes, per_round, spread

BINDING = "width 12"
MODES: Mapping[str, Mapping[str, Any]] = {BINDING: LIMITED, "exact": EXACT}
STEP = 3  # of eight steps: two old types and a new one
BENCH = [sys.executable, "-m", "cl_ner_bench", "run", "--quiet"]


@dataclass(frozen=True)
class Settings:
    """The size of a measurement. A round makes ``updates`` training steps or evaluates ``sentences`` sentences."""

    dataset: str = "fewnerd-coarse"
    data: Path | None = None
    rounds: int = 5
    updates: int = 4
    sentences: int = 256
    batch_size: int = 32
    grid: tuple[str, ...] = ()  # options of the row `grid` besides ``GRID``

    def corpus(self, name: str = "") -> Corpus:
        return load_corpus(name or self.dataset, self.data)

    @lru_cache  # noqa: B019  there is a single instance
    def trained(self, method: str, precision: str, mode: str) -> tuple[Timed, Products, int]:
        """Return timed updates of the suite and of other code, the matrix products, and the epochs of the recipe."""
        corpus, architecture = self.corpus(), registry.methods()[method].architecture
        settings = paper_recipe(corpus, architecture, **MODES[mode], batch_size=self.batch_size)
        steps = first_steps(corpus, (self.rounds * self.updates + 1) * settings["batch_size"], STEP)
        products = Products(steps[-1], torch.bfloat16 if precision == "bf16" else torch.float32)
        compared: dict[str, Compared] = {"plain": plain_updates(settings, steps[-1]), "products": products}
        timed = updates(method, steps, settings, precision, compared)
        return timed, products, int(recipe(corpus.card, "paper", architecture)["epochs"])


Measure = Callable[[Settings], list[float]]
Limits = tuple[float, ...]  # bound and aim


@dataclass(frozen=True)
class Figure:
    """A row. Larger values are better if ``unit`` is ``x`` or ``%`` (of a limit), smaller values for other units."""

    key: str
    text: str
    unit: str
    measure: Measure = field(repr=False)
    bound: float | None = None
    aim: float | None = None
    slow: bool = False  # measured only on demand

    def shown(self, values: Sequence[float]) -> list[str]:
        """Return the cells of the Markdown row."""
        found = " / ".join(self._number(v) for v in spread(values)) if len(values) > 1 else self._number(values[0])
        limits = ["" if limit is None else self._number(limit) for limit in (self.bound, self.aim)]
        return [self.text, found, *limits, self.met(values), f"`{self.key}`"]

    def met(self, values: Sequence[float]) -> str:
        """Return a text that says if the median reaches the bound and the aim."""
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
    """Measure the time of plain updates divided by the suite's, which include their share of the work per task."""

    def measure(s: Settings) -> list[float]:
        timed, _, epochs = s.trained(method, precision, mode)
        return per_round(timed.others["plain"], timed.whole(epochs), s.rounds)

    return measure


def share(precision: str, mode: str) -> Measure:
    """Measure the time of an update's matrix products at torch's rate, divided by the time of the update."""

    def measure(s: Settings) -> list[float]:
        timed, products, _ = s.trained("spankl", precision, mode)
        return [products.factor * r for r in per_round(timed.others["products"], timed.suite, s.rounds)]

    return measure


def evaluation(precision: str, mode: str) -> Measure:
    def measure(s: Settings) -> list[float]:
        corpus = s.corpus("fewnerd" if s.dataset == "fewnerd-coarse" else "")
        trainer = knowing(corpus, "spankl", paper_recipe(corpus, "span", **MODES[mode]), precision)
        sentences = [sentence.only(()) for sentence in corpus.used("test")[: s.sentences]]
        return by_turns(plain_predict(trainer, sentences), lambda: trainer.predict(sentences), s.rounds)

    return measure


# The span head


@dataclass
class Heads:
    """Head and losses, forward and backward from word vectors, with ``types - 1`` old types and one new type.

    The suite and the plain path both get made-up outputs of the teacher.
    """

    lengths: Sequence[int]
    mode: str
    types: int = 66

    @cached_property
    def trainer(self) -> Trainer:
        card, names = registry.methods()["spankl"], tuple(f"T{n}" for n in range(self.types))
        settings = dict(recipe(list_cards()["fewnerd"], "paper", "span")) | {"epochs": 1, "pool": 1, **MODES[self.mode]}
        trainer = Trainer(method_code.load_class(card), card.settings, settings, ENCODER, seed=0)
        few = tuple(Sentence(n, ("a", "b")) for n in range(FEW))
        trainer.learn(StepData(1, names[:-1], names[:-1], few, (), names[:-1], "last"))
        trainer.learn(StepData(2, names, names[-1:], few, (), names[-1:], "last"))
        return trainer

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Return sentences of ``lengths`` words with one mention of the new type each."""
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
    """Return ``n`` random sentence lengths, distributed as in OntoNotes (median 18; one in a hundred is above 60)."""
    rng = random.Random(0)
    return [max(1, round(rng.gammavariate(2.4, mean / 2.4))) for _ in range(n)]


def head_time(lengths: Sequence[int], mode: str) -> Measure:
    def measure(s: Settings) -> list[float]:
        heads = Heads(lengths, mode)
        return by_turns(heads.plain(), heads.suite(), s.rounds)

    return measure


def head_memory(lengths: Sequence[int], mode: str) -> Measure:
    """Measure the peak of torch's allocated memory, divided by the plain path's. It does not vary."""

    def measure(_: Settings) -> list[float]:
        heads = Heads(lengths, mode)
        return [peak_bytes(heads.suite()) / peak_bytes(heads.plain())]

    return measure


# Decoding and scoring


def decoding(mode: str, n: int = 20_000, types: int = 6) -> Measure:
    """Measure the seconds of decoding. Most sentences have one mention, some none and some two, which may overlap."""

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

        return [cpu_seconds(decode) for _ in range(s.rounds + 1)][1:]

    return measure


def scoring(s: Settings, n: int = 100_000) -> list[float]:
    """Return the seconds to count matches from lists of mentions. All F1 follow from these counts."""
    rng, types = random.Random(0), [f"T{k}" for k in range(6)]

    def mentions() -> list[tuple[int, int, str]]:
        starts = sorted(rng.sample(range(0, 18, 3), rng.choice((0, 1, 1, 2))))
        return [(start, start + rng.randint(1, 3), rng.choice(types)) for start in starts]

    gold = [mentions() for _ in range(n)]
    pred = [list(found) if rng.random() < 0.85 else mentions() for found in gold]
    return [cpu_seconds(lambda: count(gold, pred, types)) for _ in range(s.rounds + 1)][1:]


# Grids and processes


def sharing(_: Settings) -> list[float]:
    """Return the sentences that pass the models of SpanKL's grid of six orders: unshared divided by shared."""
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
    """Return the peak resident memory (GB) of a `bench run` process: 800 sentences, eight steps, batches of 32."""
    options = ["--methods", "spankl", "--bounds", "none", "--dataset", "fewnerd-coarse", "--data", str(s.data)]
    options += ["--max-sentences", "800", "--epochs", "1", "--batch-size", "32", "--keep-models", "none", "--jobs", "1"]
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, *BENCH, *options, "--out", folder]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return [int(found.stdout) * 1024 / 1e9]


STAMP = """

def _stamped(learner):
    import time
    from pathlib import Path

    class Stamped(learner):
        def after_backward(self):
            super().after_backward()
            file = Path({file!r})
            if not file.exists():
                file.write_text(str(time.time()))

    return Stamped


{name} = _stamped({name})
"""


def start(s: Settings) -> list[float]:
    """Return the clock seconds from the command to the first gradients. A first round only fills the cache."""
    card, found = registry.methods()["spankl"], []
    with tempfile.TemporaryDirectory() as folder:
        method, stamp = Path(folder, "stamped.py"), Path(folder, "stamp")
        method.write_text(card.file.read_text() + STAMP.format(name=card.class_name, file=str(stamp)))
        options = ["--methods", f"stamped={method}:spankl", "--bounds", "none", "--epochs", "1", "--jobs", "1"]
        options += ["--dataset", "fewnerd-coarse", "--data", str(s.data)]
        for n in range(s.rounds + 1):
            stamp.unlink(missing_ok=True)
            begin = time.time()
            process = subprocess.Popen([*BENCH, *options, "--out", f"{folder}/{n}"], stdout=subprocess.DEVNULL)
            while not stamp.exists() and process.poll() is None:
                time.sleep(0.05)
            process.terminate()
            process.wait()
            found.append(float(stamp.read_text()) - begin)
    return found[1:]


def default_run(_: Settings) -> list[float]:
    """Return the minutes of `bench run` without options."""
    with tempfile.TemporaryDirectory() as folder:
        return [clock([*BENCH, "--out", folder]) / 60]


def clock(command: Sequence[str]) -> float:
    """Return the clock seconds of a command with one thread."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=HOME, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - begin


# A whole grid: `bench run` against the plain loop, which runs in one process with one thread and shares no steps. Both
# learn all steps of all runs. Both evaluate dev after each epoch and the test set after each step. The plain loop uses
# fp32 and writes nothing.

GRID = [
    "--methods",
    "spankl,extendner,joint-span,joint-token",
    "--dataset",
    "fewnerd-coarse",
    "--orders",
    "0,1",
    "--seeds",
    "0,1",
]
SAMPLE = ("--max-sentences", "800", "--epochs", "2", "--batch-size", "32", "--joint-steps", "last",
          "--precision", "bf16", "--max-span-width", "12")  # fmt: skip


def whole_grid(s: Settings) -> list[float]:
    """Return the time of the plain loop divided by the time of the suite."""
    options = [*(s.grid or SAMPLE)]
    with tempfile.TemporaryDirectory() as folder:
        suite = clock([*BENCH, *GRID, "--data", str(s.data), *options, "--out", folder])
    command = [sys.executable, "-m", "benchmarks.timing", "--data", str(s.data), "--plain-grid", shlex.join(options)]
    plain = clock(command)
    print(f"grid: {suite:.0f} s against {plain:.0f} s of the plain loop", file=sys.stderr)
    return [plain / suite]


def plain_grid(s: Settings) -> None:
    """Learn and evaluate all runs of the grid by the plain path, one after another."""
    words = [*GRID, *s.grid]
    given = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare({**given, "data": str(s.data), "out": folder})
    settings = prepared.runs[0].record.settings
    corpus = load_corpus("fewnerd-coarse", s.data, None, settings["max_sentences"], settings["split_seed"])
    for run in prepared.runs:
        learn_plainly(run, corpus)


def learn_plainly(run: Any, corpus: Corpus) -> None:
    """Learn all steps of a run by the plain path."""
    card, recipe = registry.methods()[run.record.method], run.record.settings | {"max_span_width": 0}

    def new() -> Plain:
        trainer = Trainer(method_code.load_class(card), card.settings, recipe, ENCODER, run.record.seed)
        return Plain(trainer.learner, FOLDER, recipe["dropout"])

    model, rng = new(), random.Random(run.record.seed)
    for step in run.record.steps:
        data = run.split.step_data(corpus, step, card.is_cumulative)
        teacher = None
        if card.start == "pretrained":
            model = new()
        elif step > 1:
            teacher = copy.deepcopy(model)
        model.grow([type for type in data.types if type not in model.types])
        train, dev = read(data.train, FOLDER), read(data.dev, FOLDER)
        training = Training(model, recipe, recipe["epochs"] * math.ceil(len(train) / recipe["batch_size"]))
        best, kept = -1.0, copy.deepcopy(model.state_dict())
        for _ in range(recipe["epochs"]):
            model.train()
            for batch in batches(train, recipe["batch_size"], rng):
                training.update(batch, data.labelled, teacher)
            found = macro_f1(score(dev, predict(model, dev, data.dev_labelled), data.dev_labelled))
            if found > best:
                best, kept = found, copy.deepcopy(model.state_dict())
        model.load_state_dict(kept)
        test = read(run.split.test_part(corpus, step), FOLDER)
        score(test, predict(model, test), data.types)


def batches(rows: Sequence[Any], size: int, rng: random.Random) -> Iterator[list[Any]]:
    order = rng.sample(range(len(rows)), len(rows))
    for start in range(0, len(order), size):
        yield [rows[i] for i in order[start : start + size]]


def macro_f1(counts: dict[str, list[int]]) -> float:
    """Return the macro-F1 over types with a gold or a predicted mention."""
    scores = [200 * tp / (2 * tp + fp + fn) for tp, fp, fn in counts.values() if tp + fp + fn]
    return sum(scores) / len(scores) if scores else 0.0


def _figures() -> list[Figure]:
    found = []

    def both(
        key: str, text: str, unit: str, measure: Callable[[str], Measure], binding: Limits, exact: Limits = ()
    ) -> None:
        """Add a row for each mode, with its bound and aim."""
        for mode, limits in ((BINDING, binding), ("exact", exact)):
            found.append(Figure(key, text.format(mode), unit, measure(mode), *limits))

    for precision, limits in (("bf16", (5.0, 7.0)), ("fp32", (3.3, 4.0))):
        text = f"training step of `spankl`, {precision}, {{}}, against plain"
        both(f"train-{precision}", text, "x", partial(training, "spankl", precision), limits)
    for precision, limits in (("bf16", (0.50, 0.70)), ("fp32", (0.70, 0.85))):
        both(
            f"share-{precision}", f"share of the GEMM limit, {precision}, {{}}", "%", partial(share, precision), limits
        )
    for precision, limits in (("bf16", (4.0, 6.0)), ("fp32", (2.4, 3.5))):
        text = f"evaluation, K=66, {precision}, {{}}, against plain"
        both(f"eval-{precision}", text, "x", partial(evaluation, precision), limits)
    for precision, bound in (("bf16", 4.0), ("fp32", 2.8)):
        text = f"training step of `extendner`, {precision}, against plain"
        found.append(Figure(f"extendner-{precision}", text, "x", training("extendner", precision, BINDING), bound))
    for name, lengths in (("L=256, 4 sentences", [256] * 4), ("32 random sentences", natural_lengths(32))):
        text, bounded = f"span head, K=66, {name}, {{}}, against plain L x L", len(lengths) == 4
        limited: tuple[Limits, ...] = ((3, 4), (2,)) if bounded else ((), ())
        both("head-time", f"{text}: time", "x", partial(head_time, lengths), *limited)
        limited = ((0.4, 0.35), (0.5,)) if bounded else ((), ())
        both("head-memory", f"{text}: memory", "of", partial(head_memory, lengths), *limited)
    both("decoding", "decoding 20,000 sentences, K=6, {}", "s", decoding, (0.15,))
    return [
        *found,
        Figure("f1", "F1 of 100,000 sentences", "s", scoring, 0.1, 0.01),
        Figure("sharing", "training saved by sharing, SpanKL's OntoNotes grid", "x", sharing, 1.2),
        Figure("memory", "peak memory of a worker", "GB", worker_memory, 1.5, 1),
        Figure("start", "start of `bench run` to the first training step", "s", start, 6, 3),
        Figure("grid", "whole grid on 2 cores against the plain loop in one process", "x", whole_grid, 8, 12, True),
        Figure("default", "`bench run` without options", "min", default_run, 4, 2, True),
    ]


FIGURES = _figures()


# The gain of each technique

HEAD, HALF = "span head and losses", "bf16"
STAGES = ("plain", *PARTS, HEAD, BINDING, HALF)


def techniques(s: Settings) -> pd.DataFrame:
    """Return a row per stage with its speed over the plain path: minimum, median and maximum over rounds."""
    corpus = s.corpus()
    exact, limited = (paper_recipe(corpus, "span", **mode) for mode in (EXACT, LIMITED))
    steps = first_steps(corpus, 32 * (s.rounds * s.updates + 1), STEP)
    plain = {"plain": plain_updates(exact, steps[-1])}
    parts = {stage: with_parts(exact, steps[-1], PARTS[: k + 1]) for k, stage in enumerate(PARTS)}
    found = {"plain": [1.0] * s.rounds}
    for stage, settings, precision, others in (
        (HEAD, exact, "fp32", {**plain, **parts}),
        (BINDING, limited, "fp32", plain),
        (HALF, limited, "bf16", plain),
    ):
        timed = updates("spankl", steps, settings, precision, others)
        found |= {name: per_round(timed.others["plain"], times, s.rounds) for name, times in timed.others.items()}
        found[stage] = per_round(timed.others["plain"], timed.suite, s.rounds)
    return pd.DataFrame([(stage, *spread(found[stage])) for stage in STAGES], columns=["stage", "min", "median", "max"])


def draw(frame: pd.DataFrame) -> Drawing:
    """Draw a bar per stage from the previous median to its own (red if slower). Whiskers: minimum to maximum."""
    figure = Drawing(figsize=(COLUMN, 2.4), layout="constrained")
    ax = figure.subplots()
    before = [0.0, *frame["median"][:-1]]
    places = range(len(frame))
    gain = frame["median"] - before
    ax.barh(places, gain, left=before, color=[BLUE if more >= 0 else RED for more in gain], height=0.6)
    ax.errorbar(
        frame["median"],
        places,
        xerr=[frame["median"] - frame["min"], frame["max"] - frame["median"]],
        fmt="none",
        ecolor="black",
        elinewidth=0.6,
        capsize=2,
    )
    for place, (middle, most) in enumerate(zip(frame["median"], frame["max"], strict=True)):
        ax.annotate(f"{middle:.1f}x", (most, place), (3, 0), textcoords="offset points", va="center", fontsize=6)
    ax.set_yticks(places, [stage if n == 0 else f"+ {stage}" for n, stage in enumerate(frame["stage"])])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * frame["max"].max())
    ax.set_xlabel("speed of a training step over the plain path")
    return figure


def show_techniques(settings: Settings | None) -> None:
    """Measure the techniques (unless ``settings`` is None), draw the figure and print the table."""
    table = HOME / "docs" / "performance.csv"
    if settings:
        techniques(settings).to_csv(table, index=False, float_format="%.3f")
    frame = pd.read_csv(table)
    with mpl.rc_context(RC):
        draw(frame).savefig(table.with_suffix(".png"))
    print("| stage | min / median / max |\n|---|---:|")
    for stage, *values in frame.itertuples(index=False):
        print(f"| {stage} | {' / '.join(f'{value:.2f}' for value in values)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the Few-NERD files")
    parser.add_argument(
        "--dataset",
        default="fewnerd-coarse",
        help="corpus of the training and evaluation rows (with the default, evaluation uses fewnerd)",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=4, help="training steps per round")
    parser.add_argument("--sentences", type=int, default=256, help="sentences evaluated per round")
    parser.add_argument(
        "--batch-size", type=int, default=32, help="batch size of training, for the suite and the plain path"
    )
    parser.add_argument("--only", default="", help="beginnings of row keys, separated by commas")
    parser.add_argument("--grid", default="", help="`bench run` options of the row `grid`")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--techniques", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--plain-grid", help=argparse.SUPPRESS)
    given = parser.parse_args()
    as_a_worker()
    torch.set_num_threads(1)
    data = given.data and given.data.resolve()
    grid = tuple(shlex.split(given.plain_grid or given.grid))
    settings = Settings(given.dataset, data, given.rounds, given.updates, given.sentences, given.batch_size, grid)
    if given.plain_grid is not None:
        return plain_grid(settings)
    if given.techniques or given.draw:
        return show_techniques(None if given.draw else settings)
    wanted = tuple(given.only.split(",")) if given.only else ()
    chosen = [f for f in FIGURES if (f.key.startswith(wanted) if wanted else not f.slow)]
    if not chosen:
        parser.error(f"--only: no row begins so; there are {', '.join(dict.fromkeys(f.key for f in FIGURES))}")
    print("| figure | min / median / max | bound | aim | met | `--only` |\n|---|---:|---:|---:|---|---|")
    rows = []
    for figure in chosen:
        values = figure.measure(settings)
        print("| " + " | ".join(figure.shown(values)) + " |", flush=True)
        row = {"key": figure.key, "figure": figure.text, "unit": figure.unit, "values": values}
        rows.append(row | {"bound": figure.bound, "aim": figure.aim, "met": figure.met(values)})
    if given.json:
        about = {"schema": 1, "machine": hardware(), "versions": versions(), "command": sys.argv[1:]}
        given.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
