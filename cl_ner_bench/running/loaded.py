"""A stored model of a run, to find mentions in other text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cl_ner_bench.corpora.readers.words import cut
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.running import environment
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord

if TYPE_CHECKING:
    from cl_ner_bench.learning.trainer import Trainer


class Found(NamedTuple):
    """A mention that a model found: characters (of a text) or words (of a list) ``start .. end-1``; a score of 0..1."""

    start: int
    end: int
    type: str
    score: float
    text: str


class Model:
    """The model of a run after a step; ``record`` is the run's."""

    def __init__(self, record: RunRecord, step: int, trainer: Trainer) -> None:
        self.record, self.step, self._trainer = record, step, trainer

    def __repr__(self) -> str:
        return f"Model({self.record.run_id!r}, step {self.step} of {self.record.n_steps}: {', '.join(self.types)})"

    @property
    def types(self) -> tuple[str, ...]:
        """The types that the model knows, in learning order."""
        return tuple(self._trainer.learner.head.types)

    def predict(self, texts: Iterable[str | Sequence[str]]) -> list[list[Found]]:
        """Return the mentions in each text, sorted by place.

        A text is a sentence, as the model has learned from sentences: characters, which are cut into words (letters and
        digits; any other sign is a word of its own), or a list of words.

        Raises:
            UserError: a sentence is too long for the method, or a word cannot be read.
        """
        if isinstance(texts, str):
            raise UserError(f"predict: expected a list of texts, found one text; pass [{texts[:20]!r}]")
        given = [*texts]
        places = [cut(text) if isinstance(text, str) else [(i, i + 1) for i in range(len(text))] for text in given]
        sentences = [
            Sentence(i, tuple(text[start:end] if isinstance(text, str) else text[start] for start, end in words))
            for i, (text, words) in enumerate(zip(given, places, strict=True))
        ]
        found: list[list[Found]] = [[] for _ in given]
        some = [sentence for sentence in sentences if sentence.words]
        for sentence, mentions in zip(some, self._trainer.predict(some) if some else [], strict=True):
            text, words = given[sentence.id], places[sentence.id]
            for first, last, type_, score in sorted(mentions):
                start, end = words[first][0], words[last - 1][1]
                quoted = text[start:end]
                found[sentence.id].append(
                    Found(start, end, type_, score, quoted if isinstance(quoted, str) else " ".join(quoted))
                )
        return found


def load_model(
    run: str | PathLike[str],
    step: int | None = None,
    *,
    method: str | PathLike[str] | None = None,
    device: str = "auto",
) -> Model:
    """Return the model that a run stored after ``step`` (default: its last).

    Args:
        run: the folder of the run, ``RESULTS_DIR/runs/RUN_ID``.
        method: the file of a user's method, ``FILE.py`` or ``FILE.py:NAME``: it runs as code, so a results folder does
            not choose it.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: there is no such run or model, or method or encoder are not those that it was learned with.
    """
    path = Path(run)
    if path.parent.name != "runs":
        raise UserError(f"{path}: expected the folder of a run, RESULTS_DIR/runs/RUN_ID")
    if not path.is_dir():
        others = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such folder.{did_you_mean(path.name, others)}")
    home = ResultsFolder.open(path.parent.parent)
    record = home.run(path.name).record
    if record is None:
        raise UserError(f"{path}: there is no run with a sound record; `bench verify` says what is wrong")
    if record.imported:
        raise UserError(f"{path}: its predictions were imported, and no model with them")
    step = record.steps[-1] if step is None else step
    if step not in record.steps:
        raise UserError(f"step={step}: the run has the steps {', '.join(map(str, record.steps))}")
    key = record.step_keys.get(str(step), "")
    trainer = _new_trainer(record, method, device)

    def read(folder: Path) -> Trainer:
        trainer.load(folder)
        return trainer

    if not key or home.models.load(key, read) is None:
        raise UserError(
            f"{path}: the model of step {step} is not kept; learn it with --keep-models "
            f"{'last' if step == record.steps[-1] else 'all'} into another --out"
        )
    return Model(record, step, trainer)


def _new_trainer(record: RunRecord, method: str | PathLike[str] | None, device: str) -> Trainer:
    from cl_ner_bench import method_code, registry
    from cl_ner_bench.learning.trainer import Trainer

    spec = str(record.inputs.get("method", "")).rpartition("=")[2]
    if method is None and re.search(r"\.py(:|$)|[/\\]", spec):
        raise UserError(
            f"method: the run is of {record.method}, a method of a file; pass method=FILE.py if you trust it"
        )
    card = registry.resolve([spec if method is None else str(method)])[0].card
    encoder = encoder_info(str(record.inputs.get("encoder", "")))
    found = {"method": method_code.method_fingerprint(card), "encoder": encoder.fingerprint}
    for name, value in found.items():
        if value != record.fingerprints.get(name):
            raise UserError(f"the {name} is not the one that {record.run_id} was learned with: it changed since")
    settings = record.settings
    return Trainer(
        method_code.load_class(card),
        settings["method"],
        settings,
        encoder.spec,
        record.seed,
        environment.resolve_device(device, settings["precision"])[0],
        settings["precision"],
        settings["nested"],
    )
