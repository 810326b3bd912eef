"""How long a corpus of the size of OntoNotes takes, and one ten times as large: python benchmarks/corpora.py

A corpus of invented words (60,000 train sentences, 1.1 million words; dev and test as in OntoNotes) is written to a
temporary folder as columns, JSON lines and CoNLL-2012 files. Each row is one child process on one core with an empty
cache, so that peak memory is its own: the first start (read, and write the cache), then the second start (cache
alone, with the fingerprint); the corpus doctor; a task split by rarest type; the tokens of all sentences. The last row
does all of it in one process. Seconds are those of the clock, and those that the one core worked (which other work on
the machine does not change). Options: --scale 10 (the larger corpus; 0 leaves it out), --formats columns,jsonl,...
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
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

SIZE = {"train": 60_000, "dev": 8_500, "test": 8_300}
FORMATS = ("columns", "jsonl", "conll2012")
TYPES = [f"TYPE{k:02}" for k in range(18)]
STAGES = ("first start", "second start", "check", "split", "tokenise", "all")
GOALS = {"second start": "< 1 s", "all": "< 15 s and < 1 GB"}
PER_DOCUMENT = 35  # sentences
Invented = tuple[list[str], list[tuple[int, int, str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measure(options.stage, options.dataset)))
        return
    print(f"{'format':10}  {'sentences':>9}  {'stage':12}  {'seconds':>7}  {'core':>7}  {'peak MB':>7}")
    seconds: dict[tuple[str, int], float] = {}
    for scale in (1, options.scale) if options.scale > 1 else (1,):
        for name in options.formats.split(","):
            seconds[name, scale] = report(name, scale)
    for name in options.formats.split(",") if options.scale > 1 else ():
        ratio = seconds[name, options.scale] / seconds[name, 1]
        goal = 1.05 * options.scale
        print(
            f"{name:10}  {options.scale} times the sentences: {ratio:.2f} times the core's seconds (goal <= {goal:g})"
        )


def report(name: str, scale: int) -> float:
    """Print the rows of one format and size; returns the core's seconds of ``all``."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = WRITERS[name](Path(folder), scale)
        for stage in STAGES:
            # The first start and "all" find no cache; "check" and the doctor never use one.
            cache = Path(folder) / ("cache" if stage != "all" else "no cache")
            found = child(stage, dataset, cache)
            goal = f"  goal {GOALS[stage]}" if scale == 1 and stage in GOALS else ""
            n = SIZE["train"] * scale
            row = f"{name:10}  {n:9,}  {stage:12}  {found['seconds']:7.2f}  {found['core']:7.2f}  {found['peak']:7,.0f}"
            print(row + goal, flush=True)
        return float(found["core"])


def child(stage: str, dataset: str, cache: Path) -> dict[str, Any]:
    one_core = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = os.environ | one_core | {"CL_NER_BENCH_CACHE": str(cache)}
    command = [sys.executable, __file__, "--stage", stage, "--dataset", dataset]
    return dict(json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout))


def measure(stage: str, dataset: str) -> dict[str, float]:
    """Seconds (without imports), those that the core worked, and peak memory (MB) of one stage."""
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
    """Sentences of 18 words on average; half of them with one to four mentions."""
    syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(40_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]  # some words are frequent, as in any text
    pool: Iterator[str] = iter(())
    for _ in range(n):
        length = max(1, min(150, round(rng.gammavariate(2.2, 8.3))))
        sentence = list(islice(pool, length))
        if len(sentence) < length:
            pool = iter(rng.choices(words, weights, k=200_000))
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


def write_columns(folder: Path, scale: int) -> str:
    for part, sentences in parts(scale):
        with (folder / f"{part}.txt").open("w") as file:
            for words, mentions in sentences:
                tags = ["O"] * len(words)
                for start, end, type_ in mentions:
                    tags[start:end] = [f"B-{type_}"] + [f"I-{type_}"] * (end - start - 1)
                file.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
                file.write("\n")
    return str(folder)


def write_jsonl(folder: Path, scale: int) -> str:
    for part, sentences in parts(scale):
        with (folder / f"{part}.jsonl").open("w") as file:
            for words, mentions in sentences:
                entities = [{"start": start, "end": end, "label": type_} for start, end, type_ in mentions]
                file.write(json.dumps({"tokens": words, "entities": entities}) + "\n")
    return str(folder)


def write_conll2012(folder: Path, scale: int) -> str:
    for part, sentences in parts(scale):
        number = 0
        while document := list(islice(sentences, PER_DOCUMENT)):
            name = f"nw/made/{number // 100:02}/made_{number:05}"
            path = folder / "data" / ("development" if part == "dev" else part) / f"{name}.gold_conll"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w") as file:
                file.write(f"#begin document ({name}); part 000\n")
                for words, mentions in document:
                    cells = ["*"] * len(words)
                    for start, end, type_ in mentions:
                        cells[start] = f"({type_}*"
                        cells[end - 1] += ")"
                    for i, (word, cell) in enumerate(zip(words, cells, strict=True)):
                        file.write(f"{name}   0   {i}   {word}   NN   (TOP(S*   -   -   -   speaker   {cell}   *   -\n")
                    file.write("\n")
                file.write("#end document\n")
            number += 1
    card = folder / "card.toml"
    card.write_text('reader = "conll2012"\n')
    return str(card)


def parts(scale: int) -> Iterator[tuple[str, Iterator[Invented]]]:
    for seed, (part, n) in enumerate(SIZE.items()):
        yield part, invented(n * scale, random.Random(seed))


WRITERS: dict[str, Callable[[Path, int], str]] = {
    "columns": write_columns,
    "jsonl": write_jsonl,
    "conll2012": write_conll2012,
}

if __name__ == "__main__":
    main()
