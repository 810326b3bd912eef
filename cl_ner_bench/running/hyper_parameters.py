"""Hyper-parameters of a run: the user's values, else the recipe's and the method's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any

from cl_ner_bench import method_card
from cl_ner_bench.corpora.card import UNSTATED, HyperParameters, stated_only
from cl_ner_bench.corpora.cards import recipe
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.registry import Variant
from cl_ner_bench.running.layers import DEFAULT
from cl_ner_bench.running.option_values import parse_value
from cl_ner_bench.running.options import OPTIONS, Options
from cl_ner_bench.running.recipe_file import is_recipe_file, read_recipe_file
from cl_ner_bench.storage.files import digest
from cl_ner_bench.validation import convert

EXACT = {"max_span_width": 0, "pool": 1}
"""The values that ``--exact`` requires."""


def hyper_parameters(
    options: Options, variant: Variant, corpus: Corpus, origins: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the training hyper-parameters and the method's own settings of one variant.

    Note the origin of each ``LABEL.KEY`` in ``origins``. Leave out values that equal ``UNSTATED``.
    """
    card = variant.card
    training, method, of_file = _stated(options, variant, corpus)
    of_method = card.recipes.get(_base_recipe(options), HyperParameters()).given()
    for key in training:
        value = getattr(options, key, None)
        stated = f"recipe {_base_recipe(options)}" + f" of {card.name}'s card" * (key in of_method)
        stated = f"recipe {options.recipe}" if key in of_file else stated
        origins.setdefault(f"{variant.label}.{key}", stated if value is None else origins[key])
        training[key] = training[key] if value is None else value
    for key in method:
        origins.setdefault(f"{variant.label}.{key}", f"recipe {options.recipe}" if key in of_file else DEFAULT)
    _put(options.set.get(variant.label, {}), training, method, variant, "--set ")
    for key, off in EXACT.items():
        if options.exact and training[key] != off:
            hint = f"pass --{key.replace('_', '-')} {off}, or leave --exact out"
            raise UserError(f"--exact: {variant.label} has {key} {training[key]}, which changes training; {hint}")
    if training["head"] != "linear" and card.architecture != "token":
        raise UserError(f"{variant.label}: head {training['head']} is of token methods, and {card.name} is none")
    if training["span_prior"] and card.architecture != "span":
        raise UserError(f"{variant.label}: span_prior is of span methods, and {card.name} is none")
    if training["first_lr_epochs"] and not training["lr"]:
        raise UserError(f"{variant.label}: first_lr is a multiple of lr, which is 0; set --lr, or first_lr_epochs to 0")
    if training["new_rows"] != "random" and training["head"] != "cosine":
        raise UserError(f"{variant.label}: new_rows {training['new_rows']} needs head cosine, not {training['head']}")
    return stated_only(training), method


def _put(
    values: Mapping[str, Any], training: dict[str, Any], method: dict[str, Any], variant: Variant, where: str
) -> None:
    """Put values into the ``training`` hyper-parameters or the ``method``'s own settings.

    Raise UserError if a value does not fit. ``where`` begins its name in the message.
    """
    for key, value in values.items():
        table, at = method if key in method else training, f"{where}{variant.label}.{key}"
        if key not in table:
            near = did_you_mean(key, [*method, *training])
            raise UserError(
                f"{at}: {variant.card.name} has no such setting.{near} Its own are "
                f"{', '.join(method) or 'none'}; those of training are {', '.join(training)}"
            )
        table[key] = like(value, table[key], at, OPTIONS.get(key))
        if table is training:
            convert({key: table[key]}, HyperParameters, at)


def with_files(variant: Variant, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings of a method, with absolute paths of its files. Raise UserError if a file is missing."""
    found = dict(own)
    for key in variant.card.files:
        flag, path = f"--set {variant.label}.{key}", own.get(key, "")
        if not path or not isinstance(path, str):
            raise UserError(
                f"{variant.label} reads a text that you choose, because it decides what is measured; "
                f"pass {flag}=FILE (`bench list methods {variant.card.name}` says what the file holds)"
            )
        if not Path(path).is_file():
            raise UserError(f"{flag}={path}: no such file")
        found[key] = str(Path(path).resolve())
    return found


def recipe_name(given: str | None) -> str | None:
    """Return a name of the recipe that is valid from any folder."""
    return str(Path(given).expanduser().resolve()) if given and is_recipe_file(given) else given


def _base_recipe(options: Options) -> str:
    """Return the name of the card's recipe that all methods start from."""
    name = str(options.recipe)
    return read_recipe_file(Path(name)).base if is_recipe_file(name) else name


def printed_recipe(options: Options) -> str:
    """Return the printed name of a recipe."""
    name = str(options.recipe)
    return read_recipe_file(Path(name)).name if is_recipe_file(name) else name


def shared_by_methods(
    options: Options, variant: Variant, corpus: Corpus, training: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the ``training`` hyper-parameters without what the recipe states for this method alone.

    The recipe's common values replace those that the method's card or a recipe file states. What the user set stays:
    runs that the user gave other values are not comparable, while a tuned recipe is fair because each method has its
    own. A recipe file counts as one more value, because two files are two choices.
    """
    name, stated = str(options.recipe), _stated(options, variant, corpus)[0]
    names = dict.fromkeys(variant.card.recipes, HyperParameters())  # of the card's recipes, without their values
    of_all = recipe(corpus.card, _base_recipe(options), variant.card.architecture, options.scenario, names)
    common, given = {**UNSTATED, **of_all}, {**UNSTATED, **training}
    found = stated_only({key: common.get(key, v) if v == stated[key] else v for key, v in given.items()})
    if is_recipe_file(name):
        file = read_recipe_file(Path(name))
        found["recipe_file"] = digest([file.base, file.methods])
    return found


def _stated(options: Options, variant: Variant, corpus: Corpus) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Return the method's training hyper-parameters and own settings by recipe and card, and the keys in a recipe file.

    Raise UserError if a value is missing, or if a value in the file does not fit.
    """
    name, method = str(options.recipe), dict(variant.card.settings)
    training = _recipe(options, variant.card, corpus)
    if not is_recipe_file(name):
        return training, method, set()
    values = read_recipe_file(Path(name)).of(variant, f"--recipe {name}")
    _put(values, training, method, variant, f"--recipe {name}: methods.")
    return training, method, {*values}


def _recipe(options: Options, card: MethodCard, corpus: Corpus) -> dict[str, Any]:
    """Return all hyper-parameters of the base recipe for a method. Raise UserError if one is missing."""
    name = _base_recipe(options)

    def given(architecture: str) -> tuple[dict[str, Any], list[str]]:
        stated = recipe(corpus.card, name, architecture, options.scenario, card.recipes)
        values = stated | {key: value for key, value in UNSTATED.items() if key not in stated}
        return values, [key for key in HyperParameters.__struct_fields__ if key not in values]

    found, missing = given(card.architecture)
    if missing:
        other = next(a for a in method_card.ARCHITECTURES if a != card.architecture)
        raise UserError(
            f"--recipe {name}: "
            + (f"it says nothing of {', '.join(missing)}" if given(other)[1] else f"a recipe for {other} methods")
            + f", and {card.name} is a {card.architecture} method; choose another recipe, or leave it out"
        )
    return found


def by_hand(options: Options, variant: Variant, corpus: Corpus, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters that differ from the recipe and the method's defaults. Outputs mention them."""
    training, method, _ = _stated(options, variant, corpus)
    given = training | method
    return {key: value for key, value in {**UNSTATED, **values}.items() if value != given[key]}


def like(value: Any, default: Any, where: str, option: Field[Any] | None = None) -> Any:
    """Return ``value`` in the type of ``default``, or as ``option`` parses it. Raise UserError if it does not fit."""
    if option is not None:
        return parse_value(option.metadata["parse"], value, where)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if default is not None and type(value) is not type(default):
        raise UserError(f"{where} {value!r}: expected a value like {default!r}")
    return value
