"""Published numbers: ``published/*.toml`` as values. Imports neither pandas nor numpy, so that a listing is quick."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError, did_you_mean

FOLDER = Path(__file__).parent / "published"
SCHEMA = 1
EVIDENCE = ("printed", "digitised", "inferred", "third-party snippet")
UNKNOWN = "unknown"  # a view or an encoder that the source does not state: nothing is comparable with it


@dataclass(frozen=True)
class KnownEncoder:
    """The one encoder that a printed name stands for: a repository of the Hugging Face hub, its commit, its shape.

    ``repository`` is '' for what a package brings, ``revision`` '' where no commit is known to be the published one:
    then any of the repository will do. ``width``: of a word vector; ``vocabulary``: sub-tokens.
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
        """The name by which `bench run --encoder` finds it."""
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


ENCODERS = {
    "minilm": KnownEncoder("", "", 6, 384, 12, 30522, cased=False),
    "bert-base-cased": KnownEncoder(
        "google-bert/bert-base-cased", "cd5ef92a9fb2f889e972770a36d4ed042daf221e", 12, 768, 12, 28996, cased=True
    ),
    "bert-large-cased": KnownEncoder("google-bert/bert-large-cased", "", 24, 1024, 16, 28996, cased=True),
}
SHAPE = {"layers": "layers", "width": "wide", "heads": "heads", "vocabulary": "sub-tokens"}


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers, 0..100; ``method`` is the name under which this suite has the same method, if it has.

    ``values``: measure -> (mean, standard deviation; nan where it is not known). ``steps``: measure -> the score after
    each step from the first on. ``tasks``: row k holds the F1 after step k of tasks 1..k, in learning order.
    ``order`` is an order of the dataset's card, None for a mean over the setting's orders.
    """

    label: str
    method: str = ""
    group: str = "memory-free"
    order: int | None = None
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    steps: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tasks: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Erratum:
    """A cell that its source prints wrongly: ``right`` (nan: not known) stands in the row instead of ``printed``."""

    row: str
    measure: str
    printed: float
    why: str
    right: float = math.nan


@dataclass(frozen=True)
class Preset:
    """How `bench reproduce` repeats a setting: options of the grid and what counts as agreement.

    ``margins``: measure -> the largest difference of means, in points, that counts as none; ``why`` gives its reason.
    ``deviations`` are what is known to differ from the published experiment.
    """

    recipe: str
    seeds: tuple[int, ...]
    margins: Mapping[str, float]
    why: str
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """Numbers of one source under one protocol.

    ``cite`` names the source in a row of a table, ``place`` is where in it the numbers stand. ``runs`` is the number
    of runs behind a cell (0: not known), ``ddof`` that of its standard deviations. ``defects`` tells what is known to
    be wrong with the implementations behind the numbers.
    """

    name: str
    source: str
    cite: str
    place: str
    evidence: str
    dataset: str
    scenario: str
    view: str
    encoder: str
    n_steps: int
    rows: tuple[PublishedRow, ...]
    orders: tuple[int, ...] = ()
    runs: int = 0
    ddof: int = 1
    notes: tuple[str, ...] = ()
    defects: str = ""
    errata: tuple[Erratum, ...] = ()
    preset: Preset | None = None
    file: str = field(default="", compare=False)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of this suite that have numbers here."""
        return tuple(dict.fromkeys(row.method for row in self.rows if row.method))


@cache
def settings() -> Mapping[str, Setting]:
    """All published settings by name, in the order of their files."""
    return read_settings(FOLDER)


def presets() -> dict[str, Setting]:
    """The settings that `bench reproduce` can repeat: with a preset, a method of this suite and a known protocol."""
    known = {name: setting for name, setting in settings().items() if setting.preset and setting.methods}
    return {name: setting for name, setting in known.items() if UNKNOWN not in (setting.view, setting.encoder)}


def read_settings(folder: Path) -> dict[str, Setting]:
    """The settings in the TOML files of a folder. Raises UserError that names file and key for what does not fit."""
    found: dict[str, Setting] = {}
    for path in sorted(folder.glob("*.toml")):
        for setting in _read(path):
            if setting.name in found:
                raise UserError(
                    f"{path}: key 'name': {setting.name!r} is also in {found[setting.name].file}; rename one"
                )
            found[setting.name] = setting
    return found


def encoder_name(run: Mapping[str, Any]) -> str:
    """Return the printed name of a run's encoder."""
    return printed_name(run["encoder"])


def printed_name(encoder: str) -> str:
    """Return an encoder's name as tables have it: the last part of a folder, or of a name with its owner's."""
    return encoder.rstrip("/\\").replace("\\", "/").split("/")[-1]


def encoder_differences(name: str, run: Mapping[str, Any]) -> list[str]:
    """Return in what a run's encoder is not the one that ``name`` stands for; empty: in nothing that is stored."""
    if encoder_name(run) != name:
        return [f"encoder {name}, here {encoder_name(run)}"]
    if name not in ENCODERS:
        return [f"which encoder {name} is, is not known here"]
    known, found = ENCODERS[name], run.get("encoder_identity")
    if found is None:
        return [f"whether the encoder is {known.repository or name} is not stored"]
    wrong = []
    if found["source"] != ("hub" if known.repository else "package"):
        wrong.append(f"from a {found['source']}, not {'the hub' if known.repository else 'its package'}")
    elif known.repository and found["repository"] not in (known.repository, name):
        wrong.append(f"{found['repository']}, not {known.repository}")
    elif known.revision and found["revision"] != known.revision:
        wrong.append(f"commit {found['revision'][:8]}, not {known.revision[:8]}")
    for key, unit in SHAPE.items():
        if found[key] != getattr(known, key):
            wrong.append(f"{_number(found[key])} {unit}, not {getattr(known, key):,}")
    if found["cased"] != known.cased:
        wrong.append("uncased" if known.cased else "cased")
    return [f"the encoder is not {name}: {', '.join(wrong)}"] if wrong else []


def corpus_differences(run: Mapping[str, Any]) -> list[str]:
    """Return in what a run's corpus is not the published one; empty: in nothing that is stored."""
    if "corpus" not in run:
        return ["whether the corpus is the published one is not stored"]
    return (
        [f"the corpus is not the published one: {'; '.join(found)}"] if (found := run["corpus"]["differences"]) else []
    )


def _number(size: int | None) -> str:
    return "unknown" if size is None else f"{size:,}"


def _read(path: Path) -> list[Setting]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error})") from None
    if table.pop("schema", None) != SCHEMA:
        raise UserError(f"{path}: key 'schema': expected {SCHEMA}")
    results, preset, notes = table.pop("results", []), table.pop("preset", None), table.pop("notes", [])
    common: dict[str, Any] = table | {"file": str(path)}
    if preset is not None:
        common["preset"] = _record(Preset, preset, f"{path}: preset", seeds=tuple, deviations=tuple)
    return [_setting({**common, **one, "notes": [*one.get("notes", []), *notes]}, str(path)) for one in results]


def _setting(table: dict[str, Any], path: str) -> Setting:
    where = f"{path}: {table.get('name', 'results')}"

    def row(raw: Any) -> PublishedRow:
        return _record(PublishedRow, raw, f"{where}: rows", values=_values, steps=_steps, tasks=_matrix)

    setting = _record(
        Setting,
        table,
        where,
        rows=lambda rows: tuple(map(row, rows)),
        errata=lambda raw: tuple(_record(Erratum, one, f"{where}: errata") for one in raw),
        orders=tuple,
        notes=tuple,
    )
    if setting.evidence not in EVIDENCE:
        raise UserError(f"{where}: key 'evidence': expected one of {', '.join(EVIDENCE)}, found {setting.evidence!r}")
    for one in setting.rows:
        lengths = {len(scores) for scores in [*one.steps.values(), one.tasks] if scores}
        if any(length > setting.n_steps for length in lengths):
            raise UserError(
                f"{where}: row {one.label!r}: expected at most {setting.n_steps} steps, found {max(lengths)}"
            )
        if [len(line) for line in one.tasks] != list(range(1, len(one.tasks) + 1)):
            raise UserError(f"{where}: row {one.label!r}: key 'tasks': expected k scores in row k")
    for erratum in setting.errata:
        if not any(one.label == erratum.row and erratum.measure in one.values for one in setting.rows):
            raise UserError(f"{where}: errata: no row {erratum.row!r} with {erratum.measure!r}")
    return setting


def _record(kind: type, table: Any, where: str, **convert: Callable[[Any], Any]) -> Any:
    """A dataclass from a table; ``convert`` makes values of what TOML holds."""
    if not isinstance(table, dict):
        raise UserError(f"{where}: expected a table, found {str(table)[:80]!r}")
    known = {f.name: f for f in fields(kind)}
    for key in table:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}.{did_you_mean(key, list(known))}")
    try:
        return kind(**{key: convert[key](value) if key in convert else value for key, value in table.items()})
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {str(error).removeprefix(f'{kind.__name__}.__init__() ')}") from None


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -100 <= value <= 100:
        raise ValueError(f"expected a score of -100 to 100, found {str(value)[:80]!r}")
    return float(value)


def _values(table: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    pairs = {name: value if isinstance(value, list) else [value, None] for name, value in table.items()}
    return {name: (_score(mean), math.nan if std is None else _score(std)) for name, (mean, std) in pairs.items()}


def _steps(table: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(map(_score, scores)) for name, scores in table.items()}


def _matrix(rows: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(_score, row)) for row in rows)
