"""One more step on a stored, an exported or a foreign model, with a comparison of the old and the new model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora import cards
from cl_ner_bench.corpora.card import UNSTATED, HyperParameters, stated_only
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.deployment.model import Model, check_is_folder, open_model, portable, resolve_method
from cl_ner_bench.deployment.new_data import NewData, read_new_data
from cl_ner_bench.deployment.retention import PredictionsByPart, agreements, scores, warnings
from cl_ner_bench.deployment.transformers_models import FOREIGN, adapt_to_iob1, foreign_model, is_foreign
from cl_ner_bench.errors import UserError, counted, did_you_mean
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.running import environment
from cl_ner_bench.running.from_record import new_trainer, set_arithmetic
from cl_ner_bench.running.hyper_parameters import like
from cl_ner_bench.running.option_values import names, number, pairs, parse_value
from cl_ner_bench.running.options import OPTIONS
from cl_ner_bench.storage.model_folder import LearnedStep, ModelRecord
from cl_ner_bench.validation import convert

if TYPE_CHECKING:
    from cl_ner_bench.learning.evaluation import ProgressCallback
    from cl_ner_bench.learning.trainer import Trainer

TRAINING = ("epochs", "batch_size", "lr", "head_lr")
"""Hyper-parameters with an option of their own."""

OF_THE_MODEL = ("head", "max_span_width", "max_length")
"""Hyper-parameters that cannot change, because they decide the shape and use of a model's weights."""


@dataclass(frozen=True)
class Extended:
    """A model after one more step, the data of the step, and its effects.

    ``learned`` is the record of the step (``Trainer.learn``). ``warnings`` name old types whose scores may have fallen.
    The whole comparison with the old model is in ``model.history[-1]``.
    """

    model: Model
    data: NewData
    learned: Mapping[str, Any]
    notes: Sequence[str]
    warnings: Sequence[str]


def extend_model(
    path: str,
    data: str,
    *,
    step: Any = None,
    method: str | None = None,
    types: Any = None,
    parts: Any = None,
    seed: Any = None,
    set: Any = None,
    recipe: str | None = None,
    device: Any = None,
    precision: Any = None,
    threads: Any = None,
    progress: ProgressCallback = lambda _: None,
    **training: Any,
) -> Extended:
    """Learn one more step, and write nothing. The arguments are those of ``cl_ner_bench.extend``.

    Args:
        training: values of ``TRAINING``.
        progress: called at the start of each phase, after each update and after each predicted batch. It gets the
            ``phase`` and, for predictions, the ``words`` of the phase. It may raise an exception to stop.

    Raises:
        UserError: model, data or options cannot be read or do not fit each other.
    """
    given = {key: _option(key, value) for key, value in training.items() if value is not None}
    given |= parse_value(pairs, set, "--set") if set else {}
    wanted = None if types is None else parse_value(names, types, "--types")
    division = parts and Division.of({"shares": _option("parts", parts), "seed": OPTIONS["split_seed"].default})
    device = _option("device", device, "auto")
    step = None if step is None else parse_value(number(int, 1), step, "--step")
    check_is_folder(Path(path))
    before = _load(Path(path), step, method, device, recipe)
    card, is_own = _card(before, method)
    settings = _settings(before.record, card, is_own, recipe, given)
    precision = _option("precision", precision, before.record.settings["precision"])
    device, settings["precision"] = environment.resolve_device(device, precision)
    settings["device"] = environment.kind(device)
    settings["threads"] = _option("threads", threads, before.record.settings.get("threads", 1))
    seed = before.record.seed if seed is None else parse_value(number(int, 0), seed, "--seed")
    new_data = read_new_data(data, before.types, wanted, division)
    notes = [*new_data.notes]
    with _arithmetic(settings["threads"], device):
        if before.record.method == FOREIGN and (note := adapt_to_iob1(before, [*chain(*new_data.unlabelled.values())])):
            notes.append(note)
        trainer, left = _begin(before, card, is_own, settings, seed, device)
        learned, old, new = _learn(trainer, before, card, is_own, new_data, progress)
    method = before.record.method if is_own else card.name
    learned_step = _learned_step(before, method, new_data, old, new, trainer.learner.head.types)
    warned = warnings(learned_step.agreements)
    record = msgspec.structs.replace(
        before.record,
        method=method,
        spec=portable(card.spec),
        seed=seed,
        settings=settings,
        fingerprints={"method": method_code.method_fingerprint(card), "encoder": before.record.fingerprints["encoder"]}
        | method_code.files_fingerprint(card, settings["method"]),
        history=[*before.history, learned_step],
        counts={},
        versions=environment.versions(),
        run_id="",
        notes=[*before.record.notes, *warned],
    )
    return Extended(Model(record, trainer, card), new_data, learned, [*notes, *left, *learned["remarks"]], warned)


def _learn(
    trainer: Trainer, before: Model, card: MethodCard, is_own: bool, new_data: NewData, progress: ProgressCallback
) -> tuple[Mapping[str, Any], PredictionsByPart, PredictionsByPart]:
    """Let ``trainer``, which has the weights of the model ``before``, learn the step.

    Return the record of the step, and the mentions that the old and the new model find in the new data.

    Raises:
        UserError: the method finds other mentions than the model with the same weights, or the loss is not finite.
    """
    old = _predictions(trainer, new_data, "the old model", progress)
    if not is_own:
        own = _predictions(before.trainer, new_data, "the old model, by its own method,", progress)
        _check_same(before, card, old, own)
    step_data = new_data.step_data(before.step + 1, before.types)
    try:
        learned = trainer.learn(step_data, _in_phase(progress, {"phase": f"{card.name} learns the step"}))
    except FloatingPointError as error:
        raise UserError(f"{error}; a lower --lr and --head-lr, or --precision fp32, may help") from error
    return learned, old, _predictions(trainer, new_data, "the new model", progress)


def _learned_step(
    before: Model, method: str, new_data: NewData, old: PredictionsByPart, new: PredictionsByPart, types: Sequence[str]
) -> LearnedStep:
    """Return the record of the step, with the comparison of the models. ``types`` are those of the new model."""
    corpus, learned = new_data.corpus, new_data.types
    old_types = [t for t in before.types if t not in learned]
    return LearnedStep(
        step=before.step + 1,
        types=[*learned],
        method=method,
        dataset=corpus.name,
        data=corpus.fingerprint,
        licence=corpus.card.licence,
        hub=corpus.card.hub.repo if corpus.card.hub else "",
        sentences=len(corpus.parts["train"]),
        agreements=agreements(new_data.sentences, old, new, old_types, learned),
        scores=scores(new_data.sentences, old, new, types, before.types),
    )


def _in_phase(progress: ProgressCallback, phase: Mapping[str, Any]) -> ProgressCallback:
    """Report the start of a phase, and return a function that reports progress within this phase."""
    progress({**phase})
    return lambda state: progress({**phase, **state})


def _predictions(
    trainer: Trainer, new_data: NewData, who: str, progress: ProgressCallback
) -> dict[str, list[list[Prediction]]]:
    """Return the predictions of a model on each part. Each part is a phase of the progress."""
    found = {}
    for part, sentences in new_data.unlabelled.items():
        phase = {"phase": f"{who} reads {part}", "words": sum(len(s.words) for s in sentences)}
        found[part] = trainer.predict(sentences, _in_phase(progress, phase))
    return found


def _option(name: str, value: Any, default: Any = None) -> Any:
    """Return a value parsed like the option of `bench run` with the same name, or ``default`` if it is None."""
    if value is None:
        return default
    return parse_value(OPTIONS[name].metadata["parse"], value, f"--{name.replace('_', '-')}")


def _load(folder: Path, step: int | None, method: str | None, device: str, recipe: str | None) -> Model:
    if is_foreign(folder):
        if step is not None:
            raise UserError(f"--step {step}: {folder} is no run; it holds one model")
        return foreign_model(folder, recipe or "paper", device)
    if method is not None and ".py" in method:  # the file may be the model's own method
        try:
            return open_model(folder, step, method=method, device=device)
        except UserError:
            pass
    return open_model(folder, step, device=device)


def _card(before: Model, method: str | None) -> tuple[MethodCard, bool]:
    """Return the card of the method that learns the step, and True if it is the model's own method.

    Raises:
        UserError: the method cannot start from the model, or the name stands for several methods.
    """
    record = before.record
    if method is None and record.method == FOREIGN:
        raise UserError(
            f"--method: a model of transformers has no method of this suite; {_choices(record.architecture)}"
        )
    found = resolve_method(record.spec if method is None else method, "--method")
    fitting = [card for card in found if card.architecture == record.architecture]
    if not fitting:
        raise UserError(
            f"--method {method}: a {found[0].architecture} method, and the model is of {record.method}, a "
            f"{record.architecture} method; {_choices(record.architecture)}"
        )
    if len(fitting) > 1:
        raise UserError(f"--method {method}: stands for {', '.join(card.name for card in fitting)}; name one")
    card = fitting[0]
    flag = f"the model is of {card.name}" if method is None else f"--method {card.name}"
    method_code.check_class(card)
    is_own = card == before.card and record.method != FOREIGN
    other = _choices(record.architecture)
    if (card.data, card.start) != ("task", "previous"):
        raise UserError(
            f"{flag}: it starts from the pretrained encoder or learns from the sentences of all steps, which a model "
            f"does not hold; {other}"
        )
    if "memory" in method_code.needs(card):
        raise UserError(
            f"{flag}: it learns from sentences of earlier steps, and a model holds their numbers, not their text; "
            f"{other}, or learn all steps with `bench run`"
        )
    if not is_own and card.first_step != "base":
        kept = "" if card.stores.startswith(("nothing", "one copy of the model")) else f"it keeps {card.stores}, and "
        raise UserError(
            f"{flag}: {kept}its first step is not that of a plain model, so it cannot start from this model of "
            f"{record.method}; {other}"
        )
    return card, is_own


def _choices(architecture: str) -> str:
    """Return a part of a message: the methods that can start from any model of an architecture, with an example."""
    known = [
        name
        for name, card in registry.methods().items()
        if (card.architecture, card.data, card.start, card.first_step) == (architecture, "task", "previous", "base")
        and "memory" not in method_code.needs(card)
    ]
    example = {"token": "extendner", "span": "spankl"}[architecture]
    return f"pass --method {example}, or another method that begins at any {architecture} model: {', '.join(known)}"


def _settings(
    record: ModelRecord, card: MethodCard, is_own: bool, recipe_name: str | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of the step: the given values, else the recipe's, else the model's and the method's own.

    Raises:
        UserError: a setting is unknown, has a wrong value, or belongs to the model.
    """
    known = HyperParameters.__struct_fields__
    training = {key: record.settings[key] for key in known if key in record.settings}
    if recipe_name is None:
        name = str(record.settings.get("recipe", ""))
        stated = {} if is_own or name not in card.recipes else card.recipes[name].given()
    else:
        name, stated = recipe_name, cards.recipe(cards.generic(), recipe_name, card.architecture, "", card.recipes)
    if {**UNSTATED, **stated}.get("head") != {**UNSTATED, **training}["head"] and recipe_name is not None:
        raise UserError(f"--recipe {name}: it has another head than the model; leave --recipe out, or choose another")
    training |= {key: value for key, value in stated.items() if key not in OF_THE_MODEL}
    if missing := [key for key in TRAINING if key not in {**training, **given}]:
        raise UserError(f"--recipe {name}: says nothing of {', '.join(missing)} for {card.architecture} methods")
    method = dict(record.settings["method"] if is_own else card.settings)
    for key, value in given.items():
        if key in OF_THE_MODEL or (key not in method and key not in known):
            free = [*method, *(key for key in known if key not in OF_THE_MODEL)]
            why = "belongs to the model and cannot change" if key in OF_THE_MODEL else "no such setting"
            raise UserError(f"--set {key}: {why}.{did_you_mean(key, free)} Known are {', '.join(free)}")
        if key in method:
            method[key] = like(value, method[key], f"--set {key}")
        else:
            convert({key: value}, HyperParameters, f"--set {key}")
            training[key] = value
    kept = {key: value for key, value in record.settings.items() if key not in known}
    return {**kept, **stated_only(training), "recipe": name, "method": method}


def _begin(
    before: Model, card: MethodCard, is_own: bool, settings: Mapping[str, Any], seed: int, device: str
) -> tuple[Trainer, list[str]]:
    """Return a trainer of the method with the model's weights, and notes on tensors that it does not take over."""
    tensors, facts = before.trainer.state()
    notes = []
    if not is_own:
        left = [name for name in tensors if name.startswith("carried.")]
        tensors = {name: value for name, value in tensors.items() if name not in left}
        facts = {"types": facts["types"]}
        if left:
            notes.append(f"{counted(len(left), 'tensor')} that {before.record.method} keeps from step to step are left")
    trainer = new_trainer(card, settings, before.trainer.encoder, seed, device)
    try:
        trainer.set_state(tensors, facts)
    except RuntimeError as error:
        raise UserError(
            f"--method {card.name}: its model has other parameters than that of {before.record.method} "
            f"({' '.join(str(error).split())[:200]}); {_choices(card.architecture)}"
        ) from None
    return trainer, notes


def _check_same(before: Model, card: MethodCard, found: PredictionsByPart, expected: PredictionsByPart) -> None:
    """Raise UserError if, with the model's weights, the method finds other mentions than the model."""
    for part, mentions in expected.items():
        for i, (ours, theirs) in enumerate(zip(found[part], mentions, strict=True)):
            if {m[:3] for m in ours} != {m[:3] for m in theirs}:
                raise UserError(
                    f"--method {card.name}: with the weights of this model of {before.record.method} it finds other "
                    f"mentions than the model itself (first in sentence {i} of {part}), so it cannot go on from "
                    f"it; use {before.record.method}"
                )


@contextmanager
def _arithmetic(threads: int, device: str) -> Iterator[None]:
    """Let torch compute as in a run during the block."""
    import torch

    before, were_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_arithmetic(threads, device)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if device != "cpu":
            torch.use_deterministic_algorithms(were_deterministic)
