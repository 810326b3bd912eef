"""Values of options. Each function converts a text, or a value from Python, to the value of an option.

All functions raise ValueError, with the expected form, if the input does not fit. ``parse_value`` makes it a UserError.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cl_ner_bench.corpora.division import SHARES
from cl_ner_bench.errors import UserError, did_you_mean

Settings = dict[str, dict[str, Any]]  # method -> key -> value
T = TypeVar("T")


def parse_value(parse: Callable[[Any], T], value: Any, where: str) -> T:
    """Return the parsed value.

    Raises:
        UserError: the value does not fit. The message names ``where``, such as a flag.
    """
    try:
        return parse(value)
    except ValueError as error:
        raise UserError(f"{where} {value!r}: {error}") from None


def text(value: Any) -> str:
    if not isinstance(value, str | Path):
        raise ValueError("expected a text")
    try:
        str(value).encode()
    except UnicodeEncodeError:  # a name that the locale cannot read, and no file can hold
        raise ValueError("expected a text of this locale; set PYTHONUTF8=1, or use a name in UTF-8") from None
    return str(value)


def path(value: Any) -> str:
    return str(Path(text(value)).expanduser())


def encoder_name(value: Any) -> str:
    """Return the name of an encoder, or the absolute path if ``value`` is a ``Path``."""
    return os.path.abspath(value) if isinstance(value, Path) else text(value)


def names(value: Any) -> tuple[str, ...]:
    values = value.split(",") if isinstance(value, str) else value
    return tuple(text(v).strip() for v in values if text(v).strip())


def number(kind: type, least: float, most: float = math.inf) -> Callable[[Any], Any]:
    bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    expected = f"expected {'a whole number' if kind is int else 'a number'} {bounds}"

    def parse(value: Any) -> Any:
        try:
            result = kind(value)
            good = (
                not isinstance(value, bool) and result == float(value) and least <= result <= most and result < math.inf
            )
        except (TypeError, ValueError, OverflowError):
            good = False
        if not good:
            raise ValueError(expected)
        return result

    return parse


def share(value: Any) -> float:
    found: float = number(float, 0)(value)
    if not 0 < found <= 1:
        raise ValueError("expected a number above 0 and at most 1")
    return found


def shares(value: Any) -> tuple[int, ...]:
    """Return the shares of train, dev and test in percent."""
    try:
        found = tuple(map(number(int, 1), value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError):
        found = ()
    if len(found) != 3 or sum(found) != 100:
        raise ValueError(f"expected {SHARES}")
    return found


def numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Iterable):
        raise ValueError("expected a list of numbers, such as [0, 1]")
    values = value.split(",") if isinstance(value, str) else value
    found = tuple(dict.fromkeys(number(int, 0)(v) for v in values))
    if not found:
        raise ValueError("expected at least one whole number")
    return found


def orders(value: Any) -> tuple[int, ...] | str:
    return "all" if value == "all" else numbers(value)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def one_of(*choices: str, pattern: str = "(?!)", meant: Mapping[str, str] | None = None) -> Callable[[Any], str]:
    """Return a parser of ``choices`` and of texts that match ``pattern``. ``meant``: words for choices, to suggest."""
    known = {**{choice: choice for choice in choices}, **(meant or {})}

    def parse(value: Any) -> str:
        if value not in choices and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            near = did_you_mean(value, known) if isinstance(value, str) else ""
            raise ValueError(f"expected one of {', '.join(choices)}.{near}".removesuffix("."))
        return str(value)

    return parse


def tasks(value: Any) -> str:
    """Return tasks as text such as ``"ORG;PERSON;GPE,DATE"``. Accept a list of lists of types, too."""
    return value if isinstance(value, str) else ";".join(",".join(names(group)) for group in value)


def settings(value: Any) -> Settings:
    """Parse ``METHOD.KEY=VALUE`` texts, or a table method -> key -> value. Values are TOML, else plain text."""
    found: Settings = {}
    if isinstance(value, Mapping):
        for method, row in value.items():
            if not isinstance(row, Mapping):
                raise ValueError(f"expected a table of settings for {method!r}")
            found[method] = dict(row)
        return found
    for item in [value] if isinstance(value, str) else value:
        match = re.fullmatch(r"\s*([^=]+)\.([^.=]+?)\s*=(.*)", item)
        if not match:
            raise ValueError(f"expected METHOD.KEY=VALUE, not {item!r}")
        found.setdefault(match[1], {})[match[2]] = _value(match[3].strip())
    return found


def pairs(value: Any) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` texts, or a table. Values are TOML, else plain text."""
    if isinstance(value, Mapping):
        return dict(value)
    split = [item.partition("=") for item in ([value] if isinstance(value, str) else value)]
    if not all(key.strip() and equals for key, equals, _ in split):
        raise ValueError("expected KEY=VALUE")
    return {key.strip(): _value(written.strip()) for key, _, written in split}


def _value(written: str) -> Any:
    try:
        return tomllib.loads(f"v = {written}")["v"]
    except (ValueError, RecursionError):
        return written
