"""The grid of a published experiment, and the changes that make it a rehearsal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cl_ner_bench.analysis.literature.settings import (
    ENCODERS,
    Setting,
    corpus_differences,
    encoder_differences,
    encoder_name,
    presets,
    printed_name,
)
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.options import NOT_OF_THE_GRID, OPTIONS, Options
from cl_ner_bench.storage.run_record import RunRecord

FIXED = ("methods", "bounds", "set", "dataset", "tasks", "scenario", "split", "joint_steps", "training_check")
"""Options that a preset fixes: with other values it would be another experiment, for which there is `bench run`."""

SET = ("encoder", "recipe", "orders", "seeds", "precision")
"""Options of `bench reproduce` whose default is the preset's."""

FREE = (*NOT_OF_THE_GRID, "data", "seeds", "device", "threads")
"""Options that may differ from the preset."""


@dataclass(frozen=True)
class Reproduction:
    """A preset's ``grid`` and the user's own ``options``, as those of `bench run`.

    ``changes`` from the preset make it a rehearsal; empty: none.
    """

    setting: Setting
    grid: Mapping[str, Any]
    options: Mapping[str, Any]
    changes: tuple[str, ...]


def reproduction(name: str, given: Mapping[str, Any]) -> Reproduction:
    """Return the grid of a preset with the options that the user gave (None: not given).

    Raises UserError for an unknown preset and for values that do not fit.
    """
    known = presets()
    if name not in known:
        begun = ", ".join(preset for preset in known if preset.startswith(name.casefold()))
        hint = f" These begin so: {begun}." if begun else did_you_mean(name, list(known))
        raise UserError(f"no preset {name!r}.{hint} `bench list presets` shows all")
    setting = known[name]
    grid = preset_grid(setting)
    own = {key: value for key, value in given.items() if value is not None}
    wanted, meant = layer(own, preset=grid)[0].options, layer({}, preset=grid)[0].options
    changes = tuple(
        f"{key.replace('_', '-')} {_shown(getattr(wanted, key))}"
        for key in OPTIONS
        if key not in FREE and _meaning(key, wanted) != _meaning(key, meant)
    )
    return _with_out(Reproduction(setting, grid, own, changes), own.get("out"))


def preset_grid(setting: Setting) -> dict[str, Any]:
    """Return the options that a setting with a preset sets."""
    preset = setting.preset
    assert preset is not None, "presets() holds settings with a preset only"
    return {
        "methods": setting.methods,
        "bounds": "none",
        "dataset": setting.dataset,
        "scenario": setting.scenario,
        "encoder": ENCODERS[setting.encoder].spec,
        "recipe": preset.recipe,
        "orders": setting.orders,
        "seeds": preset.seeds,
        "precision": "fp32",
    }


def with_differences(plan: Reproduction, given: Mapping[str, Any], records: Sequence[RunRecord]) -> Reproduction:
    """Return the reproduction after its runs are planned: a rehearsal if corpus or encoder are not the published ones.

    ``records`` are those of the planned runs, ``given`` the options that the user gave.
    """
    found = [difference for run in records for difference in corpus_differences(run)]
    for run in records:
        if encoder_name(run) == plan.setting.encoder:  # another name is a change already
            found += encoder_differences(plan.setting.encoder, run)
    return _with_out(replace(plan, changes=(*plan.changes, *dict.fromkeys(found))), given.get("out"))


def _with_out(plan: Reproduction, out: str | None) -> Reproduction:
    """Return the reproduction with its results folder; the default one names a rehearsal so."""
    out = out or f"results/{plan.setting.name}{'-rehearsal' if plan.changes else ''}"
    return replace(plan, options={**plan.options, "out": out})


def _meaning(key: str, options: Options) -> Any:
    """Return an option's value; of an encoder its printed name, because its weights are compared later."""
    value = getattr(options, key)
    return printed_name(value.partition("@")[0]) if key == "encoder" else value


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
