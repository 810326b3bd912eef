"""The inputs of the conformance suite: a tiny encoder, and generated sentences whose words determine the types."""

from __future__ import annotations

import atexit
import itertools
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.models.encoders.bert import Bert
from cl_ner_bench.scenarios.task import Task, TaskSplit
from cl_ner_bench.testing import tiny

RECIPE = tiny.RECIPE | {"batch_size": 6, "max_length": 12, "exact": True}
"""Training values. A step of a dozen sentences has two updates per epoch. Windows have 12 sub-tokens, so long sentences
have several windows."""
NAMES = {
    "PER": ("anna", "boris", "carla", "dmitri smith", "eva smith"),
    "LOC": ("paris", "oslo", "lima", "new york"),
    "DATE": ("1990", "2001", "may 1876"),
}
OTHERS = ("went", "to", "in", "the", "saw", "and", "left", "again", ",", ".")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = {word for name in itertools.chain(OTHERS, *NAMES.values()) for word in name.split()} - {"dmitri"}
VOCABULARY = {piece: i for i, piece in enumerate((*SPECIALS, *sorted(_WORDS), "dmi", "##tri"))}
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "vocab_size": len(VOCABULARY),
}
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@cache
def encoder(dropout: float = 0.1) -> str:
    """Return the folder of the encoder. It is made once per process and removed at the end of the process."""
    folder = _tokeniser()
    config = {**CONFIG, **dict.fromkeys(RATES, dropout)}
    stream, bert = torch.Generator().manual_seed(0), Bert(config)
    weights = {
        name: torch.full_like(value, float(name.endswith("weight")))
        if value.ndim == 1
        else 0.1 * torch.randn(value.shape, generator=stream)
        for name, value in bert.state_dict().items()
    }
    embeddings = weights["embeddings.word_embeddings.weight"]
    for type in NAMES.values():  # similar words get similar vectors, as after pretraining
        for place in ({name.split()[0] for name in type}, {name.split()[1] for name in type if " " in name}):
            shared = 0.2 * torch.randn(config["hidden_size"], generator=stream)
            for word in sorted(place):
                embeddings[VOCABULARY["dmi" if word == "dmitri" else word]] += shared
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@cache
def padding_encoder() -> str:
    """Return the folder of an encoder that needs padded batches and has its own forward pass (ELECTRA)."""
    from transformers import ElectraConfig, ElectraModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = _tokeniser()
    torch.manual_seed(0)
    sizes: dict[str, Any] = {key: value for key, value in CONFIG.items() if key != "model_type"}
    ElectraModel(ElectraConfig(**sizes, embedding_size=16)).save_pretrained(folder)
    return str(folder)


def _tokeniser() -> Path:
    """Return a new folder with a tokeniser. It is removed at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="cl-ner-bench-encoder-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "unk_token": "[UNK]", "mask_token": "[MASK]"})
    )
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, VOCABULARY[name]) for name in ("[CLS]", "[SEP]")]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def sentence(id: int, rng: random.Random, types: Sequence[str]) -> Sentence:
    """Return a sentence of one to five mentions of ``types`` between other words."""
    words: list[str] = []
    mentions: list[Mention] = []
    for _ in range(rng.randint(1, 5)):
        words += rng.choices(OTHERS, k=rng.randint(0, 3))
        type = rng.choice(types)
        name = rng.choice(NAMES[type]).split()
        mentions.append(Mention(len(words), len(words) + len(name), type))
        words += name
    return Sentence(id, tuple(words), tuple(mentions))


@cache
def corpus(train: int, other: int) -> Corpus:
    """Return a corpus of ``train`` train sentences and ``other`` dev and test sentences of all types."""
    rng = random.Random(0)
    sizes = {"train": train, "dev": other, "test": other}
    parts = {part: tuple(sentence(i, rng, tuple(NAMES)) for i in range(size)) for part, size in sizes.items()}
    return Corpus(Card("conformance", "Conformance", {type: (type,) for type in NAMES}), parts, "generated")


@cache
def names_alone(type: str) -> Corpus:
    """Return ``CORPUS`` with train sentences of ``type`` that hold the words of its mentions and no other words."""
    rng = random.Random(2)

    def of_names(s: Sentence) -> Sentence:
        if type not in {m.type for m in s.mentions}:
            return s
        words: list[str] = []
        mentions: list[Mention] = []
        for name in rng.choices(NAMES[type], k=3):
            mentions.append(Mention(len(words), len(words) + len(name.split()), type))
            words += name.split()
        return Sentence(s.id, tuple(words), tuple(mentions))

    return replace(CORPUS, parts={**CORPUS.parts, "train": tuple(map(of_names, CORPUS.parts["train"]))})


@cache
def text_file() -> str:
    """Return a file with one generated sentence per line. It is made once per process and removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="cl-ner-bench-text-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rng = random.Random(1)
    lines = (" ".join(sentence(i, rng, tuple(NAMES)).words) for i in range(12))
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "text.txt")


def split(of: Corpus, *tasks: Task) -> TaskSplit:
    """Return the task split of ``tasks``."""
    return TaskSplit(of.name, of.fingerprint, "conformance", 0, tasks, of.ids("test"))


def task(types: Sequence[str], train: Sequence[int], dev: Sequence[int]) -> Task:
    """Return the task of ``types`` with the ids of its train and dev sentences."""
    return Task(f"{'-'.join(types)}-{train[0]}", tuple(types), tuple(train), tuple(dev))


CORPUS = corpus(40, 16)
UNSEEN = [s.only(()) for s in CORPUS.parts["test"]]
"""The test sentences as a method sees them."""
TWO = split(CORPUS, task(("PER", "LOC"), range(12), range(8)), task(("DATE",), range(12, 24), range(8, 16)))
"""Two steps of a dozen sentences."""
SHORT = split(CORPUS, task(("PER", "LOC"), range(5), range(2)), task(("DATE",), range(12, 17), range(8, 10)))
"""Two steps of five sentences, for a device on which each operation is slow."""

LARGE = corpus(150, 30)
ONE = split(LARGE, task(tuple(NAMES), range(150), range(30)))
"""One task of all types, with enough sentences for every method that learns. From 100 sentences, low-rank adapters and
contrasts of types find barely nine of ten mentions in unseen sentences; from 150 they find nearly all."""


def with_types(types: Sequence[str]) -> list[int]:
    """Return the ids (24 or higher) of train sentences of ``CORPUS`` that mention each of ``types``."""
    return [s.id for s in CORPUS.parts["train"][24:] if {m.type for m in s.mentions} >= {*types}]


def without(type: str) -> list[int]:
    """Return the ids (24 or higher) of train sentences of ``CORPUS`` without a mention of ``type``."""
    return [s.id for s in CORPUS.parts["train"][24:] if type not in {m.type for m in s.mentions}]


def poisoned_corpus(tasks: Sequence[Task], cumulative: bool) -> Corpus:
    """Return the corpus with false mentions in place of those that the last of ``tasks`` hides."""
    so_far = {type for task in tasks for type in task.types}

    def spoil(part: str, sentence: Sentence) -> Sentence:
        own = {t for task in tasks if part != "test" and sentence.id in getattr(task, part) for t in task.types}
        kept = so_far if own and cumulative else own
        mentions = {m for m in sentence.mentions if m.type in kept} | {Mention(0, 1, t) for t in {*NAMES} - kept}
        return replace(sentence, mentions=tuple(sorted(mentions)))

    return replace(CORPUS, parts={p: tuple(spoil(p, s) for s in sentences) for p, sentences in CORPUS.parts.items()})


def batch(learner: Learner, sentences: Sequence[Sentence]) -> Batch:
    """Return the sentences, without their labels, as one batch."""
    tokens = learner.encoder.tokeniser.tokenise([s.words for s in sentences])
    examples = (Example(i, s.only(()), t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True)))
    return Batch(tuple(examples), learner.device)
