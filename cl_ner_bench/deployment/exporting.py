"""Export of a model in memory to a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors.torch
import torch
from msgspec import structs

from cl_ner_bench.deployment.model_card import model_card
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.learning.transformers_form import UnfitError, plain_weights, write_tagger
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.storage.model_folder import (
    CONFIG,
    LEARNER,
    WEIGHTS,
    ExportedModel,
    LearnerFacts,
    ModelRecord,
    write_model_folder,
)

_SETTINGS = "tokenizer_config.json"
_TOKENIZER = (
    *("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
)
_NOT_COPIED = ("auto_map", "_name_or_path", "name_or_path", "torch_dtype", "dtype")  # code, paths, half precision


def export_model(record: ModelRecord, trainer: Trainer, card: MethodCard, out: Path) -> ExportedModel:
    """Write a model into the new or empty folder ``out`` (see ``Model.export``). Return the record of the folder."""
    made: list[ExportedModel] = []

    def write(folder: Path) -> tuple[ExportedModel, str]:
        tensors, facts = trainer.state()
        tensors = {name: value.cpu() for name, value in tensors.items()}
        home, names, pipeline = _write_encoder(trainer.learner, folder)
        weights = safetensors.torch.load_file(folder / home / WEIGHTS)
        shared = {
            name: place
            for name, value in tensors.items()
            if (place := names.get(_plain(name))) and torch.equal(value, weights[place])
        }
        rest = {name: value for name, value in tensors.items() if name not in shared}
        safetensors.torch.save_file(rest, folder / LEARNER)
        found = ExportedModel(
            model=_portable(record, card),
            learner=msgspec.convert(facts, LearnerFacts),
            home=home,
            shared=shared,
            pipeline=pipeline,
        )
        made.append(found)
        return found, model_card(found, card)

    write_model_folder(out, write)
    return made[0]


def _portable(record: ModelRecord, card: MethodCard) -> ModelRecord:
    """Return a record without the paths of files that the method reads, because they are valid on this machine only."""
    own = {**record.settings["method"], **dict.fromkeys(card.files, "")}
    return structs.replace(record, settings={**record.settings, "method": own})


def _plain(name: str) -> str:
    """Return the name of a learner's tensor in the weights of its encoder, or ""."""
    return name.removeprefix("encoder.backbone.").replace(".base_layer.", ".") if name.startswith("encoder.") else ""


def _write_encoder(learner: Learner, folder: Path) -> tuple[Literal[".", "encoder"], dict[str, str], str]:
    """Write config, tokenizer and weights of the encoder, with the linear layer if the learner is a tagger.

    Return the folder of these files below ``folder``; a map from the names in ``plain_weights`` to the names in the
    file of weights; and the reason why transformers cannot load them as a tagger, or "" if it can.
    """
    info = learner.encoder.info
    config = {key: value for key, value in info.json(CONFIG).items() if key not in _NOT_COPIED} | {"dtype": "float32"}
    _write_tokenizer(info, folder)
    try:
        return ".", write_tagger(learner, folder, folder / WEIGHTS, config), ""
    except UnfitError as error:
        why = str(error)
    home = folder / "encoder"
    home.mkdir()
    for path in folder.iterdir():
        if path.suffix in (".json", ".txt", ".model"):
            path.rename(home / path.name)
    (folder / WEIGHTS).unlink(missing_ok=True)
    _write_json(home / CONFIG, config)
    weights = plain_weights(learner, merged=False)
    safetensors.torch.save_file(weights, home / WEIGHTS, {"format": "pt"})
    return "encoder", {name: name for name in weights}, why


def _write_tokenizer(info: EncoderInfo, folder: Path) -> None:
    """Copy the files of an encoder's tokenizer, without keys that name code or paths.

    Set two values that make transformers read text as this suite does. It cuts at the longest input for which the
    encoder has positions. With a byte-level tokenizer, it splits each word as if a space stood before it.
    """
    for name in _TOKENIZER:
        if (info.folder / name).is_file():
            shutil.copyfile(info.folder / name, folder / name)
    tokenizer = info.json("tokenizer.json")
    settings = {key: value for key, value in info.json(_SETTINGS).items() if key not in _NOT_COPIED}
    if info.longest is not None:
        settings["model_max_length"] = min(info.longest, settings.get("model_max_length") or info.longest)
    splitter = tokenizer.get("pre_tokenizer") or {}
    first, *_ = splitter.get("pretokenizers", [splitter])
    if first.get("type") == "ByteLevel":
        first["add_prefix_space"] = settings["add_prefix_space"] = True
        _write_json(folder / "tokenizer.json", tokenizer)
    _write_json(folder / _SETTINGS, settings)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
