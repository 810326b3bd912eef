"""Does a process grow with the runs that it has done, or a cost faster than the corpus? python -m benchmarks.memory

First, in a process with a worker's allocator settings, 20 runs of three steps are learned and predicted on a tiny
corpus and encoder, three methods by turns; printed is the resident memory after the last run against that after the
third, when each method was there once.

Then corpora of invented words, of 10,000 and of ten times as many sentences, are split (all tasks, with what each step
is given) and scored (made-up predictions, three views). Printed are the ratios of CPU time, larger to smaller: the
median over rounds that measure both. And what each needs beside the corpus: the most memory at once (objects of Python
and numpy, by tracemalloc) as a share of the corpus itself, sentences and predictions. For the splitter what it returns
is counted too.

Options: --runs 20, --sentences 10000, --rounds 7.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from benchmarks.corpora import invented
from benchmarks.growth import score, split
from benchmarks.measure import by_turns, spread
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.running.environment import child_environment

METHODS = ("spankl", "extendner", "joint-span")
SETTLED = 3
"""Runs after which what is loaded once is there."""
MOST_GROWTH, MOST_TIME, MOST_MEMORY = 0.05, 10.5, 1.5
TENFOLD = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--as-a-worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_a_worker:
        print(json.dumps(repeated(options.runs)))
        return
    held = in_a_process(options.runs)
    grown = growth(held)
    print(f"memory after {len(held)} runs in one process, MiB: {', '.join(f'{b / 2**20:.1f}' for b in held)}")
    kept = [tell(f"growth from run {SETTLED} to run {len(held)}", f"{100 * grown:+.2f} %", grown < MOST_GROWTH, "5 %")]
    n = options.sentences
    corpora = made_up(n), made_up(TENFOLD * n)
    gc.freeze()  # as a worker does once its corpus is there
    small, large = ((corpus, predicted(corpus)) for corpus in corpora)
    for name, work in WORK.items():
        low, ratio, high = time_ratio(work, small, large, options.rounds)
        told = f"{ratio:.2f} times the time ({low:.2f} to {high:.2f})"
        kept.append(tell(f"{name}, {n:,} to {TENFOLD * n:,} sentences", told, ratio < MOST_TIME, str(MOST_TIME)))
    gc.unfreeze()
    for name, work in WORK.items():
        for size in (n, TENFOLD * n):
            share = memory_share(size, work)
            kept.append(
                tell(f"{name}, {size:,} sentences", f"{share:.2f} of the corpus's memory", share < MOST_MEMORY, "1.5")
            )
    sys.exit(not all(kept))


def tell(what: str, figure: str, kept: bool, limit: str) -> bool:
    print(f"{what}: {figure}; less than {limit}: {'yes' if kept else 'NO'}", flush=True)
    return kept


# Runs in one process


def in_a_process(runs: int) -> list[int]:
    """Resident bytes after each of ``runs`` runs in one fresh process, as a worker is started."""
    command = [sys.executable, "-m", "benchmarks.memory", "--as-a-worker", "--runs", str(runs)]
    done = subprocess.run(command, env=os.environ | child_environment(1), check=True, stdout=subprocess.PIPE)
    return list(map(int, json.loads(done.stdout)))


def repeated(runs: int) -> list[int]:
    import torch

    from cl_ner_bench.testing.tiny import tiny_corpus, tiny_encoder

    torch.set_num_threads(1)
    corpus, held = tiny_corpus(), []
    with tempfile.TemporaryDirectory() as folder:
        encoder = str(tiny_encoder(Path(folder)))
        for seed in range(runs):
            one_run(METHODS[seed % len(METHODS)], corpus, encoder, seed)
            held.append(int(psutil.Process().memory_info().rss))
    return held


def one_run(method: str, corpus: Corpus, encoder: str, seed: int) -> None:
    from cl_ner_bench import registry
    from cl_ner_bench.learning.trainer import Trainer
    from cl_ner_bench.scenarios.split import make_split
    from cl_ner_bench.testing.tiny import RECIPE

    card, made = registry.methods()[method], make_split(corpus)
    trainer = Trainer(registry.load_class(card), card.settings, RECIPE, encoder, seed)
    for step in range(1, made.n_steps + 1):
        trainer.learn(made.step_data(corpus, step, card.data == "union"))
        trainer.predict([s.only(()) for s in made.test_part(corpus, step)])


def growth(held: list[int]) -> float:
    return held[-1] / held[SETTLED - 1] - 1


# Ten times the data

Found = list[list[Prediction]]
Data = tuple[Corpus, Found]
Work = Callable[[Corpus, Found], None]


def made_up(size: int) -> Corpus:
    """A corpus of invented words, an eighth of it dev and an eighth test."""
    rest = size // 8
    parts = {}
    for seed, (part, n) in enumerate({"train": size - 2 * rest, "dev": rest, "test": rest}.items()):
        rows = enumerate(invented(n, random.Random(seed)))
        parts[part] = tuple(Sentence(i, tuple(words), tuple(Mention(*m) for m in ms)) for i, (words, ms) in rows)
    types = sorted({m.type for s in parts["train"] for m in s.mentions})
    return Corpus(Card("invented", "Invented", {t: (t,) for t in types}), parts, "invented")


def predicted(corpus: Corpus) -> Found:
    """Predictions for all sentences: nine tenths of their mentions."""
    rng = random.Random(0)
    return [
        [Prediction(*m, rng.random()) for m in s.mentions if rng.random() < 0.9]
        for sentences in corpus.parts.values()
        for s in sentences
    ]


def split_it(corpus: Corpus, found: Found) -> None:
    split(corpus)


def score_it(corpus: Corpus, found: Found) -> None:
    score([s for part in corpus.parts.values() for s in part], found, corpus.card.types)


WORK: dict[str, Work] = {"splitter": split_it, "scorer": score_it}


def time_ratio(work: Work, small: Data, large: Data, rounds: int) -> tuple[float, float, float]:
    """CPU time for ``large`` by that for ``small``, which is done as often as it takes to see as many sentences:
    smallest, median and largest of the rounds."""

    def again() -> None:
        for _ in range(TENFOLD):
            work(*small)

    return spread([TENFOLD * ratio for ratio in by_turns(partial(work, *large), again, rounds)])


def memory_share(size: int, work: Work) -> float:
    """The most memory that ``work`` needs at once beside its data, by that of the data."""
    gc.collect()
    tracemalloc.start()
    try:
        corpus = made_up(size)
        data = corpus, predicted(corpus)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work(*data)
        return (tracemalloc.get_traced_memory()[1] - before) / before
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
