"""A two-layer BERT with random weights and the offline encoder's tokenizer: real components, small enough for tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

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


CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "dtype": "float32",
}


def tiny_encoder(folder: Path) -> Path:
    """Write the tiny encoder into ``folder``: the weights that transformers draws with seed 0, without its slow
    import."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    weights = {f"{name}.{key}": value for name, part in _drawn().items() for key, value in part.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(encoder_info("minilm").folder / name, folder / name)
    return folder


def _drawn() -> dict[str, nn.Module]:
    """Return the modules of `BertModel` by name, drawn from torch's generator in the order of `BertModel`."""
    width, inner = 32, 64
    words = nn.Embedding(30522, width, padding_idx=0)
    modules: dict[str, nn.Module] = {
        "embeddings.word_embeddings": words,
        "embeddings.position_embeddings": nn.Embedding(512, width),
        "embeddings.token_type_embeddings": nn.Embedding(2, width),
        "embeddings.LayerNorm": nn.LayerNorm(width),
    }
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            modules[f"{layer}.{name}"] = nn.Linear(width, width)
        modules[f"{layer}.attention.output.LayerNorm"] = nn.LayerNorm(width)
        modules[f"{layer}.intermediate.dense"] = nn.Linear(width, inner)
        modules[f"{layer}.output.dense"] = nn.Linear(inner, width)
        modules[f"{layer}.output.LayerNorm"] = nn.LayerNorm(width)
    for module in modules.values():  # like transformers, replace the values that torch drew above
        if isinstance(module, nn.Embedding | nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        words.weight[0] = 0
    return modules


def tiny_corpus(n: int = 24) -> Corpus:
    """Return a corpus of names (PER), cities (LOC) and years (DATE), each word of one type only."""
    names, cities, years = ("anna", "boris", "carla", "dmitri"), ("paris", "oslo", "lima"), ("1990", "2001", "1876")
    sentences = []
    for i in range(n):
        words = (names[i % 4], "went", "to", cities[i % 3], "in", years[i // 2 % 3], ".")[: 7 - i % 3]
        mentions = [Mention(0, 1, "PER"), Mention(3, 4, "LOC"), Mention(5, 6, "DATE")]
        sentences.append(Sentence(i, words, tuple(m for m in mentions if m.end <= len(words))))
    card = Card("tiny", "Tiny", tasks={"PER": ("PER",), "LOC": ("LOC",), "DATE": ("DATE",)})
    parts = {"train": tuple(sentences), "dev": tuple(sentences[: n // 2]), "test": tuple(sentences[: n // 2])}
    return Corpus(card, parts, "generated")
