"""The search space of `bench tune`: the settings of a method that it tries, and their bounds.

A method's card declares the space under ``search``. For hyper-parameters that it leaves out, ``COMMON`` applies.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from cl_ner_bench.corpora.card import HyperParameters
from cl_ner_bench.errors import did_you_mean, short
from cl_ner_bench.validation import MisfitError, fits

_Number = Annotated[int | float, Meta(description="a number")]
_Choices = Annotated[tuple[bool | int | float | str, ...], Meta(description="a list of texts, numbers, true or false")]
_Times = Annotated[tuple[float, float], Meta(description="two factors like [0.1, 10]")]
_FORMS = '{"times": [A, B]}, {"low": A, "high": B, "log": true or false} or {"choices": [...]}'


class Search(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The values of one setting that a search tries: a list of ``choices``, or all values between two bounds.

    The bounds are ``low`` and ``high``, or the setting's own value ``times`` two factors. With ``log``, and always with
    ``times``, values are drawn evenly on a logarithmic scale.
    """

    low: _Number | None = None
    high: _Number | None = None
    log: bool = False
    times: _Times | None = None
    choices: _Choices = ()

    def __post_init__(self) -> None:
        bounded = self.low is not None or self.high is not None
        if bounded + (self.times is not None) + bool(self.choices) != 1 or (self.log and not bounded):
            raise MisfitError("", f"one of {_FORMS}", short(msgspec.structs.asdict(self)))
        if self.times is not None and not (0 < self.times[0] <= 1 <= self.times[1] and self.times[0] < self.times[1]):
            raise MisfitError(
                "times", "a factor above 0 and at most 1, and a larger one of at least 1", short(self.times)
            )
        if bounded and (self.low is None or self.high is None or not self.low < self.high < math.inf):
            raise MisfitError("high", "finite bounds, low below high", short([self.low, self.high]))
        if self.log and self.low is not None and self.low <= 0:
            raise MisfitError("low", "a bound above 0 for a logarithmic scale", short(self.low))
        if (self.choices and len({(type(c), c) for c in self.choices}) != len(self.choices)) or len(self.choices) == 1:
            raise MisfitError("choices", "at least two different values", short([*self.choices]))

    def holds(self, value: Any) -> bool:
        """Return True if the search may try ``value``."""
        if self.choices:
            return any(type(c) is type(value) and c == value for c in self.choices)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (self.low is None or self.high is None or self.low <= value <= self.high)


Space = Mapping[str, Search]
"""Maps the name of a setting or hyper-parameter to its search."""

COMMON: Space = {
    "lr": Search(times=(0.1, 10.0)),
    "head_lr": Search(times=(0.1, 10.0)),
    "epochs": Search(times=(0.5, 2.0)),
    "batch_size": Search(times=(0.5, 2.0)),
}
"""Hyper-parameters searched for every method, around the values of the recipe that the search starts from."""

FROZEN: Space = {"head_lr": Search(times=(0.1, 100.0))}
"""Replaces entries of ``COMMON`` if the encoder is frozen: with recipes for a whole model, a head alone learns too
little."""


@cache  # every card calls this, and msgspec evaluates all annotations each time
def _hyper_parameters() -> Mapping[str, Any]:
    """Return the types of the training hyper-parameters by name."""
    return {field.name: field.type for field in msgspec.structs.fields(HyperParameters)}


def check_search(search: Mapping[str, Search | None], settings: Mapping[str, Any], files: Collection[str]) -> None:
    """Raise MisfitError if a card's ``search`` does not fit its settings."""
    training = _hyper_parameters()
    known = [*(key for key in settings if key not in files), *training]
    for key, found in search.items():
        if key not in known:
            own = ", ".join(key for key in known if key in settings) or "none"
            expected = f"one of its own settings ({own}) or of training ({', '.join(training)})"
            raise MisfitError(f"search.{key}", expected, short(key), did_you_mean(key, known))
        if found is None:
            continue
        values = [*found.choices] or [v for v in (found.low, found.high) if v is not None]
        if key not in settings:
            if wrong := [v for v in values if not fits(v, training[key])]:
                raise MisfitError(f"search.{key}", "values that this hyper-parameter may have", short(wrong))
            continue
        default = settings[key]
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if not number and not found.choices:
            raise MisfitError(f"search.{key}", f'"choices", as its default is {short(default)}', "bounds")
        wrong = [v for v in values if isinstance(v, bool | str) or not isinstance(v, type(default) | int)]
        if number and wrong:
            raise MisfitError(f"search.{key}", f"numbers like its default {short(default)}", short(wrong))
        if not found.holds(default):
            raise MisfitError(f"search.{key}", f"bounds that hold its default {short(default)}", short(values))


def space_of(
    search: Mapping[str, Search | None], group: str, start: Mapping[str, Any], fixed: Collection[str] = ()
) -> dict[str, Search]:
    """Return the search space of a method, with ``times`` resolved to bounds around the values in ``start``.

    Leave out settings that are ``fixed`` or missing in ``start``. Also leave out settings with ``times`` whose value is
    0: a part of a method that is off stays off. ``group`` is the method's group.
    """
    common = {**COMMON, **(FROZEN if group == "closed-form" else {})}
    found = {}
    for key, values in {**common, **search}.items():
        if values is None or key in fixed or key not in start:
            continue
        if values.times is None:
            whole = isinstance(start[key], int)
            bounds = (b if b is None or whole else float(b) for b in (values.low, values.high))
            found[key] = msgspec.structs.replace(values, **dict(zip(("low", "high"), bounds, strict=True)))
        elif start[key] > 0:
            found[key] = _around(start[key], values.times)
    return found


def _around(value: float, times: tuple[float, float]) -> Search:
    low, high = (value * factor for factor in times)
    if isinstance(value, int):
        return Search(low=max(1, math.floor(low)), high=math.ceil(high), log=True)
    return Search(low=rounded(low), high=rounded(high), log=True)


def stated(space: Space) -> dict[str, dict[str, Any]]:
    """Return a space as plain values for JSON and TOML, without defaults."""
    found: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(space))
    return found


def rounded(value: float) -> float:
    """Return a number rounded to three significant digits, as in recipe files."""
    return float(f"{value:.3g}")
