"""Conversion of plain values (of TOML, JSON or a Python literal) to typed values, with one message on a misfit.

A schema is a :class:`msgspec.Struct`. If a type has a ``Meta(description=...)``, a message gives this description as
the expected value. Without a description, and inside structs, a message names the innermost value that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from cl_ner_bench.errors import UserError, did_you_mean, short

T = TypeVar("T")

_LARGEST = 2**63 - 1  # as in TOML; Python refuses to print whole numbers of more than 4,300 digits
_FINITE = 1.7976931348623157e308
_REFUSED = (msgspec.ValidationError, ValueError)  # ValueError: a whole number that cannot be printed

Text = Annotated[str, Meta(min_length=1, description="a text that is not empty")]
Whole = Annotated[int, Meta(ge=-_LARGEST, le=_LARGEST, description="a whole number")]
Count = Annotated[int, Meta(ge=0, le=_LARGEST, description="a whole number of at least 0")]
Positive = Annotated[int, Meta(ge=1, le=_LARGEST, description="a whole number of at least 1")]
FilePath = Annotated[str, Meta(min_length=1, max_length=999, description="a path of less than 1,000 characters")]

_NAME_IN_PATH = r"(?!\.\.(?:[/\\]|\Z))[^/\\\0]+"
BELOW = rf"\A(?![\s\S]:){_NAME_IN_PATH}(?:[/\\]{_NAME_IN_PATH})*[/\\]*\Z"
"""Pattern of a relative path without ``..``. A card may name only such files, because others may have written it."""
PathBelow = Annotated[
    str,
    Meta(
        max_length=999,
        pattern=BELOW,
        description="a path of less than 1,000 characters inside the folder, without '..'",
    ),
]

_NotNegative = Annotated[int, Meta(ge=0, le=_LARGEST)] | Annotated[float, Meta(ge=0, le=_FINITE)]
AtLeast0 = Annotated[_NotNegative, Meta(description="a number of at least 0")]
_Positive = Annotated[int, Meta(gt=0, le=_LARGEST)] | Annotated[float, Meta(gt=0, le=_FINITE)]
Above0 = Annotated[_Positive, Meta(description="a number above 0")]
_Portion = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]
Share = Annotated[_Portion, Meta(description="a number from 0 to 1")]
_Below1 = Annotated[int, Meta(ge=0, lt=1)] | Annotated[float, Meta(ge=0, lt=1)]
Below1 = Annotated[_Below1, Meta(description="a number from 0 to below 1")]


class MisfitError(ValueError):
    """Error of the ``__post_init__`` of a schema: its values break a rule.

    ``key`` is relative to the schema. ``found`` is the value as a message quotes it, or "". ``near`` is the result of
    ``did_you_mean`` for that value.
    """

    def __init__(self, key: str, expected: str, found: str = "", near: str = "") -> None:
        super().__init__(key, expected, found, near)
        self.key, self.expected, self.found, self.near = key, expected, found, near


def convert(
    value: Any, kind: type[T], where: str = "", *, key: str = "", fail: Callable[[str], Exception] = UserError
) -> T:
    """Return ``value`` as a ``kind``: a struct or any other type that msgspec knows.

    The message begins with ``where`` (a file or an option). ``key`` is the place of the value there. A struct with
    ``forbid_unknown_fields`` refuses unknown keys.

    Raises:
        UserError: a value does not fit. ``fail`` may make another exception of the message.
    """
    try:
        return msgspec.convert(value, kind)
    except _REFUSED as error:
        problem = _problem(value, kind, key) or str(error)
        raise fail(f"{where}: {problem}" if where else problem) from None


def fits(value: Any, kind: Any) -> bool:
    """Return True if ``value`` is a ``kind``."""
    try:
        msgspec.convert(value, kind)
    except _REFUSED:
        return False
    return True


def _problem(value: Any, kind: Any, key: str) -> str | None:
    """Return the problem of the first part of ``value`` that does not fit, or None if all parts fit.

    msgspec's own messages do not name the keys of mappings and use the words of the type system.
    """
    try:
        msgspec.convert(value, kind)
    except _REFUSED as error:
        cause = error.__cause__
    else:
        return None
    if get_origin(kind) is Annotated:
        inner = get_args(kind)[0]
        has_structs = isinstance(value, list | tuple | Mapping) and any(map(_is_struct, get_args(inner)))
        inside = _problem(value, inner, key) if has_structs else None
        return inside or _wrong(key, _expected(kind), value, kind)
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member not in (NoneType, msgspec.UnsetType)]
        return _problem(value, members[0], key) if len(members) == 1 else _wrong(key, _expected(kind), value, kind)
    if _is_struct(kind) and isinstance(value, Mapping):
        inside = next(filter(None, _problems_of_keys(value, kind, key)), None)
        if inside is None and isinstance(cause, MisfitError):
            return _message(_join(key, cause.key), cause.expected, cause.found) + cause.near
        return inside
    if isinstance(value, Mapping) and _is_table(kind):
        names, inner = get_args(kind)
        unknown = next((name for name in value if not fits(name, names)), None)
        if unknown is not None and get_origin(names) is Literal:
            return _unknown(key, unknown, get_args(names))
        if unknown is not None:
            return _wrong(key, "texts as keys", unknown)
        return next(filter(None, (_problem(v, inner, _join(key, k)) for k, v in value.items())), None)
    if isinstance(value, list | tuple) and get_origin(kind) in (list, tuple):
        item = get_args(kind)[0]
        return next(filter(None, (_problem(v, item, f"{key}[{i}]") for i, v in enumerate(value))), None)
    return _wrong(key, _expected(kind), value, kind)


def _problems_of_keys(value: Mapping[Any, Any], kind: type[Struct], key: str) -> Iterator[str | None]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, inner in value.items():
        if name in fields:
            yield _problem(inner, fields[name].type, _join(key, name))
        elif kind.__struct_config__.forbid_unknown_fields:
            yield _unknown(key, name, list(fields))
    for name, field in fields.items():
        if field.required and name not in value:
            yield f"key '{_join(key, name)}' is missing: expected {_expected(field.type)}."


def _unknown(key: str, name: Any, known: Sequence[str]) -> str:
    near = did_you_mean(str(name), list(known))
    return f"unknown key '{_join(key, name)}'; known are {', '.join(known)}.{near}"


def _wrong(key: str, expected: str, value: Any, kind: Any = None) -> str:
    choices = [choice for choice in _choices(kind) if isinstance(choice, str)]
    words = value if isinstance(value, list | tuple) else [value]
    wrong = [word for word in words if isinstance(word, str) and word not in choices]
    return _message(key, expected, short(value)) + (did_you_mean(wrong[0], choices) if wrong else "")


def _message(key: str, expected: str, found: str) -> str:
    at = f"key '{key}': " if key else ""
    return f"{at}expected {expected}{', found ' if found else ''}{found}."


def _choices(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    else:
        for inner in get_args(kind):
            yield from _choices(inner)


def _expected(kind: Any) -> str:
    """Return a description of the values of ``kind`` for a message."""
    if get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        return next((m.description for m in metas if isinstance(m, Meta) and m.description), None) or _expected(inner)
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if get_origin(kind) in (Union, UnionType):
        return _expected(get_args(kind)[0])
    if _is_table(kind) or _is_struct(kind):
        return "a table"
    if (get_origin(kind) or kind) in (list, tuple):
        return "a list"
    return {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}.get(kind, str(kind))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _is_table(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _join(key: str, name: Any) -> str:
    return ".".join(filter(None, [key, short(name)[1:-1] if isinstance(name, str) else short(name)]))
