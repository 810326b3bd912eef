"""A two-layer BERT with random weights and the offline encoder's tokenizer: real components, small enough for tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.models.encoders.info import encoder_info

RECIPE = {
    "epochs": 2,
    "batch_size": 4,
    "lr": 1e-3,
    "head_lr": 1e-2,
    "weight_decay": 0.01,
    "clip": 1.0,
    "dropout": 0.1,
    "warmup_updates": 200,
    "warmup_share": 0.1,
    "max_length": 512,
    "max_span_width": 0,
    "pool": 1,
    "exact": False,
}


def tiny_encoder(folder: Path) -> Path:
    """Write the tiny encoder into ``folder``."""
    from transformers import BertConfig, BertModel  # takes seconds, and most that is here needs none

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(encoder_info("minilm").folder / name, folder / name)
    return folder


def tiny_corpus(n: int = 24) -> Corpus:
    """Sentences in which a name (PER), a city (LOC) and a year (DATE) are told apart by the word itself."""
    names, cities, years = ("anna", "boris", "carla", "dmitri"), ("paris", "oslo", "lima"), ("1990", "2001", "1876")
    sentences = []
    for i in range(n):
        words = (names[i % 4], "went", "to", cities[i % 3], "in", years[i // 2 % 3], ".")[: 7 - i % 3]
        mentions = [Mention(0, 1, "PER"), Mention(3, 4, "LOC"), Mention(5, 6, "DATE")]
        sentences.append(Sentence(i, words, tuple(m for m in mentions if m.end <= len(words))))
    card = Card("tiny", "Tiny", tasks={"PER": ("PER",), "LOC": ("LOC",), "DATE": ("DATE",)})
    parts = {"train": tuple(sentences), "dev": tuple(sentences[: n // 2]), "test": tuple(sentences[: n // 2])}
    return Corpus(card, parts, "generated")
