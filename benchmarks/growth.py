"""Does the cost of a sentence, or of a token, grow with the corpus? python -m benchmarks.growth

Corpora of invented words, of 1,000 to 100,000 sentences, go through all that the suite does with sentences besides the
encoder: reading (JSON lines; once parsed with an empty cache, which is then written, and once from the cache),
splitting (all tasks and the masked sentences of each step), tokenising, batching (an epoch in random batches with the
targets of both architectures, and the order of evaluation), decoding (of made-up logits of 18 types) and scoring (three
views). A round measures each size in CPU time, sizes in random order; a first round does not count. Small corpora are
measured several times in a round, which counts their median.

Printed are the medians over rounds in microseconds a sentence; and by how much the cost of a sentence grows where the
corpus grows tenfold: the slope of log(time of a sentence) on log(sentences), the mean of the rounds' slopes with its
95 % interval (Student's t). Then the memory of a corpus and its sub-tokens together (objects of Python and numpy,
counted by tracemalloc), in bytes a sub-token.

Options: --sizes 1000,3000,10000,30000,100000, --rounds 15, --repeats 10 (of a small corpus in a round, at most).
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy import stats

from benchmarks.corpora import invented
from benchmarks.measure import as_a_worker
from cl_ner_bench.analysis.scores.scorer import match
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.trainer import EVALUATION_BUDGET
from cl_ner_bench.models.decoding import Prediction, decode_spans
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokeniser, Tokens
from cl_ner_bench.models.heads.span import span_count
from cl_ner_bench.scenarios.split import make_split

WIDTH, BATCH = 12, 32
ONCE = 10_000
"""Sentences: a smaller corpus is measured as often as it takes to see about so many."""
MOST_GROWTH, MOST_BYTES = 0.10, 200

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,3000,10000,30000,100000")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.sizes.split(","))
    as_a_worker()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        for size in sizes:
            write(Path(home) / str(size), size)
        memory = [bytes_a_token(Path(home) / str(size)) for size in sizes]
        rounds = [one_round(Path(home), sizes, options.repeats, seed) for seed in range(options.rounds + 1)][1:]
    for row in table(sizes, rounds, memory):
        print(f"| {' | '.join(row)} |")


# Measuring


def one_round(home: Path, sizes: Sequence[int], repeats: int, seed: int) -> dict[str, list[float]]:
    """Microseconds a sentence of each stage, by size."""
    found: dict[int, dict[str, float]] = {}
    for size in random.Random(seed).sample(sizes, len(sizes)):
        times = [seconds(home / str(size)) for _ in range(max(1, min(repeats, ONCE // size)))]
        found[size] = {stage: 1e6 / size * statistics.median(t[stage] for t in times) for stage in times[0]}
    return {stage: [found[size][stage] for size in sizes] for stage in found[sizes[0]]}


def seconds(folder: Path) -> dict[str, float]:
    """CPU seconds of each stage for one corpus."""
    spent: dict[str, float] = defaultdict(float)

    def timed(stage: str, call: Callable[[], Result]) -> Result:
        begin = time.process_time()
        result = call()
        spent[stage] += time.process_time() - begin
        return result

    gc.collect()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CL_NER_BENCH_CACHE"] = cache
        timed("reading", partial(load_corpus, str(folder)))
        corpus = timed("reading from the cache", partial(load_corpus, str(folder)))
    gc.freeze()  # as a worker does once its corpus is there
    timed("splitting", partial(split, corpus))
    sentences = [sentence for part in corpus.parts.values() for sentence in part]
    tokeniser = new_tokeniser()
    tokens = timed("tokenising", partial(tokenise, tokeniser, sentences))
    examples = timed("batching", partial(batch, sentences, tokens, corpus.card.types))
    pred: list[list[Prediction]] = [[]] * len(examples)
    generator = torch.Generator().manual_seed(0)
    for some in by_length(examples, EVALUATION_BUDGET):
        logits = made_up_logits(some, corpus.card.types, generator)
        found = timed("decoding", partial(decode_spans, logits, some.lengths, corpus.card.types, False, WIDTH))
        for example, predictions in zip(some.examples, found, strict=True):
            pred[example.index] = predictions
    timed("scoring", partial(score, sentences, pred, corpus.card.types))
    gc.unfreeze()
    return spent


def split(corpus: Corpus) -> None:
    """A split with all that its steps are given."""
    made = make_split(corpus)
    for step in range(1, made.n_steps + 1):
        made.step_data(corpus, step)


def new_tokeniser() -> Tokeniser:
    return Tokeniser(encoder_info("minilm"), 512)


def tokenise(tokeniser: Tokeniser, sentences: Sequence[Sentence]) -> list[Tokens]:
    return tokeniser.tokenise([s.words for s in sentences])


def batch(sentences: Sequence[Sentence], tokens: Sequence[Tokens], types: Sequence[str]) -> list[Example]:
    """An epoch's batches with their targets, and those of an evaluation."""
    examples = [Example(i, s, t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True))]
    for some in shuffled(examples, BATCH, torch.Generator().manual_seed(0)):
        some.span_gold(types, WIDTH)
        some.tag_targets(types)
    for _ in by_length(examples, EVALUATION_BUDGET):
        pass
    return examples


def made_up_logits(batch: Batch, types: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Logits ``[spans, types]`` of a model that finds most mentions, and of some a second type."""
    rows, columns = batch.span_gold(types, WIDTH)
    stored = torch.full((len(types), sum(span_count(n, WIDTH) for n in batch.lengths)), -6.0)
    stored[columns, rows] = torch.normal(4.0, 3.0, rows.shape, generator=generator)
    stored[columns - 1, rows] = torch.normal(-3.0, 3.0, rows.shape, generator=generator)
    return stored.T


def score(sentences: Sequence[Sentence], pred: Sequence[Sequence[Prediction]], types: Sequence[str]) -> None:
    """The counts of three overlapping sets of sentences."""
    matches = match([s.mentions for s in sentences], pred, types)
    for rows in (range(len(sentences)), [i for i, s in enumerate(sentences) if s.mentions], range(len(sentences) // 2)):
        matches.count(types, rows)


def bytes_a_token(folder: Path) -> float:
    """Memory of a corpus and its sub-tokens, by the number of these."""
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


# Corpora


def write(folder: Path, size: int) -> None:
    """``size`` sentences, an eighth of them dev and an eighth test."""
    folder.mkdir()
    rest = size // 8
    for seed, (part, n) in enumerate({"train": size - 2 * rest, "dev": rest, "test": rest}.items()):
        with (folder / f"{part}.jsonl").open("w") as file:
            for words, mentions in invented(n, random.Random(seed)):
                file.write(json.dumps({"tokens": words, "entities": mentions}) + "\n")


# Telling


def table(
    sizes: Sequence[int], rounds: Sequence[Mapping[str, Sequence[float]]], memory: Sequence[float]
) -> list[list[str]]:
    """Rows of a Markdown table."""
    rows = [["sentences", *(f"{size:,}" for size in sizes), "growth per tenfold (95 %)", "at most"]]
    rows.append(["---"] + ["---:"] * (len(sizes) + 2))
    for stage in rounds[0]:
        medians = [f"{statistics.median(times):.2f}" for times in zip(*(r[stage] for r in rounds), strict=True)]
        mean, low, high = growth(sizes, [r[stage] for r in rounds])
        kept = "yes" if high <= MOST_GROWTH else "**no**"
        text = f"{100 * mean:+.1f} % ({100 * low:+.1f} to {100 * high:+.1f})"
        rows.append([f"{stage}, us a sentence", *medians, text, f"{100 * MOST_GROWTH:.0f} %: {kept}"])
    kept = "yes" if max(memory) <= MOST_BYTES else "**no**"
    text = f"{100 * growth(sizes, [memory])[0]:+.1f} %"
    rows.append(["memory, bytes a sub-token", *(f"{m:.0f}" for m in memory), text, f"{MOST_BYTES} bytes: {kept}"])
    return rows


def growth(sizes: Sequence[int], rounds: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """By how much a cost grows with ten times the sentences: mean over rounds and the ends of its 95 % interval."""
    slopes = [np.polyfit(np.log(sizes), np.log(costs), 1)[0] for costs in rounds]
    mean, half = statistics.mean(slopes), math.nan
    if len(slopes) > 1:
        half = stats.t.ppf(0.975, len(slopes) - 1) * statistics.stdev(slopes) / math.sqrt(len(slopes))
    return 10**mean - 1, 10 ** (mean - half) - 1, 10 ** (mean + half) - 1


if __name__ == "__main__":
    main()
