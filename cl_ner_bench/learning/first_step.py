"""Check that a method's step 1 equals that of its base learner, so a grid may share it between methods."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.evaluation import ProgressCallback
from cl_ner_bench.learning.learner import Learner, Output, SpanLearner, TagLearner
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.encoders.bert import Bert
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.scenarios.task import StepData

_BASES = {base.architecture: base for base in (SpanLearner, TagLearner)}
_TYPES = ("A", "B", "C")
_WORDS = 30
_CONFIG = {
    "model_type": "bert",
    "vocab_size": _WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


def deviation(
    learner: type[Learner],
    settings: Mapping[str, Any],
    recipe: Mapping[str, Any],
    progress: ProgressCallback = lambda _: None,
) -> str:
    """Return the names of the results in which a method's step 1 differs from its base learner's; '' if none does.

    Both learn a few invented sentences by the given recipe, with a tiny BERT of random weights. Their weights, records
    and predictions are compared bit by bit, so every hook counts. Differences that show only with more data or another
    kind of encoder are not found.

    Args:
        progress: called after each update of the method; may raise to stop.
    """
    own, base = _outcome(learner, settings, recipe, progress), _of_base(learner.architecture, json.dumps(recipe))
    return ", ".join(name for name, value in base.items() if own[name] != value)


@cache
def _of_base(architecture: str, recipe: str) -> dict[str, Any]:
    return _outcome(_BASES[architecture], {}, json.loads(recipe))


def _outcome(
    learner: type[Learner],
    settings: Mapping[str, Any],
    recipe: Mapping[str, Any],
    progress: ProgressCallback = lambda _: None,
) -> dict[str, Any]:
    train, dev, test = (tuple(_sentences(seed, n)) for seed, n in enumerate((8, 6, 6)))
    tokens = {s.words: _tokens(s) for s in (*train, *dev, *test)}
    with tempfile.TemporaryDirectory() as folder:
        _write_encoder(Path(folder))
        trainer = Trainer(
            learner, settings, {**recipe, "batch_size": 4, "encoder_layers": 0}, folder, seed=0, tokens=tokens
        )
        record = trainer.learn(StepData(1, _TYPES, _TYPES, train, dev, _TYPES), progress)
    predictions = trainer.predict([s.only(()) for s in test], progress)
    lengths = [len(s.words) for s in test]  # random logits, too: a model that hardly learned predicts few mentions
    logits = torch.randn(
        sum(trainer.learner.rows(lengths)), trainer.learner.n_columns, generator=torch.Generator().manual_seed(0)
    )
    predictions += trainer.learner.decode(Output(logits), lengths, _TYPES, False)
    state = {name: (value.shape, value.tolist()) for name, value in trainer.learner.state_dict().items()}
    return {
        "losses": record["losses"],
        "dev scores": record["dev_scores"],
        "frozen parameters": trainer.learner.frozen_parameters,
        "weights": state,
        "predictions": predictions,
    }


def _sentences(seed: int, n: int) -> Iterator[Sentence]:
    rng = np.random.default_rng(seed)
    for i in range(n):
        # A word's number decides its type; mentions of C have two words.
        words = rng.integers(3, _WORDS, 3 + i).tolist()
        kinds = [(at, _TYPES[word % 5]) for at, word in enumerate(words) if word % 5 < 3]
        mentions = [Mention(at, min(at + 1 + (kind == "C"), len(words)), kind) for at, kind in kinds]
        yield Sentence(i, tuple(f"{seed}.{word}" for word in words), tuple(mentions))


def _tokens(sentence: Sentence) -> Tokens:
    ids = np.array([1, *(int(word.partition(".")[2]) for word in sentence.words), 2], np.int32)
    return Tokens(ids, (len(ids),), np.arange(1, len(ids) - 1, dtype=np.int32))


def _write_encoder(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    stream = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(v.shape, generator=stream) * 0.3 for name, v in Bert(_CONFIG).state_dict().items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
