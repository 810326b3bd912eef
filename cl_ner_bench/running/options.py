"""The options of `bench run`: one table for the command line, config files and Python.

Precedence: `--set` > flag > the config file's ``set`` > its keys > recipe > built-in default. The last two are
resolved by ``running.plan``; here flags and config files become :class:`Options`.
"""
# ruff: noqa: RUF009  `option` is `dataclasses.field`

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.division import SHARES
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.models.encoders.info import is_path
from cl_ner_bench.untrusted import read_toml

DEFAULT, FLAG, CONFIG, PRESET = "default", "flag", "config file", "preset"
Settings = dict[str, dict[str, Any]]  # method -> key -> value


def option(default: Any, parse: Callable[[Any], Any], group: str, help: str, metavar: str = "") -> Any:
    """Declare an option. ``parse`` turns what was given into its value, or raises ValueError."""
    about = {"parse": parse, "group": group, "help": help, "metavar": metavar}
    return field(default_factory=dict, metadata=about) if default == {} else field(default=default, metadata=about)


def text(value: Any) -> str:
    if not isinstance(value, str | Path):
        raise ValueError("expected a text")
    try:
        str(value).encode()
    except UnicodeEncodeError:  # a name that the locale cannot read: no file could hold it
        raise ValueError("expected a text of this locale; set PYTHONUTF8=1, or use a name in UTF-8") from None
    return str(value)


def path(value: Any) -> str:
    return str(Path(text(value)).expanduser())


def encoder_name(value: Any) -> str:
    """Return an encoder's name; a ``Path`` is a folder, a text is one only where it is written as a path."""
    return os.path.abspath(value) if isinstance(value, Path) else text(value)


def names(value: Any) -> tuple[str, ...]:
    values = value.split(",") if isinstance(value, str) else value
    return tuple(text(v).strip() for v in values if text(v).strip())


def number(kind: type, least: float, most: float = math.inf) -> Callable[[Any], Any]:
    bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    expected = f"expected {'a whole number' if kind is int else 'a number'} {bounds}"

    def parse(value: Any) -> Any:
        try:
            result = kind(value)
            good = (
                not isinstance(value, bool) and result == float(value) and least <= result <= most and result < math.inf
            )
        except (TypeError, ValueError, OverflowError):
            good = False
        if not good:
            raise ValueError(expected)
        return result

    return parse


def share(value: Any) -> float:
    found: float = number(float, 0)(value)
    if not 0 < found <= 1:
        raise ValueError("expected a number above 0 and of at most 1")
    return found


def shares(value: Any) -> tuple[int, ...]:
    """Return the shares of train, dev and test in percent."""
    try:
        found = tuple(map(number(int, 1), value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError):
        found = ()
    if len(found) != 3 or sum(found) != 100:
        raise ValueError(f"expected {SHARES}")
    return found


def numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Iterable):
        raise ValueError("expected a list of numbers, as [0, 1]")
    values = value.split(",") if isinstance(value, str) else value
    found = tuple(dict.fromkeys(number(int, 0)(v) for v in values))
    if not found:
        raise ValueError("expected at least one whole number")
    return found


def orders(value: Any) -> tuple[int, ...] | str:
    return "all" if value == "all" else numbers(value)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def one_of(*choices: str, pattern: str = "(?!)") -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            near = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"expected one of {', '.join(choices)}.{near}".removesuffix("."))
        return str(value)

    return parse


def tasks(value: Any) -> str:
    """Return tasks as text, ``"ORG;PERSON;GPE,DATE"``; a list of lists of types is accepted too."""
    return value if isinstance(value, str) else ";".join(",".join(names(group)) for group in value)


def settings(value: Any) -> Settings:
    """Parse ``METHOD.KEY=VALUE`` texts (values as in TOML, else plain text), or a table method -> key -> value."""
    found: Settings = {}
    if isinstance(value, Mapping):
        for method, row in value.items():
            if not isinstance(row, Mapping):
                raise ValueError(f"expected a table of settings for {method!r}")
            found[method] = dict(row)
        return found
    for item in [value] if isinstance(value, str) else value:
        match = re.fullmatch(r"\s*([^=]+)\.([^.=]+?)\s*=(.*)", item)
        if not match:
            raise ValueError(f"expected METHOD.KEY=VALUE, not {item!r}")
        found.setdefault(match[1], {})[match[2]] = _value(match[3].strip())
    return found


def pairs(value: Any) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` texts (values as in TOML, else plain text), or a table."""
    if isinstance(value, Mapping):
        return dict(value)
    split = [item.partition("=") for item in ([value] if isinstance(value, str) else value)]
    if not all(key.strip() and equals for key, equals, _ in split):
        raise ValueError("expected KEY=VALUE")
    return {key.strip(): _value(written.strip()) for key, _, written in split}


def _value(written: str) -> Any:
    try:
        return tomllib.loads(f"v = {written}")["v"]
    except (ValueError, RecursionError):
        return written


TRACKERS = ("mlflow", "wandb", "tensorboard", "trackio")
METHODS, DATA, TRAINING, MACHINE, FILES = "methods", "data and tasks", "training", "machine", "files"


@dataclass(frozen=True)
class Options:
    """All options of `bench run`. None stands for the default that the help names, or for none."""

    methods: tuple[str, ...] = option(
        ("spankl", "extendner", "finetune", "joint"),
        names,
        METHODS,
        "methods to compare: names of `bench list methods`, FILE.py or FILE.py:NAME; PLUG+METHOD is a plug-in (a "
        "name or FILE.py:NAME) on a method; LABEL=METHOD names a variant",
        "a,b",
    )
    bounds: str = option(
        "auto",
        one_of("auto", "none"),
        METHODS,
        "auto: add the joint bound of each architecture in use",
        "auto|none",
    )
    set: Settings = option(
        {}, settings, METHODS, "set a hyper-parameter of one method; may be repeated", "METHOD.KEY=VALUE"
    )
    dataset: str = option(
        "synthetic",
        text,
        DATA,
        "a name of `bench list datasets`, a card, a folder with train, dev and test files, or what --parts divides",
        "NAME|PATH",
    )
    data: str | None = option(
        None, path, DATA, "your own copy of the corpus (default: the Hugging Face hub's, if the card names one)", "PATH"
    )
    parts: tuple[int, ...] | None = option(
        None,
        shares,
        DATA,
        "divide a file or folder without train, dev and test files, or take missing parts from train: shares in "
        "percent; documents stay whole (default: off)",
        "80,10,10",
    )
    tasks: str | None = option(
        None, tasks, DATA, 'the tasks in their order, as "ORG;PERSON;GPE,DATE" (default: the card\'s)', "TASKS"
    )
    scenario: str = option(
        "split",
        text,
        DATA,
        "split, filter, fgA-pgB (A types first, then B per step), fgA-pgB-seen, add-one[-kN] (all types but one, then "
        "that one from N mentions; an order is a new type), domains, one of the card's, or a .toml",
        "NAME",
    )
    orders: Any = option((0,), orders, DATA, "task orders, as the card numbers them; all: each of them", "0,1|all")
    split_seed: int = option(1, number(int, 0), DATA, "random seed of the task split, --parts and --max-sentences", "N")
    split: str | None = option(
        None, path, DATA, "replay a task split that `bench data split` wrote (default: make one)", "FILE.json"
    )
    max_sentences: int | None = option(
        None,
        number(int, 1),
        DATA,
        "train on a random sample of N sentences, dev and test in proportion; every output says so (default: all)",
        "N",
    )
    seeds: tuple[int, ...] = option(
        (0,), numbers, TRAINING, "random seeds of weights, dropout and shuffling; each gives a run", "0,1,2"
    )
    encoder: str = option(
        "minilm",
        encoder_name,
        TRAINING,
        "minilm (offline), a Hugging Face encoder as NAME or NAME@REVISION, or a folder as ./PATH or /PATH",
        "NAME|PATH",
    )
    recipe: str | None = option(
        None,
        text,
        TRAINING,
        "hyper-parameters of the card, or a file that `bench tune` wrote (default: the encoder's, else paper)",
        "NAME|FILE.toml",
    )
    epochs: int | None = option(None, number(int, 1), TRAINING, "epochs per step (default: the recipe's)", "N")
    batch_size: int | None = option(None, number(int, 1), TRAINING, "sentences per batch (default: the recipe's)", "N")
    lr: float | None = option(
        None, number(float, 0), TRAINING, "learning rate of the encoder (default: the recipe's)", "X"
    )
    head_lr: float | None = option(
        None, number(float, 0), TRAINING, "learning rate of the head (default: the recipe's)", "X"
    )
    warmup_share: float | None = option(
        None,
        number(float, 0, 1),
        TRAINING,
        "share of a step's updates in which the learning rates rise to their values (default: the recipe's)",
        "X",
    )
    warmup_updates: int | None = option(
        None, number(int, 0), TRAINING, "longest warm-up in updates (default: the recipe's)", "N"
    )
    clip: float | None = option(
        None, number(float, 0), TRAINING, "longest gradient, as its norm; 0: no clipping (default: the recipe's)", "X"
    )
    max_length: int | None = option(
        None,
        number(int, 8),
        TRAINING,
        "longest window in sub-tokens; longer sentences are read in several (default: the recipe's)",
        "N",
    )
    max_span_width: int | None = option(
        None,
        number(int, 0),
        TRAINING,
        "longest mention of span methods in words, 0: no limit; changes training (default: the recipe's)",
        "N",
    )
    pool: int | None = option(
        None,
        number(int, 1),
        TRAINING,
        "sort the sentences of N batches by length before batching: faster, changes training (default: 1, off)",
        "N",
    )
    joint_steps: str | None = option(
        None,
        one_of("all", "last"),
        TRAINING,
        "train joint models at every step or only at the last (default: the card's, else all)",
        "all|last",
    )
    training_check: bool = option(
        False,
        flag,
        TRAINING,
        "also train step 1 for twice the epochs, once per architecture; below 90 % of that, a method is undertrained",
    )
    nested: bool = option(False, flag, TRAINING, "keep nested predictions of span methods")
    device: str = option(
        "auto",
        one_of("auto", "cpu", "cuda", pattern=r"cuda:\d+"),
        MACHINE,
        "device to train on; auto: CUDA if there is a GPU, else the CPU",
        "auto|cpu|cuda|cuda:1",
    )
    precision: str = option(
        "auto",
        one_of("auto", "fp32", "bf16"),
        MACHINE,
        "number format of training; auto: fp32 on the CPU, bf16 on CUDA",
        "auto|fp32|bf16",
    )
    exact: bool = option(
        False,
        flag,
        MACHINE,
        "disable all approximations (fp16 teacher logits, span-width limit, length pooling)",
    )
    threads: int = option(
        1, number(int, 1), MACHINE, "CPU threads per run; changes the last bits, so results store it", "N"
    )
    jobs: int | None = option(
        None, number(int, 1), MACHINE, "runs at a time (default: as many as cores or GPUs, and memory, allow)", "N"
    )
    gpus_per_run: float = option(1.0, share, MACHINE, "share of a GPU per run; 0.5: two runs on each GPU", "X")
    backend: str = option(
        "loky",
        text,
        MACHINE,
        "scheduler of the runs: processes of this machine (loky), or a cluster",
        "loky|dask|ray|slurm",
    )
    scheduler: str | None = option(
        None, text, MACHINE, "address of a running dask or ray cluster (default: start one here)", "ADDRESS"
    )
    slurm: dict[str, Any] = option(
        {},
        pairs,
        MACHINE,
        "a parameter of sbatch, as partition=gpu or time=1440 (minutes); may be repeated",
        "KEY=VALUE",
    )
    timeout: float | None = option(
        None,
        number(float, 1),
        MACHINE,
        "longest time of a step; a run that exceeds it fails (default: none)",
        "SECONDS",
    )
    out: str | None = option(
        None,
        path,
        FILES,
        "results folder; further commands add runs to it (default: results/DATASET-SCENARIO)",
        "DIR",
    )
    replace: tuple[str, ...] = option(
        (),
        names,
        FILES,
        "learn these methods again where the results folder holds runs of them with other settings or code; the old "
        "runs are moved to DIR/replaced",
        "a,b",
    )
    store: str | None = option(
        None,
        text,
        FILES,
        "URL of an object store (s3://...) that shares results between machines without a common file system "
        "(default: none)",
        "URL",
    )
    checkpoint_seconds: float = option(
        60.0,
        number(float, 0),
        FILES,
        "shortest time between two checkpoints of a step, at ends of epochs; a stopped step resumes from the last",
        "SECONDS",
    )
    keep_models: str = option(
        "last",
        one_of("last", "all", "none"),
        FILES,
        "models to keep in the results folder: of each run's last step, of all steps, or none",
        "last|all|none",
    )
    no_report: bool = option(
        False,
        flag,
        FILES,
        "write no CSV files, tables, figures and page; `bench report` makes them",
    )
    tracker: str | None = option(
        None,
        one_of(*TRACKERS),
        FILES,
        "also send the scores of every finished step to an experiment tracker (default: none)",
        "|".join(TRACKERS),
    )

    @property
    def elsewhere(self) -> bool:
        """True if other machines learn the runs, whose number and devices are not known here."""
        return self.scheduler is None if self.backend == "slurm" else self.scheduler is not None


OPTIONS = {f.name: f for f in fields(Options)}
NOT_OF_THE_GRID = (
    *("out", "replace", "store", "jobs", "gpus_per_run", "backend", "scheduler", "slurm"),
    *("timeout", "checkpoint_seconds", "keep_models", "no_report", "tracker"),
)
"""Options that a grid in experiment.toml does not hold: they change no result, or belong to the folder."""


@dataclass(frozen=True)
class Layered:
    """Resolved options, and the origin of each value (``origins`` holds ``METHOD.KEY`` of settings too)."""

    options: Options
    origins: Mapping[str, str]


def layer(
    given: Mapping[str, Any], config: str | Path | None = None, preset: Mapping[str, Any] | None = None
) -> list[Layered]:
    """Return the options of each grid of a config file, overridden by flags (or keyword arguments).

    Values of a ``preset`` stand in for the defaults.

    Raises UserError for unknown keys and values that do not fit; it names the flag, or the file and its key.
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
            words = isinstance(value, list) and OPTIONS[key].default_factory is dict  # a flag that may be repeated
            shown = ", ".join(map(repr, value)) if words else repr(value)
            raise UserError(f"{where(key)} {shown}: {why}") from None
    return found


def read_config(config: str | Path) -> list[dict[str, Any]]:
    """Return the grids of a TOML file: its keys, or each of its ``[[grid]]`` tables. Paths are relative to it."""
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
    for key in ("dataset", "scenario", "recipe"):
        if key in keys and _looks_like_path(keys[key]) and (base / keys[key]).exists():
            keys[key] = str(base / keys[key])
    if is_path(keys.get("encoder", "")):
        keys["encoder"] = str(base / os.path.expanduser(keys["encoder"]))
    if "methods" in keys:
        keys["methods"] = tuple(_method_path(base, method) for method in keys["methods"])
    return keys


def _looks_like_path(value: str) -> bool:
    return "/" in value or "\\" in value or value.startswith(".") or value.endswith((".toml", ".json"))


def _method_path(base: Path, method: str) -> str:
    label, _, spec = method.rpartition("=")
    if re.search(r"\.py(:|$)", spec):
        spec = str(base / Path(spec).expanduser())
    return f"{label}={spec}" if label else spec
