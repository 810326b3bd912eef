"""The grid of a published experiment, and the user's changes, which make it a rehearsal."""

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
"""Options that a preset fixes. Other values make another experiment, for `bench run`."""

SET = ("encoder", "recipe", "orders", "seeds", "precision")
"""Options of `bench reproduce` whose defaults come from the preset."""

FREE = (*NOT_OF_THE_GRID, "data", "seeds", "device", "threads")
"""Options that may differ from the preset without making a rehearsal."""


@dataclass(frozen=True)
class Reproduction:
    """A preset's ``grid`` and the user's own ``options``, both as options of `bench run`.

    Any ``changes`` from the preset make the grid a rehearsal.
    """

    setting: Setting
    grid: Mapping[str, Any]
    options: Mapping[str, Any]
    changes: tuple[str, ...]


def reproduction(name: str, given: Mapping[str, Any]) -> Reproduction:
    """Return the grid of a preset with the user's options. None means "not given".

    Raise UserError for an unknown preset and for wrong values.
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
    """Return the options of `bench run` for a setting with a preset."""
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
    """Return the reproduction with the differences of corpus and encoder from the published ones added as changes.

    ``records`` are the records of the planned runs, ``given`` the user's options.
    """
    found = [difference for run in records for difference in corpus_differences(run)]
    for run in records:
        if encoder_name(run) == plan.setting.encoder:  # another encoder is already among the changes
            found += encoder_differences(plan.setting.encoder, run)
    return _with_out(replace(plan, changes=(*plan.changes, *dict.fromkeys(found))), given.get("out"))


def _with_out(plan: Reproduction, out: str | None) -> Reproduction:
    """Return the reproduction with its results folder. The default name of a rehearsal ends with "-rehearsal"."""
    out = out or f"results/{plan.setting.name}{'-rehearsal' if plan.changes else ''}"
    return replace(plan, options={**plan.options, "out": out})


def _meaning(key: str, options: Options) -> Any:
    """Return an option's value, or the printed name of an encoder, because its weights are compared later."""
    value = getattr(options, key)
    return printed_name(value.partition("@")[0]) if key == "encoder" else value


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
