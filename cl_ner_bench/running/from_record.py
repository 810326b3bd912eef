"""The corpus and the trainer that a run's record describes, and torch set to compute as in a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.storage.run_record import RunRecord

if TYPE_CHECKING:
    from cl_ner_bench.learning.memory import Recall
    from cl_ner_bench.learning.trainer import Trainer
    from cl_ner_bench.models.encoders.tokeniser import Tokens


def read_corpus(record: RunRecord) -> Corpus:
    """Return the corpus of a run, with the part on which the run is scored as its test part."""
    from cl_ner_bench.corpora.load import load_corpus

    inputs, settings = record.inputs, record.settings
    corpus = load_corpus(
        inputs["dataset"],
        None if inputs["data"] is None else Path(inputs["data"]),
        inputs["tasks"],
        settings["max_sentences"],
        settings["split_seed"],
        Division.of(inputs.get("parts")),
    )
    return corpus.scored_on_dev() if inputs.get("scored") == "dev" else corpus


def new_trainer(
    card: MethodCard,
    settings: Mapping[str, Any],
    encoder: str,
    seed: int,
    device: str,
    tokens: Mapping[tuple[str, ...], Tokens] | None = None,
    recall: Recall | None = None,
) -> Trainer:
    """Return a trainer of a method with the ``settings`` of a run. The other arguments are those of ``Trainer``."""
    from cl_ner_bench import method_code
    from cl_ner_bench.learning.trainer import Trainer

    return Trainer(
        method_code.load_class(card),
        settings["method"],
        settings,
        encoder,
        seed,
        device,
        settings["precision"],
        settings["nested"],
        tokens,
        recall,
    )


def set_arithmetic(threads: int, device: str) -> None:
    """Let torch compute as in a run: with so many threads, and with deterministic kernels."""
    import torch

    torch.set_num_threads(threads)
    if device != "cpu":  # CPU kernels are deterministic anyway; the call would import torch's compiler
        torch.use_deterministic_algorithms(True, warn_only=True)
