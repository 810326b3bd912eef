"""Growth of costs with the size of corpus, grid and cluster: python -m benchmarks.scaling KIND ...

    stages    CPU time per sentence of each stage except the encoder, for 1,000 to 100,000 sentences
    tenfold   time and memory of splitter and scorer with ten times the sentences
    paper     simulated time of the published grids on 1, 8 and 64 GPUs
    scale     cost of the real scheduler with up to 1,000,000 steps and 100,000 simulated workers
    plan      time per step to plan a grid
    looks     time per run to check the files of waiting runs
    report    time and size of the report of a large, made-up grid

**stages** uses corpora of invented words. ``reading`` parses JSON lines and writes the cache, which the next stage
reads. ``splitting`` makes the tasks and the masked sentences of each step. ``batching`` makes the random batches of an
epoch with the targets of both architectures, and the batches of an evaluation. ``decoding`` gets made-up logits of 18
types. ``scoring`` counts the matches in three sets of sentences. A round measures all sizes in random order, and takes
the median of several tries for a small corpus. A first round does not count. The growth per tenfold is 10 ** slope - 1.
The slope is that of log(time per sentence) on log(sentences): the mean over rounds, with its 95 % interval (Student's
t).

**tenfold** prints the ratio of CPU times of the larger and the smaller corpus, measured by turns. Memory is the peak of
what the work allocates (Python and numpy objects, by tracemalloc), as a share of the sentences and predictions.

**paper**, **plan** and **looks** plan grids by `bench run`'s own code on generated corpora; nothing is trained. The
grids of **paper** have the types, tasks and orders of the cards, so they share the steps that real grids would share.
The simulated times follow from ``RATE``.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import heapq
import json
import math
import os
import random
import tempfile
import time
import tracemalloc
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from msgspec import structs

from benchmarks.corpora import invented
from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.analysis.scores.scorer import count, match
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.step import EVALUATION_BUDGET
from cl_ner_bench.models.decoding import Prediction, decode_spans
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokeniser, Tokens
from cl_ner_bench.models.heads.span import span_count
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.progress import SETTLED, Progress
from cl_ner_bench.running.runs import AwaitedStep, Run, schedule_items, work
from cl_ner_bench.running.schedule import Item, Schedule
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.testing.results import METHODS as LABELS
from cl_ner_bench.testing.results import write_run
from cl_ner_bench.testing.timing import as_a_worker, by_turns, cpu_seconds, growth_per_tenfold, spread

WIDTH, BATCH = 12, 32
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
ONCE = 10_000
"""Sentences. A round repeats a smaller corpus until it has seen about this number, at most ``--repeats`` times."""
MOST_GROWTH, MOST_BYTES = 0.10, 200  # growth per tenfold; bytes per sub-token
TENFOLD, MOST_TIME, MOST_MEMORY = 10, 10.5, 1.5

RATE = 32 / 0.0144
"""Training sentences per second of BERT-large on one H100 in batches of 32. This is calculated, not measured: an update
takes 4.1 ms of matrix products at 40 % of the peak, then 3.1 ms of AdamW, then 7.2 ms of kernel launches."""
MODEL_GB = 1.34  # BERT-large in fp32
SENTENCES = 720  # in each part of a generated corpus
METHODS = "spankl,spankl-nokd,extendner,extendner-paper,finetune,joint,seqstar,frozen-span"
SEEDS = 5


Data = tuple[Corpus, list[list[Prediction]]]


def numbers(n: int) -> str:
    return ",".join(map(str, range(n)))


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def header(first: str, *others: str) -> None:
    row(first, *others)
    row("---", *["---:"] * len(others))


# Stages, and ten times the data


def stages(home: Path, options: argparse.Namespace) -> None:
    """Print the CPU time per sentence of each stage for each corpus size, and its growth."""
    sizes = [int(size) for size in options.sizes.split(",")]
    for size in sizes:
        write_corpus(home / str(size), size)
    memory = [bytes_a_token(home / str(size)) for size in sizes]
    rounds = [one_round(home, sizes, seed, options.repeats) for seed in range(options.rounds + 1)][1:]
    header("sentences", *(f"{size:,}" for size in sizes), "growth per tenfold (95 %)", "at most")
    for stage in rounds[0]:
        medians = [f"{median(times):.2f}" for times in zip(*(r[stage] for r in rounds), strict=True)]
        grown, low, high = growth_per_tenfold(sizes, [r[stage] for r in rounds])
        kept = "yes" if high <= MOST_GROWTH else "**no**"
        text = f"{100 * grown:+.1f} % ({100 * low:+.1f} to {100 * high:+.1f})"
        row(f"{stage}, us a sentence", *medians, text, f"{100 * MOST_GROWTH:.0f} %: {kept}")
    kept = "yes" if max(memory) <= MOST_BYTES else "**no**"
    text = f"{100 * growth_per_tenfold(sizes, [memory])[0]:+.1f} %"
    row("memory, bytes a sub-token", *(f"{m:.0f}" for m in memory), text, f"{MOST_BYTES} bytes: {kept}")


def one_round(home: Path, sizes: Sequence[int], seed: int, repeats: int) -> dict[str, list[float]]:
    """Return the microseconds per sentence of each stage, in the order of ``sizes``."""
    found: dict[int, dict[str, float]] = {}
    for size in random.Random(seed).sample(sizes, len(sizes)):
        times = [seconds(home / str(size)) for _ in range(max(1, min(repeats, ONCE // size)))]
        found[size] = {stage: 1e6 / size * median(t[stage] for t in times) for stage in times[0]}
    return {stage: [found[size][stage] for size in sizes] for stage in found[sizes[0]]}


def seconds(folder: Path) -> dict[str, float]:
    """Return the CPU seconds of each stage for one corpus."""
    spent: dict[str, float] = defaultdict(float)

    def timed(stage: str, call: Callable[..., Any], *arguments: Any) -> Any:
        found = []
        spent[stage] += cpu_seconds(lambda: found.append(call(*arguments)))
        return found[0]

    gc.collect()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CL_NER_BENCH_CACHE"] = cache
        timed("reading", load_corpus, str(folder))
        corpus = timed("reading from the cache", load_corpus, str(folder))
    gc.freeze()  # as a worker does after loading its corpus
    timed("splitting", split, corpus)
    sentences = [sentence for part in corpus.parts.values() for sentence in part]
    tokens = timed("tokenising", tokenise, new_tokeniser(), sentences)
    examples = timed("batching", batch, sentences, tokens, corpus.card.types)
    pred: list[list[Prediction]] = [[]] * len(examples)
    generator = torch.Generator().manual_seed(0)
    for some in by_length(examples, EVALUATION_BUDGET):
        logits = made_up_logits(some, corpus.card.types, generator)
        found = timed("decoding", decode_spans, logits, some.lengths, corpus.card.types, False, WIDTH)
        for example, predictions in zip(some.examples, found, strict=True):
            pred[example.index] = predictions
    timed("scoring", score, sentences, pred, corpus.card.types)
    gc.unfreeze()
    return spent


def split(corpus: Corpus) -> None:
    """Make a split and the data of all its steps."""
    made = make_split(corpus)
    for step in range(1, made.n_steps + 1):
        made.step_data(corpus, step)


def new_tokeniser() -> Tokeniser:
    return Tokeniser(encoder_info("minilm"), 512)


def tokenise(tokeniser: Tokeniser, sentences: Sequence[Sentence]) -> list[Tokens]:
    return tokeniser.tokenise([s.words for s in sentences])


def batch(sentences: Sequence[Sentence], tokens: Sequence[Tokens], types: Sequence[str]) -> list[Example]:
    """Make the batches of an epoch with their targets, and the batches of an evaluation."""
    examples = [Example(i, s, t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True))]
    for some in shuffled(examples, BATCH, torch.Generator().manual_seed(0)):
        some.span_gold(types, WIDTH)
        some.tag_targets(types)
    for _ in by_length(examples, EVALUATION_BUDGET):
        pass
    return examples


def made_up_logits(batch: Batch, types: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Return logits ``[spans, types]`` that give most mentions their type, and some of them a second type."""
    rows, columns = batch.span_gold(types, WIDTH)
    stored = torch.full((len(types), sum(span_count(n, WIDTH) for n in batch.lengths)), -6.0)
    stored[columns, rows] = torch.normal(4.0, 3.0, rows.shape, generator=generator)
    stored[columns - 1, rows] = torch.normal(-3.0, 3.0, rows.shape, generator=generator)
    return stored.T


def score(sentences: Sequence[Sentence], pred: Sequence[Sequence[Prediction]], types: Sequence[str]) -> None:
    """Count the matches of three overlapping sets of sentences."""
    matches = match([s.mentions for s in sentences], pred, types)
    for rows in (range(len(sentences)), [i for i, s in enumerate(sentences) if s.mentions], range(len(sentences) // 2)):
        matches.count(types, rows)


def bytes_a_token(folder: Path) -> float:
    """Return the bytes of a corpus and its sub-tokens, divided by the number of sub-tokens."""
    tokeniser = new_tokeniser()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CL_NER_BENCH_CACHE"] = cache
        gc.collect()
        tracemalloc.start()
        corpus = load_corpus(str(folder))
    sentences = [sentence for part in corpus.parts.values() for sentence in part]
    tokens = tokenise(tokeniser, sentences)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / sum(t.size for t in tokens)


def parts(size: int) -> Iterator[tuple[str, list[tuple[list[str], list[tuple[int, int, str]]]]]]:
    """Yield the parts of a corpus of ``size`` invented sentences: an eighth is dev, an eighth test, the rest train."""
    rest = size // 8
    for seed, (part, n) in enumerate({"train": size - 2 * rest, "dev": rest, "test": rest}.items()):
        yield part, list(invented(n, random.Random(seed)))


def write_corpus(folder: Path, size: int) -> None:
    folder.mkdir()
    for part, sentences in parts(size):
        rows = (json.dumps({"tokens": words, "entities": mentions}) + "\n" for words, mentions in sentences)
        (folder / f"{part}.jsonl").write_text("".join(rows))


def tenfold(home: Path, options: argparse.Namespace) -> None:
    """Print how the time of splitter and scorer grows with ten times the sentences, and their memory."""
    n = options.sentences
    small, large = made_up(n), made_up(TENFOLD * n)
    gc.freeze()  # as a worker does after loading its corpus
    for name, do in WORK.items():
        found = by_turns(partial(do, *large), partial(tenfold_of, do, small), options.rounds)
        low, ratio, high = spread([TENFOLD * ratio for ratio in found])
        kept = "yes" if ratio < MOST_TIME else "NO"
        print(f"{name}, {n:,} to {TENFOLD * n:,} sentences: {ratio:.2f} times the time ({low:.2f} to {high:.2f}); "
              f"less than {MOST_TIME}: {kept}", flush=True)  # fmt: skip
    gc.unfreeze()
    del small, large
    for name, do in WORK.items():
        for size in (n, TENFOLD * n):
            share = memory_share(size, do)
            kept = "yes" if share < MOST_MEMORY else "NO"
            print(f"{name}, {size:,} sentences: {share:.2f} of the corpus's memory; less than {MOST_MEMORY}: {kept}")


def tenfold_of(do: Callable[..., None], data: Data) -> None:
    """Repeat ``do`` until it has seen as many sentences as the larger corpus has."""
    for _ in range(TENFOLD):
        do(*data)


def made_up(size: int) -> Data:
    """Return a corpus of invented words, and predictions of about nine tenths of its mentions."""
    found = {}
    for part, rows in parts(size):
        sentences = (Sentence(i, tuple(words), tuple(Mention(*m) for m in ms)) for i, (words, ms) in enumerate(rows))
        found[part] = tuple(sentences)
    types = sorted({m.type for s in found["train"] for m in s.mentions})
    rng, all_sentences = random.Random(0), [s for part in found.values() for s in part]
    pred = [[Prediction(*m, rng.random()) for m in s.mentions if rng.random() < 0.9] for s in all_sentences]
    return Corpus(Card("invented", "Invented", {t: (t,) for t in types}), found, "invented"), pred


def score_all(corpus: Corpus, pred: Sequence[Sequence[Prediction]]) -> None:
    score([s for part in corpus.parts.values() for s in part], pred, corpus.card.types)


WORK: Mapping[str, Callable[..., None]] = {"splitter": lambda corpus, _: split(corpus), "scorer": score_all}


def memory_share(size: int, do: Callable[..., None]) -> float:
    """Return the peak memory that ``do`` adds to its data, divided by the memory of the data."""
    gc.collect()
    tracemalloc.start()
    try:
        data = made_up(size)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        do(*data)
        return (tracemalloc.get_traced_memory()[1] - before) / before
    finally:
        tracemalloc.stop()


# Grids and schedulers


@dataclass(frozen=True)
class Chain:
    """A simulated run: its item in the schedule, and pairs of step and cost (seconds)."""

    item: Item
    steps: Sequence[tuple[int, float]]


def simulate(chains: Iterable[Chain], workers: int) -> tuple[float, float]:
    """Return the seconds until ``workers`` have done all chains by ``Schedule``, and the seconds of work."""
    by_id = {chain.item.id: chain for chain in chains}
    schedule = Schedule(chain.item for chain in by_id.values())
    now, free = 0.0, workers
    events: list[tuple[float, int, str, AwaitedStep | None]] = []  # with the finished step, or None for the run's end
    n = 0
    while True:
        while free and (id := schedule.next(idle=free == workers)) is not None:
            free, at = free - 1, now
            awaited = set(schedule.awaited_from(id))
            for step, cost in by_id[id].steps:
                at += cost
                if AwaitedStep(id, step) in awaited:
                    heapq.heappush(events, (at, n, id, AwaitedStep(id, step)))
                    n += 1
            heapq.heappush(events, (at, n, id, None))
            n += 1
        if not events:
            break
        now, _, id, there = heapq.heappop(events)
        if there is None:
            schedule.end(id)
            free += 1
        else:
            schedule.provide(there)
    return now, sum(cost for chain in by_id.values() for _, cost in chain.steps)


# The published grids


def grids(home: Path) -> Iterator[tuple[str, list[Run], float]]:
    """Yield name, runs and seconds per unit of cost of each published grid."""
    for name, sentences, epochs in (("ontonotes", 59_924, 10), ("fewnerd", 131_767, 5)):
        card = list_cards()[name]
        for scenario in ("split", "filter"):
            runs = planned(home, card.tasks, card.orders, {"scenario": scenario, "orders": "all", "epochs": epochs})
            yield f"SpanKL, {name}, {scenario}", runs, sentences / SENTENCES / RATE
    for name, sentences, scenarios in (
        ("conll2003", 14_041, ("fg1-pg1", "fg2-pg1")),
        ("i2b2-2014", 59_376, ("fg1-pg1", "fg2-pg2", "fg8-pg1", "fg8-pg2")),
        ("ontonotes18", 59_924, ("fg1-pg1", "fg2-pg2", "fg8-pg1", "fg8-pg2")),
    ):
        types = {type: (type,) for type in list_cards()[name].types}
        for scenario in scenarios:
            runs = planned(home, types, (), {"scenario": scenario, "epochs": 10})
            yield f"CFNER, {name}, {scenario}", runs, sentences / SENTENCES / RATE


def planned(
    home: Path, tasks: Mapping[str, Sequence[str]], orders: Sequence[Sequence[int]], options: Mapping[str, Any]
) -> list[Run]:
    """Return the runs of a grid with ``tasks`` and ``orders``, on generated sentences with one mention each."""
    types = [type for own in tasks.values() for type in own]
    for part in PARTS:
        rows = (
            json.dumps({"words": ["a", "b"], "mentions": [[0, 1, types[i % len(types)]]]}) for i in range(SENTENCES)
        )
        (home / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    card = [f'name = "planned"\norders = {json.dumps(orders)}\n[tasks]']
    card += [f"{json.dumps(name)} = {json.dumps(list(own))}" for name, own in tasks.items()]
    (home / "planned.toml").write_text("\n".join(card) + "\n")
    given = {"dataset": str(home / "planned.toml"), "data": str(home), "methods": METHODS, "out": str(home / "out")}
    return prepare({**given, **options, "seeds": numbers(SEEDS)}).runs


def chains(runs: Sequence[Run], seconds: float, out: Path) -> list[Chain]:
    """Return ``runs`` as simulated runs that take ``seconds`` per unit of cost."""
    costs = {run.id: [(step, run.cost(step) * seconds) for step in run.record.steps] for run in runs}
    return [Chain(item, costs[item.id]) for item in schedule_items(runs, ResultsFolder.open(out))]


def paper(home: Path, _: argparse.Namespace) -> None:
    """Print a row for each published grid."""
    gpus = (1, 8, 64)
    header("grid", "runs", "steps", "shared", *(f"{n} GPU, h" for n in gpus), "longest run, h", "models, GB")
    totals = [0.0] * len(gpus)
    for name, runs, unit in grids(home):
        found = chains(runs, unit, Path("nowhere"))
        hours = [simulate(found, n)[0] / 3600 for n in gpus]
        totals = [total + own for total, own in zip(totals, hours, strict=True)]
        longest = max(sum(cost for _, cost in chain.steps) for chain in found) / 3600
        together, alone = work(runs), work(runs, shared=False)
        kept = len({run.key(run.record.steps[-1]) for run in runs}) * MODEL_GB
        shown = [f"{h:.1f}" for h in hours]
        row(name, len(runs), together.steps, alone.steps - together.steps, *shown, f"{longest:.2f}", f"{kept:.0f}")
    row("all, one grid after the other", "", "", "", *(f"{h:.1f}" for h in totals), "", "")


def large(steps: int) -> list[Chain]:
    """Return runs of ten methods in two families, with ten steps of 50 to 150 s. A family shares its first step."""
    rng, found = random.Random(0), []
    for group in range(max(1, steps // 100)):
        for method in range(10):
            first = f"{group}-{method // 5 * 5}"
            id = f"{group}-{method}"
            own = [(k, rng.uniform(50, 150)) for k in range(1 if id == first else 2, 11)]
            awaits: dict[Hashable, str] = {} if id == first else {AwaitedStep(first, 1): first}
            found.append(Chain(Item(id, sum(cost for _, cost in own), awaits), own))
    return found


def scale(home: Path, _: argparse.Namespace) -> None:
    """Print how much of the time workers are busy, and the scheduler's own CPU time per step."""
    header("steps", "workers", "hours", "workers busy", "scheduler, ms a step")
    for steps, workers in ((10_000, 100), (100_000, 1_000), *((1_000_000, n) for n in (1_000, 10_000, 100_000))):
        found, begin = large(steps), time.process_time()
        end, spent = simulate(found, workers)
        own = 1000 * (time.process_time() - begin) / steps
        row(f"{steps:,}", f"{workers:,}", f"{end / 3600:.1f}", f"{spent / end / workers:.0%}", f"{own:.4f}")


def plan(home: Path, _: argparse.Namespace) -> None:
    """Print the CPU time per step to plan grids of growing size."""
    header("runs", "steps", "planning, ms a step")
    for orders in (1, 10, 100):
        begin = time.process_time()
        runs = planned(home, {name: (name,) for name in "abcdef"}, (), {"orders": numbers(orders), "epochs": 10})
        steps = sum(len(run.record.steps) for run in runs)
        row(f"{len(runs):,}", f"{steps:,}", f"{1000 * (time.process_time() - begin) / steps:.2f}")


def looks(home: Path, _: argparse.Namespace) -> None:
    """Print the time per run to check the files of all waiting runs, as the driver does twice a second."""
    header("runs", "first look, ms a run", "each further look, ms a run")
    for orders in (1, 10, 100):
        runs = planned(home, {name: (name,) for name in "abcdef"}, (), {"orders": numbers(orders)})
        for run in runs:
            run.folder.save(structs.replace(run.record, status="waiting"))
        time.sleep(1.5 * SETTLED)
        found, spent = Progress(runs, runs), []
        for _ in range(2):
            begin = time.perf_counter()
            list(found.poll())
            spent.append(1000 * (time.perf_counter() - begin) / len(runs))
        row(f"{len(runs):,}", f"{spent[0]:.3f}", f"{spent[1]:.4f}")


# A report


def report(home: Path, options: argparse.Namespace) -> None:
    """Print the time of a first report, which derives and stores outcomes, and of a second, which reads them."""
    out = options.out or home
    if not (out / "runs").is_dir():
        write_large_grid(out, *map(int, options.grid.split(",")))
    for what in ("first report (reduces predictions)", "second report"):
        begin = time.perf_counter()
        write_report([out], out)
        page = (out / "report.html").stat().st_size
        print(f"{what}: {time.perf_counter() - begin:.1f} s, report.html {page / 1e6:.1f} MB", flush=True)


def write_large_grid(folder: Path, methods: int, orders: int, seeds: int, steps: int, types: int) -> None:
    """Write a grid with four test mentions of each type. Its counts follow from its predictions."""
    names = [*LABELS, *(f"variant-{i}" for i in range(len(LABELS), methods))][:methods]
    per_task = math.ceil(types / steps)
    labels = [f"task{i // per_task}-type{i:02d}" for i in range(types)]
    groups = [labels[i : i + per_task] for i in range(0, types, per_task)]
    for order in range(orders):
        turned = [groups[(i + order) % len(groups)] for i in range(len(groups))]
        tasks = [{"name": own[0].split("-")[0], "types": own, "learned_at": k} for k, own in enumerate(turned, 1)]
        for method in names:
            for seed in range(seeds):
                write_made_up_run(folder, method, order, seed, tasks, labels * 2)


def write_made_up_run(
    folder: Path, method: str, order: int, seed: int, tasks: Sequence[Mapping[str, Any]], sentences: Sequence[str]
) -> None:
    """Write a run. Test sentence i has two mentions of type ``sentences[i]``."""
    rng = np.random.default_rng([zlib.crc32(method.encode()), order, seed])
    skill = 0.9 if method.startswith("joint") else 0.4 + 0.4 * (zlib.crc32(method.encode()) % 11) / 11
    learned: list[str] = []
    stored: dict[str, dict[int, dict[str, list[int]]]] = {"all": {}, "filter": {}, "filter_last": {}}
    rows: dict[int, list[str]] = {}
    for task in tasks:
        k = task["learned_at"]
        learned += task["types"]
        luck = rng.random((len(sentences), 2))
        other = rng.integers(0, len(learned), (len(sentences), 2))
        gold: list[list[tuple[int, int, str]]] = []
        pred: list[list[tuple[int, int, str]]] = []
        for i, type_ in enumerate(sentences):
            gold.append([(0, 1, type_), (3, 4, type_)] if type_ in learned else [])
            right = gold[-1] or [(0, 1, ""), (3, 4, "")]
            found = [luck[i, j] < (1 + skill) / 2 and (bool(m[2]) or luck[i, j] < 0.05) for j, m in enumerate(right)]
            named = [m[2] if luck[i, j] < skill and m[2] else learned[other[i, j]] for j, m in enumerate(right)]
            pred.append([(m[0], m[1], name) for m, name, there in zip(right, named, found, strict=True) if there])
        stored["all"][k] = stored["filter_last"][k] = count(gold, pred, learned)
        held = [i for i, own in enumerate(gold) if own]
        stored["filter"][k] = count([gold[i] for i in held], [pred[i] for i in held], learned)
        rows[k] = [
            json.dumps({"id": i, "gold": gold[i], "pred": [[*m, 0.5] for m in pred[i]]}) for i in range(len(sentences))
        ]
    home = write_run(
        folder, method, stored["all"], tasks, stored["filter"], stored["filter_last"], order=order, seed=seed,
        undertrained_below=1, fingerprints={"data": "d0", "split": f"s{order}", "encoder": "e0"},
    )  # fmt: skip
    for k, lines in rows.items():
        content = gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)
        (home / f"step-{k}" / "predictions.jsonl.gz").write_bytes(content)


KINDS: Mapping[str, Callable[[Path, argparse.Namespace], None]] = {
    "stages": stages,
    "tenfold": tenfold,
    "paper": paper,
    "scale": scale,
    "plan": plan,
    "looks": looks,
    "report": report,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", metavar="KIND", choices=KINDS, help=", ".join(KINDS))
    parser.add_argument("--rounds", type=int, default=9, help="stages and tenfold: number of rounds")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="stages: sentences in each corpus")
    parser.add_argument(
        "--repeats", type=int, default=10, help="stages: how often a round measures a small corpus, at most"
    )
    parser.add_argument("--sentences", type=int, default=10_000, help="tenfold: sentences in the smaller corpus")
    parser.add_argument(
        "--grid", default="15,10,5,11,66", help="report: numbers of methods, orders, seeds, steps, types"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="report: folder of the grid, which is written if it is missing (default: a temporary folder)",
    )
    options = parser.parse_args()
    as_a_worker()
    torch.set_num_threads(1)
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as home:
            KINDS[kind](Path(home), options)


if __name__ == "__main__":
    main()
