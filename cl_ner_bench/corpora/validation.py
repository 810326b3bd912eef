"""What the tables of a card may hold: said once, for the check and for its message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cl_ner_bench.errors import UserError, did_you_mean, short


class Value(NamedTuple):
    """One value: what is expected, as a message says it, and whether a value is that.

    ``choices`` are the texts that it is chosen from, if it is.
    """

    expected: str
    fits: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


class Each(NamedTuple):
    """A table with any keys, whose values have one shape."""

    shape: Shape


# A mapping is a table with these keys, or some of them.
Shape = Value | Each | Mapping[str, "Shape"]


def check(value: Any, where: str, shape: Shape, key: str = "") -> None:
    """Raises UserError where a value, or what is inside of it, is not of its shape.

    ``where`` (a file) begins messages, ``key`` is where the value stands in it: ``reader_options.scheme``.
    """
    if isinstance(shape, Value):
        if not shape.fits(value):
            raise UserError(
                f"{where}: key '{key}': expected {shape.expected}, found {short(value)}.{_near(value, shape)}"
            )
        return
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: key '{key}': expected a table, found {short(value)}.")
    for name, inner in value.items():
        inside = ".".join(filter(None, [key, short(name)[1:-1]]))
        if isinstance(shape, Each):
            check(inner, where, shape.shape, inside)
        elif name in shape:
            check(inner, where, shape[name], inside)
        else:
            near = did_you_mean(name, [*shape])
            raise UserError(f"{where}: unknown key '{inside}'; known are {', '.join(shape)}.{near}")


def one_of(*choices: str) -> Value:
    return Value(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices, choices)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_path(value: Any) -> bool:
    return is_text(value) and len(value) < 1000


def is_below(value: Any) -> bool:
    """Whether a card's path names something in its own folder: a card may be another's."""
    return (
        is_path(value)
        and "\0" not in value
        and not {"..", ""} & {*re.split(r"[/\\]", value.rstrip("/\\"))}
        and ":" not in value[1:2]
    )


def is_whole(value: Any) -> bool:
    # Those of TOML have 64 bits; longer ones can be read, but Python refuses to print those of 4,300 digits.
    return type(value) is int and abs(value) < 1 << 63


def is_number(value: Any) -> bool:
    return is_whole(value) or (isinstance(value, float) and abs(value) < float("inf"))


def is_list_of(fits: Callable[[Any], bool], value: Any, least: int = 0) -> bool:
    return isinstance(value, list | tuple) and len(value) >= least and all(map(fits, value))


def is_table_of(fits: Callable[[Any], bool], value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(fits, value.values()))


TEXT = Value("a text", lambda value: isinstance(value, str))
NAME = Value("a text that is not empty", is_text)
PATH = Value("a path of less than 1,000 characters", is_path)
BELOW = Value("a path of less than 1,000 characters inside the folder, without '..'", is_below)
TABLE = Value("a table", lambda value: isinstance(value, Mapping))
COUNT = Value("a whole number of at least 0", lambda value: is_whole(value) and value >= 0)


def _near(value: Any, shape: Value) -> str:
    words = value if isinstance(value, list | tuple) else [value]
    wrong = [word for word in words if isinstance(word, str) and word not in shape.choices]
    return did_you_mean(wrong[0], [*shape.choices]) if wrong else ""
