"""An exported model: its files, made from a model in memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors.torch
import torch
from msgspec import structs
from torch import Tensor

from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.running.model_card import model_card
from cl_ner_bench.storage.model_folder import (
    CONFIG,
    LEARNER,
    WEIGHTS,
    ExportedModel,
    LearnerFacts,
    ModelRecord,
    write_model_folder,
)

_BACKBONE = "encoder.backbone."
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
)
_NOT_COPIED = ("auto_map", "_name_or_path", "name_or_path", "torch_dtype", "dtype")  # code, places, half precision


def export_model(record: ModelRecord, trainer: Trainer, card: MethodCard, out: Path) -> ExportedModel:
    """Write a model into the new or empty folder ``out``, see ``Model.export``; return the record of the folder."""
    made: list[ExportedModel] = []

    def write(folder: Path) -> tuple[ExportedModel, str]:
        tensors, facts = trainer.state()
        tensors = {name: value.cpu() for name, value in tensors.items()}
        encoder = trainer.learner.encoder
        home: Literal[".", "encoder"] = "encoder"
        (folder / home).mkdir()
        weights = _plain(encoder.backbone.state_dict())
        _write_encoder(encoder.info, folder / home, {})
        safetensors.torch.save_file(weights, folder / home / WEIGHTS, {"format": "pt"})
        shared = _shared(tensors, weights)
        rest = {name: value for name, value in tensors.items() if name not in shared}
        safetensors.torch.save_file(rest, folder / LEARNER)
        found = ExportedModel(
            model=_portable(record, card),
            learner=msgspec.convert(facts, LearnerFacts),
            home=home,
            shared=shared,
            pipeline="",
        )
        made.append(found)
        return found, model_card(found, card)

    write_model_folder(out, write)
    return made[0]


def _portable(record: ModelRecord, card: MethodCard) -> ModelRecord:
    """Return a record without the paths of files that the method reads: they are of this machine."""
    own = {**record.settings["method"], **dict.fromkeys(card.files, "")}
    return structs.replace(record, settings={**record.settings, "method": own})


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an encoder by the names that they have without adapters, which are left out."""
    return {
        name.replace(".base_layer.", "."): value.detach().cpu().contiguous()
        for name, value in tensors.items()
        if ".lora_" not in name
    }


def _shared(tensors: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, str]:
    """Return the learner's tensors that are stored as weights of the encoder, by name, and their names there."""
    found = {}
    for name, value in tensors.items():
        other = name.removeprefix(_BACKBONE).replace(".base_layer.", ".")
        if name.startswith(_BACKBONE) and other in weights and torch.equal(value, weights[other]):
            found[name] = other
    return found


def _write_encoder(info: EncoderInfo, home: Path, more: dict[str, Any]) -> None:
    """Write config (with ``more``) and tokenizer of an encoder, without what names code or places."""
    for name in (CONFIG, *_TOKENIZER):
        source = info.folder / name
        if not source.is_file():
            continue
        if name not in (CONFIG, "tokenizer_config.json"):
            shutil.copyfile(source, home / name)
            continue
        content = {key: value for key, value in info.json(name).items() if key not in _NOT_COPIED}
        content |= {"dtype": "float32", **more} if name == CONFIG else {}
        (home / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
