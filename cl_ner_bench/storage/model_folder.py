"""The folder of an exported model: its files and its record, checked before anything of it is used.

Nothing outside the folder is needed to load it, but the package and, for a method of a user's own, the file of that
method. Weights are safetensors, everything else is JSON; docs/use-a-model.md describes each file. A folder may come
from others: it names no path out of itself, and no code.
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
from cl_ner_bench.storage.checks import DamagedError, parse_manifest, read_sound, sha256
from cl_ner_bench.storage.files import SEAL, pretty, read_json, sealed, sweep, sync_folder, temporary, write_bytes
from cl_ner_bench.storage.run_record import EncoderIdentity, Number, Whole
from cl_ner_bench.untrusted import is_path_below
from cl_ner_bench.validation import MisfitError, convert

RECORD = "cl_ner_bench.json"
WEIGHTS = "model.safetensors"  # of the encoder, and of the classifier where transformers loads the folder
LEARNER = "learner.safetensors"  # every other tensor of the learner
CONFIG = "config.json"
CARD = "README.md"

RECORD_BYTES = 1 << 26  # a memory holds an id per sentence
_READ_BY_ENCODERS = (".safetensors", ".json", ".txt", ".model")
_AGAIN = "export the model again, or fetch the folder again"


Counts = dict[str, dict[str, tuple[Whole, Whole, Whole]]]
"""True positives, false positives and false negatives by test set and type."""


class Agreement(Struct, frozen=True):
    """The mentions of an old type in a part that the model before a step finds, the model after it, and both.

    ``relabelled`` are mentions of the old model that overlap one labelled with a type of the step: by these labels they
    are wrong, and neither they nor such mentions of the new model are counted.
    """

    part: str
    type: str
    old: Whole
    new: Whole
    both: Whole
    relabelled: Whole

    @property
    def f1(self) -> float | None:
        """F1 (0..100) with the old model's mentions as reference; None where neither finds any."""
        return 200 * self.both / (self.old + self.new) if self.old + self.new else None


class Score(Struct, frozen=True):
    """F1 (0..100) of a type by the labels of a part, before and after a step; ``before``: None for a new type."""

    part: str
    type: str
    gold: Whole
    before: Number | None
    after: Number


class LearnedStep(Struct, frozen=True, kw_only=True):
    """A step that the model has learned: its types, from what, and by which method.

    ``data`` is the sha256 of the corpus, ``licence`` what its card says, ``hub`` its name on the Hugging Face hub;
    ``sentences`` is the number of its train sentences in the step (None: unknown). ``agreements`` and ``scores``
    compare the models before and after a step of `bench extend` on its data.
    """

    step: Whole
    types: list[str]
    method: str
    dataset: str = ""
    data: str = ""
    licence: str = ""
    hub: str = ""
    sentences: Whole | None = None
    agreements: list[Agreement] = []
    scores: list[Score] = []


class ModelRecord(Struct, frozen=True, kw_only=True):
    """Facts of a model: the method with its settings, the encoder that it began with, and its steps.

    ``spec`` is what ``--methods`` takes; of a user's file it holds the name, not the folder. ``settings`` are those of
    a run's record. ``counts`` are those after the last step, on all test sentences; empty where it was not scored.
    ``notes`` limit what the counts say.
    """

    method: str
    spec: str
    architecture: Literal["span", "token"]
    seed: Whole
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
    """Facts of a learner beside its tensors: its types by step, frozen parameters, and ids of remembered sentences."""

    types: list[list[str]]
    frozen: list[str] = []
    memory: list[tuple[Whole, list[str]]] = []

    def __post_init__(self) -> None:
        known = [type for types in self.types for type in types]
        if not known or len({*known}) < len(known):
            raise MisfitError("types", "lists of types, each of them once", short(known))


class ExportedModel(Struct, frozen=True, kw_only=True):
    """The content of ``cl_ner_bench.json``.

    ``home`` is the folder of config, tokenizer and ``model.safetensors``. ``shared`` maps tensors of the learner to
    those in ``model.safetensors`` that are the same, so that no weight is stored twice. ``pipeline`` says why
    transformers does not load the folder as a tagger, "" where it does.
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
        UserError: a file is missing, was changed, is of a later version, or the record is not as the documentation
            says; or the folder holds another file that the encoder would read.
    """
    file = folder / RECORD
    if file.stat().st_size > RECORD_BYTES:
        raise UserError(f"{file}: has more than {RECORD_BYTES:,} bytes, and is no record of a model")
    content = read_sound(file, _AGAIN)
    manifest = parse_manifest(content, file, is_path_below)
    if SEAL not in content or manifest is None:
        raise DamagedError(file, "is not as docs/use-a-model.md says (no seal, or no checksums)", _AGAIN)
    content = {key: value for key, value in content.items() if key not in (SEAL, "sha256")}
    found = convert(content, ExportedModel, str(file))
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
    """Raise UserError where a model cannot be written, before it is learned or loaded; nothing is left there."""
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
                with suppress(OSError):  # it was not made, or another process has written into it
                    folder.rmdir()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); pass another --out") from None


def write_model_folder(out: Path, write: Callable[[Path], tuple[ExportedModel, str]]) -> None:
    """Make the folder of an exported model: ``write`` makes its files in a folder, and returns record and model card.

    The record appears last, so that a folder with a record is whole.

    Raises:
        UserError: ``out`` holds files already, or cannot be written.
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
            (out / file).chmod((out / CARD).stat().st_mode)  # safetensors keeps all others from reading what it writes
        write_bytes(out / RECORD, pretty(sealed(record)))
        sync_folder(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); pass another --out") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
