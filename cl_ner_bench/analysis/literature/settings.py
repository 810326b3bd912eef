"""Published numbers, read from ``published/*.toml``. Without pandas and numpy, to keep listings fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.untrusted import read_toml
from cl_ner_bench.validation import MisfitError, Text, convert

FOLDER = Path(__file__).parent / "published"
UNKNOWN = "unknown"  # a view or an encoder that the source does not state: nothing is comparable with it


@dataclass(frozen=True)
class KnownEncoder:
    """The encoder that a printed name stands for: a repository of the Hugging Face hub, its commit and its shape.

    ``repository`` is '' for an encoder from a package. ``revision`` is '' if the published commit is unknown; any
    commit of the repository is then accepted. ``width``: size of a word vector. ``vocabulary``: number of sub-tokens.
    """

    repository: str
    revision: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    cased: bool

    @property
    def spec(self) -> str:
        """Return the value of `bench run --encoder` for this encoder."""
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


ENCODERS = {
    "minilm": KnownEncoder("", "", 6, 384, 12, 30522, cased=False),
    "bert-base-cased": KnownEncoder(
        "google-bert/bert-base-cased", "cd5ef92a9fb2f889e972770a36d4ed042daf221e", 12, 768, 12, 28996, cased=True
    ),
    "bert-large-cased": KnownEncoder("google-bert/bert-large-cased", "", 24, 1024, 16, 28996, cased=True),
}
SHAPE = {"layers": "layers", "width": "wide", "heads": "heads", "vocabulary": "sub-tokens"}


_SCORE = "a score of -100 to 100"
_Score = Annotated[float, Meta(ge=-100, le=100, description=_SCORE)]
_Scores = tuple[_Score, ...]
# Not tuple[_Score, _Score]: msgspec 0.23 corrupts its memory if a union holds a bounded number and a fixed tuple.
_Pair = Annotated[_Scores, Meta(min_length=2, max_length=2)]


class RowTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a row in a file. A value is a mean, or a mean and its standard deviation."""

    label: str
    method: str = ""
    group: str = "memory-free"
    order: int | None = None
    values: Mapping[str, Annotated[_Score | _Pair, Meta(description=f"{_SCORE}, or a mean and its deviation")]] = {}
    steps: Mapping[str, _Scores] = {}
    tasks: tuple[_Scores, ...] = ()

    def __post_init__(self) -> None:
        if [len(scores) for scores in self.tasks] != list(range(1, len(self.tasks) + 1)):
            raise MisfitError("tasks", "k scores in row k")


class PublishedRow(RowTable, frozen=True):
    """One method's numbers, 0..100; ``method`` is its name in this suite, or ''.

    ``values``: measure -> (mean, standard deviation; nan if unknown). ``steps``: measure -> the scores after steps 1,
    2, ... ``tasks``: row k holds the F1 after step k of tasks 1..k, in learning order. ``order``: an order of the
    dataset's card, or None for a mean over the setting's orders.
    """

    values: Mapping[str, tuple[float, float]] = {}


class Erratum(Struct, frozen=True, forbid_unknown_fields=True):
    """A misprinted cell. The row holds ``right`` instead of ``printed``; ``right`` is nan if it is unknown."""

    row: str
    measure: str
    printed: float
    why: str
    right: float = math.nan


class Preset(Struct, frozen=True, forbid_unknown_fields=True):
    """The options with which `bench reproduce` repeats a setting, and the margins of agreement.

    ``margins``: measure -> the largest difference of means (in points) that counts as agreement. ``why``: the reason
    for the margins. ``deviations``: the known differences from the published experiment.
    """

    recipe: str
    seeds: tuple[int, ...]
    margins: Mapping[str, float]
    why: str
    deviations: tuple[str, ...] = ()


class SettingTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a setting in a file; :class:`Setting` describes them."""

    name: Text
    source: str
    cite: str
    place: str
    evidence: Literal["printed", "digitised", "inferred", "third-party snippet"]
    dataset: str
    scenario: str
    view: str
    encoder: str
    n_steps: int
    rows: tuple[RowTable, ...]
    orders: tuple[int, ...] = ()
    runs: int = 0
    ddof: int = 1
    notes: tuple[str, ...] = ()
    federated: bool = False
    defects: str = ""
    errata: tuple[Erratum, ...] = ()
    preset: Preset | None = None

    def __post_init__(self) -> None:
        for k, row in enumerate(self.rows):
            lengths = {len(scores) for scores in [*row.steps.values(), row.tasks] if scores}
            if any(length > self.n_steps for length in lengths):
                raise MisfitError(f"rows[{k}]", f"at most {self.n_steps} steps", f"{max(lengths)} in row {row.label!r}")
        for k, erratum in enumerate(self.errata):
            if not any(row.label == erratum.row and erratum.measure in row.values for row in self.rows):
                expected = "a row and a measure of this setting"
                raise MisfitError(f"errata[{k}]", expected, f"no row {erratum.row!r} with {erratum.measure!r}")


class Setting(SettingTable, frozen=True):
    """The numbers of one source under one protocol.

    ``cite``: the source's name in tables. ``place``: the place of the numbers in the source. ``runs``: the number of
    runs behind a cell (0 if unknown). ``ddof``: the ddof of the standard deviations. ``federated``: clients learned
    without sharing their sentences. ``defects``: known errors of the implementations behind the numbers.
    """

    rows: tuple[PublishedRow, ...]
    file: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods of this suite that have numbers here."""
        return tuple(dict.fromkeys(row.method for row in self.rows if row.method))


@cache
def settings() -> Mapping[str, Setting]:
    """Return all published settings by name, in the order of their files."""
    return read_settings(FOLDER)


def presets() -> dict[str, Setting]:
    """Return the settings that `bench reproduce` can repeat.

    These have a preset, a method of this suite, a known view and a known encoder.
    """
    known = {name: setting for name, setting in settings().items() if setting.preset and setting.methods}
    return {name: setting for name, setting in known.items() if setting.view != UNKNOWN and setting.encoder in ENCODERS}


def read_settings(folder: Path) -> dict[str, Setting]:
    """Return the settings in the TOML files of a folder. Raises UserError, with file and key, for a wrong value."""
    found: dict[str, Setting] = {}
    for path in sorted(folder.glob("*.toml")):
        for setting in _read(path):
            if setting.name in found:
                raise UserError(
                    f"{path}: key 'name': {setting.name!r} is also in {found[setting.name].file}; rename one"
                )
            found[setting.name] = setting
    return found


def encoder_name(run: RunRecord) -> str:
    """Return the printed name of a run's encoder."""
    return printed_name(run.encoder)


def printed_name(encoder: str) -> str:
    """Return an encoder's name in tables: the last part of its folder or of ``OWNER/NAME``."""
    return encoder.rstrip("/\\").replace("\\", "/").split("/")[-1]


def encoder_differences(name: str, run: RunRecord) -> list[str]:
    """Return the stored differences between a run's encoder and the encoder that ``name`` stands for."""
    if encoder_name(run) != name:
        return [f"encoder {name}, here {encoder_name(run)}"]
    if name not in ENCODERS:
        return [f"which encoder {name} is, is not known here"]
    known, found = ENCODERS[name], run.encoder_identity
    if found is None:
        return [f"whether the encoder is {known.repository or name} is not stored"]
    wrong = []
    if found.source != ("hub" if known.repository else "package"):
        wrong.append(f"from a {found.source}, not {'the hub' if known.repository else 'its package'}")
    elif known.repository and found.repository not in (known.repository, name):
        wrong.append(f"{found.repository}, not {known.repository}")
    elif known.revision and found.revision != known.revision:
        wrong.append(f"commit {str(found.revision)[:8]}, not {known.revision[:8]}")
    for key, unit in SHAPE.items():
        if getattr(found, key) == getattr(known, key):
            continue
        if key == "layers" and run.settings.get("encoder_layers"):
            wrong.append(f"the lowest {found.layers} of its {known.layers} layers alone")
        else:
            wrong.append(f"{_number(getattr(found, key))} {unit}, not {getattr(known, key):,}")
    if found.cased != known.cased:
        wrong.append("uncased" if known.cased else "cased")
    return [f"the encoder is not {name}: {', '.join(wrong)}"] if wrong else []


def corpus_differences(run: RunRecord) -> list[str]:
    """Return the stored differences between a run's corpus and the published one."""
    if run.corpus is None:
        return ["whether the corpus is the published one is not stored"]
    found = run.corpus.differences
    return [f"the corpus is not the published one: {'; '.join(found)}"] if found else []


def _number(size: int | None) -> str:
    return "unknown" if size is None else f"{size:,}"


class _File(Struct, frozen=True):
    """A file of settings. All other keys at its top level apply to each of its ``results``."""

    schema: Literal[1]
    results: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def _read(path: Path) -> list[Setting]:
    table = read_toml(path, str(path))
    file = convert(table, _File, str(path))
    common = {key: value for key, value in table.items() if key not in _File.__struct_fields__}
    return [_setting({**common, **one, "notes": [*one.get("notes", []), *file.notes]}, path) for one in file.results]


def _setting(table: dict[str, Any], path: Path) -> Setting:
    found = convert(table, SettingTable, f"{path}: {table.get('name', 'results')}")
    rows = tuple(PublishedRow(**msgspec.structs.asdict(row) | {"values": _pairs(row)}) for row in found.rows)
    return Setting(**msgspec.structs.asdict(found) | {"rows": rows, "file": str(path)})


def _pairs(row: RowTable) -> dict[str, tuple[float, float]]:
    return {name: (v[0], v[1]) if isinstance(v, tuple) else (v, math.nan) for name, v in row.values.items()}
