"""Time and memory to load, check and split a corpus as large as OntoNotes or larger: python -m benchmarks.corpora

The benchmark writes a corpus of invented words as JSON lines to a temporary folder. The corpus has 60,000 train
sentences (1.1 million words), and dev and test parts as large as OntoNotes'. A second corpus is ``--scale`` times as
large (10 by default; 0 leaves it out). Each row is one stage:

    first start     read the files and write the cache
    second start    read the cache; both starts compute the fingerprint
    check           run the corpus doctor
    split           divide the types into tasks, and assign each sentence by its rarest type
    tokenise        make the sub-tokens of all sentences
    all             load, check, split and tokenise in one process, with an empty cache

Each stage runs with one thread in its own child process, so its peak memory is its own. ``seconds`` is clock time
without imports, and ``core`` is processor time, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

SIZE = {"train": 60_000, "dev": 8_500, "test": 8_300}
TYPES = [f"TYPE{k:02}" for k in range(18)]
STAGES = ("first start", "second start", "check", "split", "tokenise", "all")
GOALS = {"second start": "< 1 s", "all": "< 15 s and < 1 GB"}
Invented = tuple[list[str], list[tuple[int, int, str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measure(options.stage, options.dataset)))
        return
    print(f"{'sentences':>9}  {'stage':12}  {'seconds':>7}  {'core':>7}  {'peak MB':>7}")
    core = [report(scale) for scale in ((1, options.scale) if options.scale > 1 else (1,))]
    if options.scale > 1:
        goal = f"goal <= {1.05 * options.scale:g}"
        print(f"{options.scale} times the sentences: {core[1] / core[0]:.2f} times the core's seconds ({goal})")


def report(scale: int) -> float:
    """Print the rows of one corpus size, and return the processor seconds of stage ``all``."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), scale)
        for stage in STAGES:
            # The first start and "all" must find no cache. The doctor ("check") never reads the cache.
            cache = Path(folder) / ("cache" if stage != "all" else "no cache")
            found = child(stage, folder, cache)
            goal = f"  goal {GOALS[stage]}" if scale == 1 and stage in GOALS else ""
            row = f"{SIZE['train'] * scale:9,}  {stage:12}  {found['seconds']:7.2f}  {found['core']:7.2f}"
            print(f"{row}  {found['peak']:7,.0f}{goal}", flush=True)
        return float(found["core"])


def child(stage: str, dataset: str, cache: Path) -> dict[str, Any]:
    one_core = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = os.environ | one_core | {"CL_NER_BENCH_CACHE": str(cache)}
    command = [sys.executable, __file__, "--stage", stage, "--dataset", dataset]
    return dict(json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout))


def measure(stage: str, dataset: str) -> dict[str, float]:
    """Return the clock seconds (without imports), processor seconds and peak memory (MB) of one stage."""
    from cl_ner_bench.corpora.doctor import check
    from cl_ner_bench.corpora.load import load_corpus
    from cl_ner_bench.scenarios.split import make_split

    if stage in ("tokenise", "all"):
        from cl_ner_bench.models.encoders.encoder import Encoder
        from cl_ner_bench.models.encoders.info import encoder_info

        encoder = Encoder(encoder_info("minilm"))
    if stage in ("split", "tokenise"):
        corpus = load_corpus(dataset)
    start, worked = time.perf_counter(), time.process_time()
    if stage in ("first start", "second start", "all"):
        corpus = load_corpus(dataset)
        assert corpus.fingerprint
    if stage in ("check", "all"):
        check(dataset)
    if stage in ("split", "all"):
        make_split(corpus, "fg8-pg2")
    if stage in ("tokenise", "all"):
        for part in corpus.parts:
            encoder.tokeniser.tokenise([s.words for s in corpus.used(part)])
    seconds, core = time.perf_counter() - start, time.process_time() - worked
    return {"seconds": seconds, "core": core, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


# Invented text


def invented(n: int, rng: random.Random) -> Iterator[Invented]:
    """Yield ``n`` sentences of 18 words on average. About half of them have one to four mentions."""
    syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]
    lengths = rng.choices(range(1, 5), k=40_000)
    drawn = iter(rng.choices(syllables, k=sum(lengths)))
    words = ["".join(islice(drawn, length)) for length in lengths]
    weights = [1 / (rank + 3) for rank in range(len(words))]  # some words are frequent, as in any text
    pool: Iterator[str] = iter(())
    for _ in range(n):
        length = max(1, min(150, round(rng.gammavariate(2.2, 8.3))))
        sentence = list(islice(pool, length))
        if len(sentence) < length:
            pool = iter(rng.choices(words, weights, k=min(200_000, 150 + 20 * n)))
            sentence += islice(pool, length - len(sentence))
        mentions, at = [], 0
        for _ in range(rng.choice((0, 0, 0, 1, 2, 2, 4))):
            begin = at + rng.randint(0, 4)
            at = begin + rng.randint(1, 3)
            if at > length:
                break
            sentence[begin:at] = [word.capitalize() for word in sentence[begin:at]]
            mentions.append((begin, at, TYPES[min(int(rng.expovariate(0.3)), 17)]))
        yield sentence, mentions


def write(folder: Path, scale: int) -> None:
    for seed, (part, n) in enumerate(SIZE.items()):
        with (folder / f"{part}.jsonl").open("w") as file:
            for words, mentions in invented(n * scale, random.Random(seed)):
                file.write(json.dumps({"tokens": words, "entities": mentions}) + "\n")


if __name__ == "__main__":
    main()
