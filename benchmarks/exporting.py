"""Checks of exported models: python -m benchmarks.exporting methods | pipeline MODEL FILE

``methods``: each method of the registry learns two steps on a tiny encoder. Its model is exported and loaded again. A
row says if the loaded model finds the same mentions to the bit. The last cell says ``tagger`` if transformers can load
the model as a token classifier, and otherwise says why it cannot.

``pipeline``: ``load_model`` and transformers' pipeline both find mentions with MODEL in FILE. FILE has a word and its
tag per line and an empty line between sentences; ``--sentences`` says how many of its sentences are read. The output
counts the sentences in which the best tags of the words form no legal sequence. It counts the sentences with different
mentions separately among these and among all other sentences.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import groupby, pairwise
from pathlib import Path

import transformers

from cl_ner_bench import load_model, registry
from cl_ner_bench.corpora.readers.words import cut
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.deployment.model import Model
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.testing.chain import CORPUS
from cl_ner_bench.testing.learned import learned
from cl_ner_bench.testing.tiny import tiny_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("methods")
    pipeline = commands.add_parser("pipeline")
    pipeline.add_argument("model", type=Path)
    pipeline.add_argument("file", type=Path)
    pipeline.add_argument("--sentences", type=int, default=300)
    options = parser.parse_args()
    if options.command == "methods":
        of_methods()
    else:
        of_pipeline(options.model, options.file, options.sentences)


def of_methods() -> None:
    sentences = [sentence.words for sentence in CORPUS.parts["test"]]
    same, taggers, tokens = 0, 0, 0
    methods = registry.methods()
    for name, card in methods.items():
        with tempfile.TemporaryDirectory() as folder:
            encoder, out, text = tiny_encoder(Path(folder, "encoder")), Path(folder, "out"), Path(folder, "text.txt")
            text.write_text("\n".join(" ".join(words) for words in sentences))
            model = learned(name, encoder, epochs=2, **dict.fromkeys(card.files, str(text)))
            why = model.export(out).pipeline
            equal = load_model(out).predict(sentences) == model.predict(sentences)
        same, tokens = same + equal, tokens + (card.architecture == "token")
        taggers += not why
        print(f"{name}\t{card.architecture}\t{'same' if equal else 'DIFFERENT'}\t{why or 'tagger'}", flush=True)
    print(f"{same} of {len(methods)} find the same; {taggers} of {tokens} token methods are taggers of transformers")


def of_pipeline(folder: Path, file: Path, n: int) -> None:
    lines = [line.split("\t")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [" ".join(group) for some, group in groupby(lines, bool) if some][:n]
    model = load_model(folder)
    find = transformers.pipeline("token-classification", str(folder), aggregation_strategy="first")
    ours = [{(m.start, m.end, m.type) for m in found} for found in model.predict(texts, split=False)]
    theirs = [{(m["start"], m["end"], m["entity_group"]) for m in find(text)} for text in texts]
    legal = [is_legal(model, text) for text in texts]
    differ = [a != b for a, b in zip(ours, theirs, strict=True)]
    print(f"{len(texts)} sentences, mentions: {sum(map(len, ours))} by load_model, {sum(map(len, theirs))} by pipeline")
    print(
        f"no legal sequence of best tags: {legal.count(False)}; of these differ "
        f"{sum(d for d, is_one in zip(differ, legal, strict=True) if not is_one)}; of the others "
        f"{sum(d for d, is_one in zip(differ, legal, strict=True) if is_one)}"
    )


def is_legal(model: Model, text: str) -> bool:
    """Return True if the best tags of all words form a legal BIO sequence."""
    sentence = Sentence(0, tuple(text[start:end] for start, end in cut(text)))
    learner = model.trainer.learner
    (tokens,) = learner.encoder.tokeniser.tokenise([sentence.words])
    ((_, output),) = learner.outputs([Batch((Example(0, sentence, tokens),))])
    path = [0, *output.logits.argmax(1).tolist()]
    return all(not tag or tag % 2 or before in (tag, tag - 1) for before, tag in pairwise(path))


if __name__ == "__main__":
    main()
