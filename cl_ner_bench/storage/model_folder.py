"""The folder of an exported model: its files and its record, which are checked before use.

Loading the folder needs the package and, for a user's own method, the file of the method. Weights are safetensors, all
else is JSON. docs/use-a-model.md describes each file. Others may have made the folder, so it must name no path out of
itself and no code.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from cl_ner_bench.errors import UserError, counted, short
from cl_ner_bench.storage.checks import DamagedError, read_sealed_manifest, sha256
from cl_ner_bench.storage.files import pretty, read_json, sealed, sweep, sync_folder, temporary, write_bytes
from cl_ner_bench.storage.run_record import EncoderIdentity, Number, StoredCount
from cl_ner_bench.untrusted import is_path_below
from cl_ner_bench.validation import MisfitError, convert

RECORD = "cl_ner_bench.json"
WEIGHTS = "model.safetensors"  # of the encoder, and of the classifier if transformers can load the folder
LEARNER = "learner.safetensors"  # every other tensor of the learner
CONFIG = "config.json"
CARD = "README.md"

RECORD_BYTES = 1 << 26  # the record holds an id for each sentence of a memory
_READ_BY_ENCODERS = (".safetensors", ".json", ".txt", ".model")
_AGAIN = "export the model again, or fetch the folder again"


Counts = dict[str, dict[str, tuple[StoredCount, StoredCount, StoredCount]]]
"""Maps test set and type to true positives, false positives and false negatives."""


class Agreement(Struct, frozen=True):
    """Numbers of mentions of an old type in a part: found by the old model, by the new model, and by both.

    ``relabelled`` counts the old model's mentions that overlap a mention labelled with a type of the step. By these
    labels they are wrong. ``old``, ``new`` and ``both`` leave out such mentions of both models.
    """

    part: str
    type: str
    old: StoredCount
    new: StoredCount
    both: StoredCount
    relabelled: StoredCount

    @property
    def f1(self) -> float | None:
        """F1 (0..100) with the old model's mentions as reference, or None if neither model finds a mention."""
        return 200 * self.both / (self.old + self.new) if self.old + self.new else None


class Score(Struct, frozen=True):
    """F1 (0..100) of a type by the labels of a part, before and after a step. ``before`` is None for a new type."""

    part: str
    type: str
    gold: StoredCount
    before: Number | None
    after: Number


class LearnedStep(Struct, frozen=True, kw_only=True):
    """A step that the model has learned: its types, its data and its method.

    ``data`` is the sha256 of the corpus, ``licence`` the licence in its card, ``hub`` its name on the Hugging Face hub.
    ``sentences`` is the number of train sentences in the step, or None if unknown. ``agreements`` and ``scores``
    compare the models before and after a step of `bench extend` on the data of the step.
    """

    step: StoredCount
    types: list[str]
    method: str
    dataset: str = ""
    data: str = ""
    licence: str = ""
    hub: str = ""
    sentences: StoredCount | None = None
    agreements: list[Agreement] = []
    scores: list[Score] = []


class ModelRecord(Struct, frozen=True, kw_only=True):
    """Facts of a model: its method and settings, its first encoder, and its steps.

    ``spec`` is the method as ``--methods`` takes it; a user's file has its name without the folder. ``settings`` are
    the settings of a run's record. ``counts`` are the counts on all test sentences after the last step, empty if the
    model was not scored. ``notes`` limit the meaning of the counts.
    """

    method: str
    spec: str
    architecture: Literal["span", "token"]
    seed: StoredCount
    settings: dict[str, Any]
    fingerprints: dict[str, str]
    encoder: str
    encoder_identity: EncoderIdentity | None = None
    history: Annotated[list[LearnedStep], Meta(min_length=1, description="a list of steps")]
    counts: Counts = {}
    versions: dict[str, str] = {}
    run_id: str = ""
    notes: list[str] = []

    def __post_init__(self) -> None:
        missing = [name for name in ("method", "encoder") if name not in self.fingerprints]
        if missing:
            raise MisfitError("fingerprints", f"the sha256 of the {missing[0]}")
        if not isinstance(self.settings.get("method"), dict):
            raise MisfitError("settings", "the hyper-parameters of the method under 'method'")


class LearnerFacts(Struct, frozen=True):
    """Facts of a learner besides its tensors: types by step, frozen parameters, and ids of the memory's sentences."""

    types: list[list[str]]
    frozen: list[str] = []
    memory: list[tuple[StoredCount, list[str]]] = []

    def __post_init__(self) -> None:
        known = [type for types in self.types for type in types]
        if not known or len({*known}) < len(known):
            raise MisfitError("types", "lists of types, each of them once", short(known))


class ExportedModel(Struct, frozen=True, kw_only=True):
    """The content of ``cl_ner_bench.json``.

    ``home`` is the folder of config, tokenizer and ``model.safetensors``. ``shared`` maps tensors of the learner to
    equal tensors in ``model.safetensors``, so no weight is stored twice. ``pipeline`` is the reason why transformers
    cannot load the folder as a tagger, or "" if it can.
    """

    schema: int = 1
    model: ModelRecord
    learner: LearnerFacts
    home: Literal[".", "encoder"]
    shared: dict[str, str]
    pipeline: str


def is_model_folder(folder: Path) -> bool:
    """Return True if a folder holds the record of an exported model."""
    return (folder / RECORD).is_file()


def read_model_folder(folder: Path) -> ExportedModel:
    """Return the record of an exported model.

    Raises:
        UserError: a file is missing, changed or of a later version; the record is not as the documentation says; or
            the encoder would read another file in the folder.
    """
    file = folder / RECORD
    if file.stat().st_size > RECORD_BYTES:
        raise UserError(f"{file}: has more than {RECORD_BYTES:,} bytes, and is no record of a model")
    manifest = read_sealed_manifest(file, _AGAIN, is_path_below)
    found = convert(manifest.about, ExportedModel, str(file))
    home = folder / found.home
    needed = {LEARNER, *(str(Path(found.home) / name) for name in (CONFIG, WEIGHTS))}
    if lacking := sorted(needed - manifest.sums.keys()):
        raise DamagedError(file, f"has no checksum of {lacking[0]}", _AGAIN)
    for path, wrong in manifest.faults():
        raise DamagedError(path, wrong, _AGAIN)
    for name in manifest.sums:
        described = read_json(folder / name) if name.endswith(".json") else None
        if isinstance(described, dict) and "auto_map" in described:
            raise DamagedError(
                folder / name, "names code of its own (auto_map), which is never run", "remove the folder"
            )
    for path in sorted(home.iterdir()):
        if path.suffix in _READ_BY_ENCODERS and path != file and str(path.relative_to(folder)) not in manifest.sums:
            raise DamagedError(path, "is no file of this model, and its encoder would read it", "remove it")
    return found


def refuse_out(out: Path) -> None:
    """Raise UserError if ``out`` cannot hold a model, before the model is learned or loaded. Leave nothing there."""
    try:
        sweep(out)
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"--out {out}: is not empty; pass a new or empty folder")
        made = [*takewhile(lambda folder: not folder.exists(), (out, *out.parents))]
        try:
            out.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=out):
                pass
        finally:
            for folder in made:
                with suppress(OSError):  # not made, or another process wrote into it
                    folder.rmdir()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); pass another --out") from None


def write_model_folder(out: Path, write: Callable[[Path], tuple[ExportedModel, str]]) -> None:
    """Make the folder of an exported model. ``write`` fills a folder and returns the record and the model card.

    The record appears last, so a folder with a record is whole.

    Raises:
        UserError: ``out`` is not empty, or cannot be written.
    """
    made = temporary(out / "model")
    try:
        out.mkdir(parents=True, exist_ok=True)
        sweep(out)
        if held := [*out.iterdir()]:
            raise UserError(f"--out {out}: holds {counted(len(held), 'file')} already; pass a new or empty folder")
        made.mkdir()
        found, card = write(made)
        record: dict[str, Any] = msgspec.to_builtins(found)
        files = sorted(path for path in made.rglob("*") if path.is_file())
        record["sha256"] = {path.relative_to(made).as_posix(): sha256(path) for path in files}
        for path in sorted(made.iterdir()):
            os.replace(path, out / path.name)
        write_bytes(out / CARD, card.encode())
        for file in record["sha256"]:
            (out / file).chmod((out / CARD).stat().st_mode)  # files of safetensors are readable by their owner only
        write_bytes(out / RECORD, pretty(sealed(record)))
        sync_folder(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); pass another --out") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
