"""Time and memory of `bench predict` on a file: python -m benchmarks.predicting time|memory MODEL FILE

MODEL is a folder that `bench predict` takes. FILE has one text per line.

    time     Print the CPU time to read, cut, predict and write the first `--texts` lines, divided by the CPU time of
             `Trainer.predict` on the same sentences, already cut into words. `bench run` evaluates by this function.
             Both run by turns in one process, in `--rounds` rounds.
    memory   Print the peak memory of the process after 1, 2, 4, ... MB of the file and after the whole file.
             `--blind` leaves out the encoder, which takes nearly all of the time. It keeps the tokeniser, because
             the tokeniser might keep something of each text.

Both use one thread and the environment of the suite's workers.
"""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import Any

from cl_ner_bench import load_model
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.deployment.predicting import answers
from cl_ner_bench.deployment.text_input import TextInput
from cl_ner_bench.deployment.text_output import as_jsonl
from cl_ner_bench.models.encoders.tokeniser import Tokeniser
from cl_ner_bench.running.environment import peak_memory
from cl_ner_bench.testing.timing import as_a_worker, by_turns, spread


def ratios(model: str, file: Path, texts: int, rounds: int) -> str:
    trainer = load_model(model).trainer

    def predicted() -> None:
        with open(os.devnull, "wb") as out:
            for group in answers(trainer, itertools.islice(TextInput(file, file.name, False), texts)):
                out.writelines(map(as_jsonl, group))

    some = itertools.islice(TextInput(file, file.name, False), texts)
    cut = (answer for group in answers(_Blind(), some, keep_sentences=True) for answer in group)  # type: ignore[arg-type]
    words = [tuple(a.given[first:last] for first, last in borders) for a in cut for borders in a.sentences]
    sentences = [Sentence(i, some) for i, some in enumerate(words)]
    found = spread(by_turns(predicted, lambda: trainer.predict(sentences), rounds))
    counts = f"{len(sentences):,} sentences, {sum(map(len, words)):,} words, {rounds} rounds"
    return f"{counts}: {' / '.join(f'{ratio:.3f}' for ratio in found)} (smallest / median / largest)"


class _Blind:
    """A trainer that finds no mentions. If it has a tokeniser, it makes the sub-tokens of the sentences."""

    nested = False

    def __init__(self, tokeniser: Tokeniser | None = None) -> None:
        self._tokeniser = tokeniser

    def predict(self, sentences: list[Sentence]) -> list[list[object]]:
        if self._tokeniser:
            self._tokeniser.tokenise([s.words for s in sentences])
        return [[] for _ in sentences]


def memory(model: str, file: Path, blind: bool) -> None:
    trainer: Any
    trainer, texts, n, reached = load_model(model).trainer, TextInput(file, file.name, False), 0, 1
    if blind:
        trainer = _Blind(trainer.learner.encoder.tokeniser)
    print("| MB read | texts | most memory, MB |", "| ---: | ---: | ---: |", sep="\n")
    with open(os.devnull, "wb") as out:
        for group in answers(trainer, texts):
            out.writelines(map(as_jsonl, group))
            n += len(group)
            if texts.done >= 1e6 * reached or texts.done == texts.size:
                print(f"| {texts.done / 1e6:,.0f} | {n:,} | {peak_memory() / 1e6:,.0f} |", flush=True)
                reached *= 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "memory"))
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blind", action="store_true")
    chosen = parser.parse_args()
    as_a_worker()
    if chosen.what == "time":
        print(ratios(chosen.model, chosen.file, chosen.texts, chosen.rounds))
    else:
        memory(chosen.model, chosen.file, chosen.blind)


if __name__ == "__main__":
    main()
