"""The options of `bench run`: one table for the command line, config files and Python, in layers.

Precedence: `--set` > flag > the config file's ``set`` > its keys > recipe > built-in default.
The last two are resolved by ``running.plan``; here flags and config files become :class:`Options`.
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

from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.models.encoders.info import is_path
from cl_ner_bench.untrusted import read_toml

DEFAULT, FLAG, CONFIG = "default", "flag", "config file"
Settings = dict[str, dict[str, Any]]  # method -> key -> value


def option(default: Any, parse: Callable[[Any], Any], group: str, help: str, metavar: str = "") -> Any:
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


def number(kind: type, least: float) -> Callable[[Any], Any]:
    expected = f"expected {'a whole number' if kind is int else 'a number'} of at least {least:g}"

    def parse(value: Any) -> Any:
        try:
            result = kind(value)
            good = not isinstance(value, bool) and result == float(value) and least <= result < math.inf
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


def numbers(value: Any) -> tuple[int, ...]:
    values = value.split(",") if isinstance(value, str) else value if isinstance(value, Iterable) else [value]
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
            raise ValueError(f"expected one of {', '.join(choices)}")
        return str(value)

    return parse


def tasks(value: Any) -> str:
    """The text form ``"ORG;PERSON;GPE,DATE"``; a list of lists of types is accepted too."""
    return value if isinstance(value, str) else ";".join(",".join(names(group)) for group in value)


def settings(value: Any) -> Settings:
    """``METHOD.KEY=VALUE`` texts (values as in TOML, else plain text), or a table method -> key -> value."""
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
    """``KEY=VALUE`` texts (values as in TOML, else plain text), or a table."""
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
WHAT, DATA, TRAINING, MACHINE, FILES = "what to compare", "data and tasks", "training", "machine", "files"


@dataclass(frozen=True)
class Options:
    """Every option of `bench run`. ``None`` means: the recipe's, or none."""

    methods: tuple[str, ...] = option(
        ("spankl", "extendner", "finetune", "joint"),
        names,
        WHAT,
        "methods of the registry, or a path to your own .py; LABEL=METHOD names a variant",
        "a,b",
    )
    bounds: str = option(
        "auto",
        one_of("auto", "none"),
        WHAT,
        "auto adds the joint bound of each architecture in use",
        "auto|none",
    )
    set: Settings = option({}, settings, WHAT, "a hyper-parameter of one method; may be repeated", "METHOD.KEY=VALUE")
    dataset: str = option(
        "synthetic",
        text,
        DATA,
        "a card's name or path, or a folder with train, dev and test files",
        "NAME|PATH",
    )
    data: str | None = option(None, path, DATA, "where your own copy of the corpus lies", "PATH")
    tasks: str | None = option(None, tasks, DATA, 'tasks and their order by hand, as "ORG;PERSON;GPE,DATE"', "TASKS")
    scenario: str = option(
        "split",
        text,
        DATA,
        "split, filter, fgA-pgB (A types first, then B a step), fgA-pgB-seen, domains, one of the card's, or a .toml",
        "NAME",
    )
    orders: Any = option((0,), orders, DATA, "orders of the tasks, as the card numbers them", "0,1|all")
    split_seed: int = option(1, number(int, 0), DATA, "seed of the task split and of --max-sentences", "N")
    split: str | None = option(None, path, DATA, "replay a task split that was written to a file", "FILE.json")
    max_sentences: int | None = option(
        None, number(int, 1), DATA, "a sample of N train sentences; marked on every output", "N"
    )
    seeds: tuple[int, ...] = option((0,), numbers, TRAINING, "seeds of weights, dropout and shuffling", "0,1,2")
    encoder: str = option(
        "minilm",
        encoder_name,
        TRAINING,
        "minilm (offline), a Hugging Face encoder as NAME or NAME@REVISION, or a folder as ./PATH or /PATH",
        "NAME|PATH",
    )
    recipe: str | None = option(
        None, text, TRAINING, "hyper-parameters of the card (default: the encoder's, else paper)", "NAME"
    )
    epochs: int | None = option(None, number(int, 1), TRAINING, "epochs a step (default: the recipe's)", "N")
    batch_size: int | None = option(None, number(int, 1), TRAINING, "sentences a batch (default: the recipe's)", "N")
    lr: float | None = option(
        None, number(float, 0), TRAINING, "learning rate of the encoder (default: the recipe's)", "X"
    )
    head_lr: float | None = option(
        None, number(float, 0), TRAINING, "learning rate of the head (default: the recipe's)", "X"
    )
    max_length: int | None = option(
        None, number(int, 8), TRAINING, "longest window in subtokens (default: the recipe's)", "N"
    )
    max_span_width: int | None = option(
        None,
        number(int, 0),
        TRAINING,
        "span methods learn and find mentions of at most N words; changes training (default: the recipe's; 0: any)",
        "N",
    )
    pool: int | None = option(
        None,
        number(int, 1),
        TRAINING,
        "sort the sentences of N batches by length before they are cut: faster, changes training (default: 1, off)",
        "N",
    )
    joint_steps: str | None = option(
        None,
        one_of("all", "last"),
        TRAINING,
        "train joint models at every step or at the last only (default: the card's, else all)",
        "all|last",
    )
    training_check: bool = option(
        False,
        flag,
        TRAINING,
        "train step 1 also for twice the epochs, per architecture; below 90 % of it a method is undertrained",
    )
    nested: bool = option(False, flag, TRAINING, "span methods keep nested predictions")
    device: str = option(
        "auto",
        one_of("auto", "cpu", "cuda", pattern=r"cuda:\d+"),
        MACHINE,
        "where to train",
        "auto|cpu|cuda|cuda:1",
    )
    precision: str = option("auto", one_of("auto", "fp32", "bf16"), MACHINE, "auto: fp32 on CPU, bf16 on CUDA", "NAME")
    exact: bool = option(
        False,
        flag,
        MACHINE,
        "teachers in float32, no span limit, no pools: with --precision fp32 the reference profile",
    )
    threads: int = option(1, number(int, 1), MACHINE, "threads of a run; changes the last bits, so it is stored", "N")
    jobs: int | None = option(
        None, number(int, 1), MACHINE, "runs at a time (default: cores or devices, limited by memory)", "N"
    )
    gpus_per_run: float = option(
        1.0, share, MACHINE, "the share of a GPU that a run is given: 0.5 puts two runs on each", "X"
    )
    backend: str = option(
        "loky", text, MACHINE, "what schedules the runs: processes here (loky), or a cluster", "loky|dask|ray|slurm"
    )
    scheduler: str | None = option(
        None, text, MACHINE, "a dask or ray cluster that runs already (default: one is started here)", "ADDRESS"
    )
    slurm: dict[str, Any] = option(
        {}, pairs, MACHINE, "what sbatch is told, as partition=gpu or time=1440 (minutes); may be repeated", "KEY=VALUE"
    )
    timeout: float | None = option(
        None, number(float, 1), MACHINE, "seconds a step may take; a run that needs more fails", "SECONDS"
    )
    out: str | None = option(
        None,
        path,
        FILES,
        "results folder; a further command adds runs (default: results/DATASET-SCENARIO)",
        "DIR",
    )
    store: str | None = option(
        None,
        text,
        FILES,
        "an object store that the results folder is a copy of, where machines without a shared folder meet",
        "URL",
    )
    checkpoint_seconds: float = option(
        60.0,
        number(float, 0),
        FILES,
        "a step writes a checkpoint at the end of an epoch, at most this often; a stopped step goes on from it",
        "SECONDS",
    )
    keep_models: str = option(
        "last", one_of("last", "all", "none"), FILES, "which models stay under store/", "last|all|none"
    )
    no_report: bool = option(
        False,
        flag,
        FILES,
        "leave CSV files, tables, figures and the page to `bench report`, which makes them of all runs",
    )
    tracker: str | None = option(
        None,
        one_of(*TRACKERS),
        FILES,
        "also tell an experiment tracker of every finished step (docs/running.md)",
        "|".join(TRACKERS),
    )

    @property
    def elsewhere(self) -> bool:
        """Whether other machines learn the runs: how many they are, and their devices, is not known here."""
        return self.scheduler is None if self.backend == "slurm" else self.scheduler is not None


OPTIONS = {f.name: f for f in fields(Options)}
# What a grid in experiment.toml does not hold: it changes no result, or belongs to the folder.
NOT_OF_THE_GRID = (
    *("out", "store", "jobs", "gpus_per_run", "backend", "scheduler", "slurm"),
    *("timeout", "checkpoint_seconds", "keep_models", "no_report", "tracker"),
)


@dataclass(frozen=True)
class Layered:
    """Resolved options and where each value came from (``origins`` holds ``METHOD.KEY`` of settings too)."""

    options: Options
    origins: Mapping[str, str]


def layer(given: Mapping[str, Any], config: str | Path | None = None) -> list[Layered]:
    """Flags (or keyword arguments) over a config file: one :class:`Layered` for each grid of the file.

    Raises UserError for unknown keys and values that do not fit, naming the flag, or the file and its key.
    """
    flags = _parsed({k: v for k, v in given.items() if v is not None}, lambda key: f"--{key.replace('_', '-')}")
    return [_layered(flags, grid, config) for grid in (read_config(config) if config else [{}])]


def _layered(flags: Mapping[str, Any], keys: Mapping[str, Any], config: str | Path | None) -> Layered:
    source = f"{CONFIG} {config}"
    merged: Settings = {}
    origins = {name: DEFAULT for name in OPTIONS if name != "set"}
    for origin, table in ((f"set in {source}", keys.get("set", {})), ("--set", flags.get("set", {}))):
        for method, row in table.items():
            for key, value in row.items():
                if origin == "--set" or key not in flags:  # a flag stands above the file's `set`
                    merged.setdefault(method, {})[key] = value
                    origins[f"{method}.{key}"] = origin
    values = {**keys, **flags, "set": merged}
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
            raise UserError(f"{where(key)} {value!r}: {why}") from None
    return found


def read_config(config: str | Path) -> list[dict[str, Any]]:
    """The grids of a TOML file: its keys, or each of its ``[[grid]]`` tables. Paths are relative to it."""
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
    for key in ("dataset", "scenario"):
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
