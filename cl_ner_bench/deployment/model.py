"""A stored model of a run or an exported folder, which finds mentions in other text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from cl_ner_bench.corpora.card import HyperParameters
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.deployment.predicting import Answer, Found, answers
from cl_ner_bench.errors import UserError, counted, did_you_mean
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.models.encoders.info import EncoderInfo, encoder_info
from cl_ner_bench.running import environment
from cl_ner_bench.running.from_record import new_trainer
from cl_ner_bench.running.option_values import parse_value
from cl_ner_bench.running.options import OPTIONS
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.model_folder import (
    CONFIG,
    LEARNER,
    RECORD,
    WEIGHTS,
    Counts,
    ExportedModel,
    LearnedStep,
    ModelRecord,
    is_model_folder,
    read_model_folder,
)
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.validation import convert

if TYPE_CHECKING:
    from cl_ner_bench.learning.trainer import Trainer

SHOWN_RUNS = 5
"""Most runs of a results folder that a message lists."""


class _Views(msgspec.Struct):
    all: Counts


class _Counts(msgspec.Struct):
    """The part of a step's counts that this module reads."""

    views: _Views


class Model:
    """A model after its last step.

    Attributes:
        record: the facts of the model.
        trainer: the trainer, which holds the learner and learns further steps.
        card: the card of the method.
    """

    def __init__(self, record: ModelRecord, trainer: Trainer, card: MethodCard) -> None:
        self.record, self.trainer, self.card = record, trainer, card

    def __repr__(self) -> str:
        return f"Model({self.record.method!r}, step {self.step}: {', '.join(self.types)})"

    @property
    def types(self) -> tuple[str, ...]:
        """The types that the model knows, in learning order."""
        return tuple(self.trainer.learner.head.types)

    @property
    def architecture(self) -> str:
        """``span`` or ``token``."""
        return self.record.architecture

    @property
    def history(self) -> tuple[LearnedStep, ...]:
        """The steps that the model has learned."""
        return tuple(self.record.history)

    @property
    def step(self) -> int:
        """The number of the last step."""
        return self.record.history[-1].step

    def export(self, out: str | PathLike[str]) -> ExportedModel:
        """Write the model and a model card into a folder for ``load_model``. The folder needs no other file.

        transformers can load the folder of a token method, too, if the model has an equal form there. If not,
        ``pipeline`` of the returned record says why.

        Args:
            out: a new or empty folder.

        Raises:
            UserError: the folder is not empty, or cannot be written.
        """
        from cl_ner_bench.deployment.exporting import export_model

        return export_model(self.record, self.trainer, self.card, Path(out))

    def predict(self, texts: Iterable[str | Sequence[str]], split: bool = True) -> list[list[Found]]:
        """Return the mentions in each text, sorted by place.

        A text is a string of any length, or a list of words, which is one sentence. A string is cut into sentences,
        because the model has learned from sentences; with ``split=False`` it is one sentence. Sentences are cut into
        words of letters and digits; each other sign is a word. ``bench predict`` finds the same mentions.

        Raises:
            UserError: a text is neither a string nor a list of words, or a word cannot be read.
        """
        if isinstance(texts, str):
            raise UserError(f"predict: expected a list of texts, found one text; pass [{texts[:20]!r}]")
        groups = answers(self.trainer, map(Answer, texts), split)
        return [answer.found for group in groups for answer in group]


def open_model(
    path: str | PathLike[str],
    step: int | None = None,
    *,
    method: str | PathLike[str] | None = None,
    device: str = "auto",
) -> Model:
    """Return a stored or exported model. Arguments and errors are those of ``cl_ner_bench.load_model``."""
    folder = Path(path)
    check_is_folder(folder)
    if is_model_folder(folder):
        return _exported(folder.absolute(), step, method, device)
    if not ResultsFolder.is_run_folder(folder):
        raise UserError(
            f"{folder}: expected the folder of a run, RESULTS_DIR/runs/RUN_ID, or of a model that `bench export` "
            f"wrote{_found_instead(folder)}"
        )
    return _of_run(folder, step, method, device)


def check_is_folder(folder: Path) -> None:
    """Raise UserError, which suggests a near name, unless ``folder`` is a folder."""
    if folder.is_dir():
        return
    if folder.exists():
        raise UserError(f"{folder}: is a file; expected the folder of a run or of a model")
    missing = next(path for path in (*reversed(folder.parents), folder) if not path.is_dir())
    others = []
    with suppress(OSError):
        others = sorted(str(other) for other in missing.parent.iterdir() if other.is_dir())
    raise UserError(f"{folder}: there is no such folder.{did_you_mean(str(missing), others)}")


def _found_instead(folder: Path) -> str:
    """Return the end of a message on a folder that holds no model of this suite.

    Describe a model of transformers, list the first runs of a results folder, or return "" for another folder.
    """
    if (folder / CONFIG).is_file():
        return (
            "; this is a model of transformers: if it is a token classifier, its own pipeline finds mentions with it, "
            "and `bench extend` teaches it one more type"
        )
    runs = ResultsFolder.open(folder).recorded()
    if not runs:
        return ""
    shown = "".join(f"\n  {run.path}" for run in runs[:SHOWN_RUNS])
    return f"; this is a results folder with {counted(len(runs), 'run')}:{shown}" + "\n  ..." * (len(runs) > SHOWN_RUNS)


def resolve_method(name: str, flag: str) -> list[MethodCard]:
    """Return the cards of the methods that a name stands for.

    Raises:
        UserError: there is no such method. The message names ``flag``.
    """
    from cl_ner_bench import registry

    try:
        return [variant.card for variant in registry.resolve([name])]
    except UserError as error:
        raise UserError(re.sub("^--methods", flag, str(error))) from error


def _of_run(folder: Path, step: int | None, method: str | PathLike[str] | None, device: str) -> Model:
    home = ResultsFolder.open(folder.parent.parent)
    run = home.run(folder.name)
    record = run.record
    if record is None:
        raise UserError(f"{folder}: there is no run with a sound record; `bench verify` says what is wrong")
    if record.imported:
        raise UserError(f"{folder}: its predictions were imported without a model")
    step = record.steps[-1] if step is None else step
    if step not in record.steps:
        steps = (
            f"the steps {', '.join(map(str, record.steps))}"
            if len(record.steps) > 1
            else f"step {record.steps[0]} alone"
        )
        raise UserError(f"--step {step}: the run has {steps}")
    key = record.step_keys.get(str(step), "")
    if record.status != "done" and run.step(step, key) is None:
        how = "wait until it has" if record.status in ("running", "waiting") else "repeat the `bench run` that began it"
        raise UserError(
            f"{folder}: the run has not finished step {step} (status {record.status}): {how}; `bench status "
            f"{home.path}` shows how far it is"
        )
    encoder = encoder_info(str(record.inputs.get("encoder", "")))
    if encoder.fingerprint != record.fingerprints.get("encoder") or "method" not in record.fingerprints:
        raise UserError(f"the encoder is not the one that {record.run_id} was learned with: it changed since")
    described = _describe(run, record, step)
    card = _card(described, method)
    trainer = _new_trainer(described, card, encoder, device)

    def read(stored: Path) -> Trainer:
        trainer.load(stored)
        return trainer

    if key:
        home.models.check(key)
    if not key or home.models.load(key, read) is None:
        raise UserError(
            f"{folder}: the model of step {step} is not kept; learn it with --keep-models "
            f"{'last' if step == record.steps[-1] else 'all'} into another --out"
        )
    known = {*trainer.learner.head.types}
    history = [learned for learned in described.history if known.issuperset(learned.types)]
    return Model(msgspec.structs.replace(described, history=history), trainer, card)


def _describe(run: RunFolder, record: RunRecord, step: int) -> ModelRecord:
    """Return the record of a run's model for an exported folder."""
    sentences = {row["step"]: row.get("examples") for row in record.learned}
    counts = convert(run.counts(step), _Counts, str(run.counts_file(step))).views.all
    spec = str(record.inputs.get("method", "")).rpartition("=")[2]
    data = list_cards().get(str(record.inputs.get("dataset", "")))  # None for a path of the user
    sample = record.settings.get("max_sentences")
    notes = {
        "the encoder is uncased": record.uncased,
        f"a sample of {sample} sentences of the corpus, not all of it": sample,
        "the corpus differs from the published one": record.corpus and record.corpus.differences,
    }
    return ModelRecord(
        method=record.method,
        spec=portable(spec),
        architecture=record.architecture,  # type: ignore[arg-type]
        seed=record.seed,
        settings=record.settings,
        fingerprints=record.fingerprints,
        encoder=record.encoder,
        encoder_identity=record.encoder_identity,
        history=[
            LearnedStep(
                step=task.learned_at,
                types=task.types,
                method=record.method,
                dataset=record.dataset,
                data=record.fingerprints.get("data", ""),
                licence=data.licence if data else "",
                hub=data.hub.repo if data and data.hub else "",
                sentences=sentences.get(task.learned_at),
            )
            for task in record.tasks[:step]
        ],
        counts=counts,
        versions=record.versions,
        run_id=record.run_id,
        notes=[note for note, holds in notes.items() if holds],
    )


def portable(spec: str) -> str:
    """Return the text of a method for ``--methods``, without the folders of files."""
    return re.sub(r"[^+]*[/\\]", "", spec)


def _exported(folder: Path, step: int | None, method: str | PathLike[str] | None, device: str) -> Model:
    import safetensors.torch
    from safetensors import SafetensorError

    found = read_model_folder(folder)
    last = found.model.history[-1].step
    if step not in (None, last):
        raise UserError(f"--step {step}: {folder} holds only the model after step {last}")
    _check_settings(found.model.settings, str(folder / RECORD))
    home, card = folder / found.home, _card(found.model, method)
    encoder = encoder_info(str(home))
    try:
        trainer = _new_trainer(found.model, card, encoder, device)
        tensors = safetensors.torch.load_file(folder / LEARNER)
        stored = safetensors.torch.load_file(home / WEIGHTS) if found.shared else {}
        tensors |= {name: stored[other] for name, other in found.shared.items()}
        trainer.set_state(tensors, msgspec.to_builtins(found.learner))
    except UserError:
        raise
    except (
        SafetensorError,
        OSError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        # Files may fit their checksums and still make no model: settings, shapes or names do not fit.
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: its files make no model ({type(error).__name__}: {reason})") from error
    return Model(found.model, trainer, card)


def _check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Raise UserError unless the settings of the training loop are valid, because others may have written them."""
    shared = {key: value for key, value in settings.items() if key in HyperParameters.__struct_fields__}
    convert(shared, HyperParameters, where, key="model.settings")
    if lacking := [k for k in ("max_length", "max_span_width", "precision", "nested") if settings.get(k) is None]:
        raise UserError(f"{where}: key 'model.settings.{lacking[0]}' is missing: export the model again")
    convert(settings["precision"], Literal["fp32", "bf16"], where, key="model.settings.precision")  # type: ignore[arg-type]
    convert(settings["nested"], bool, where, key="model.settings.nested")


def _card(record: ModelRecord, method: str | PathLike[str] | None) -> MethodCard:
    """Return the card of a model's method. Raise UserError unless the method's code is still that of the model."""
    from cl_ner_bench import method_code

    if method is None and re.search(r"\.py(:|\+|$)|[/\\]", record.spec):
        file = re.sub(r"[^+]*\.py", "FILE.py", record.spec)
        raise UserError(
            f"--method: the model is of {record.method}, a method of a file; pass --method {file} if you trust it"
        )
    card = resolve_method(record.spec if method is None else str(method), "--method")[0]
    same = method_code.method_fingerprint(card) == record.fingerprints["method"]
    if not same or card.architecture != record.architecture:
        version = record.versions.get("cl-ner-bench", "an unknown version")
        raise UserError(
            f"the method {card.name} is not the one that the model was learned with: another one, or changed since "
            f"(it was learned as {record.method}, with {version} of cl-ner-bench)"
        )
    return card


def _new_trainer(record: ModelRecord, card: MethodCard, encoder: EncoderInfo, device: str) -> Trainer:
    device = parse_value(OPTIONS["device"].metadata["parse"], device, "--device")
    place, _ = environment.resolve_device(device, record.settings["precision"])
    return new_trainer(card, record.settings, encoder.spec, record.seed, place)
