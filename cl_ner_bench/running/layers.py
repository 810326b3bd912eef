"""Options from several layers: flags or keyword arguments, a config file, and a preset.

Precedence: `--set` > flag > the config file's ``set`` > its keys > recipe > built-in default. This module makes
:class:`Options` of flags and config files. ``running.hyper_parameters`` resolves recipes and defaults.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.models.encoders.info import is_path
from cl_ner_bench.running.option_values import Settings
from cl_ner_bench.running.options import OPTIONS, Options
from cl_ner_bench.untrusted import read_toml

DEFAULT, FLAG, CONFIG, PRESET = "default", "flag", "config file", "preset"


@dataclass(frozen=True)
class Layered:
    """Resolved options and the origin of each value. ``origins`` also has a key ``METHOD.KEY`` for each setting."""

    options: Options
    origins: Mapping[str, str]


def layer(
    given: Mapping[str, Any], config: str | Path | None = None, preset: Mapping[str, Any] | None = None
) -> list[Layered]:
    """Return the options of each grid of a config file. Flags (or keyword arguments) override the file.

    Values of a ``preset`` replace the defaults.

    Raise UserError for unknown keys and wrong values. The message names the flag, or the file and its key.
    """
    flags = _parsed({k: v for k, v in given.items() if v is not None}, lambda key: f"--{key.replace('_', '-')}")
    fixed = _parsed(preset or {}, lambda key: f"preset: {key}")
    return [_layered(flags, grid, config, fixed) for grid in (read_config(config) if config else [{}])]


def _layered(
    flags: Mapping[str, Any], keys: Mapping[str, Any], config: str | Path | None, preset: Mapping[str, Any]
) -> Layered:
    source = f"{CONFIG} {config}"
    merged: Settings = {}
    origins = {name: DEFAULT for name in OPTIONS if name != "set"}
    for origin, table in ((f"set in {source}", keys.get("set", {})), ("--set", flags.get("set", {}))):
        for method, row in table.items():
            for key, value in row.items():
                if origin == "--set" or key not in flags:  # a flag overrides the file's `set`
                    merged.setdefault(method, {})[key] = value
                    origins[f"{method}.{key}"] = origin
    values = {**preset, **keys, **flags, "set": merged}
    origins |= dict.fromkeys(preset, PRESET)
    origins |= {key: source for key in keys if key != "set"} | {key: FLAG for key in flags if key != "set"}
    return Layered(Options(**values), origins)


def _parsed(values: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        if key not in OPTIONS:
            raise UserError(f"{where(key)}: no such option.{did_you_mean(key, list(OPTIONS))}")
        try:
            found[key] = OPTIONS[key].metadata["parse"](value)
        except (TypeError, ValueError) as error:
            why = str(error) if str(error).startswith("expected") else f"expected {OPTIONS[key].metadata['metavar']}"
            words = isinstance(value, list) and OPTIONS[key].default_factory is dict  # a flag that a command may repeat
            shown = ", ".join(map(repr, value)) if words else repr(value)
            raise UserError(f"{where(key)} {shown}: {why}") from None
    return found


def read_config(config: str | Path) -> list[dict[str, Any]]:
    """Return the grids of a TOML file: its keys, or its ``[[grid]]`` tables. Paths are relative to the file."""
    file = Path(config)
    table = read_toml(file, f"--config {file}:")
    if table.pop("schema", 1) != 1:
        raise UserError(f"--config {file}: written by a newer version (schema 1 is known here)")
    grids = table.pop("grid", None)
    if grids is not None and (table or not isinstance(grids, list) or not grids):
        raise UserError(f"--config {file}: expected nothing but [[grid]] tables beside 'schema'")
    return [_config_keys(file, grid) for grid in grids or [table]]


def _config_keys(file: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    keys = _parsed({k.replace("-", "_"): v for k, v in table.items()}, lambda key: f"--config {file}: {key}")
    base = file.resolve().parent
    for key in ("data", "split", "out"):
        if key in keys:
            keys[key] = str(base / keys[key])
    for key in ("scenario", "recipe"):
        if key in keys and _looks_like_path(keys[key]):
            keys[key] = str(base / keys[key])
    if "dataset" in keys and (_looks_like_path(keys["dataset"]) or _stands_beside(base, keys["dataset"])):
        keys["dataset"] = str(base / os.path.expanduser(keys["dataset"]))
    if is_path(keys.get("encoder", "")):
        keys["encoder"] = str(base / os.path.expanduser(keys["encoder"]))
    if "methods" in keys:
        keys["methods"] = tuple(_method_path(base, method) for method in keys["methods"])
    for settings in keys.get("set", {}).values():
        settings |= {k: str(base / v) for k, v in settings.items() if isinstance(v, str) and (base / v).is_file()}
    return keys


def _stands_beside(base: Path, dataset: str) -> bool:
    """Return True if a corpus without a card's name is a file or folder in ``base``."""
    return dataset not in list_cards() and (base / dataset).exists()


def _looks_like_path(value: str) -> bool:
    return "/" in value or "\\" in value or value.startswith(".") or value.endswith((".toml", ".json"))


def _method_path(base: Path, method: str) -> str:
    label, _, spec = method.rpartition("=")
    parts = [str(base / Path(p).expanduser()) if re.search(r"\.py(:|$)", p) else p for p in spec.split("+")]
    return "=".join([*filter(None, [label]), "+".join(parts)])
