"""JSON files, and sealed records among them: a record holds the digest of everything else in it."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.atomic import write_bytes

SEAL = "seal"
SCHEMA = 1  # of records; those of every earlier schema are read, too
_DIGITS = 64  # of a sha256


def from_json(data: bytes) -> Any:
    """Return the value of a JSON file.

    Raises:
        ValueError: it is no JSON, or holds half a surrogate pair, which no output can hold.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(data.decode())
    json.dumps(value, ensure_ascii=False).encode()
    return value


def canonical(value: Any) -> str:
    """Return the JSON text that equal values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ordered(value: Any) -> str:
    """Return compact JSON text that keeps the order of keys (learning order is information)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def pretty(value: Any) -> bytes:
    """Return JSON as stored: a line per key, sorted."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def gzipped(lines: Iterable[str]) -> bytes:
    """Return text lines as gzip without the time: equal lines give equal bytes."""
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``record`` as JSON gives it back, with the digest of everything else in it."""
    plain = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    return {**plain, SEAL: digest(plain)}


def is_changed(record: Mapping[str, Any]) -> bool:
    """Return True if a sealed record was changed since; a record without a seal is not known to be.

    Whitespace and the order of keys are no part of a record.
    """
    if SEAL in record:
        return bool(record[SEAL] != _digest_without(record, SEAL))
    # One flipped bit in the word "seal" must not make a sealed record one that never was.
    names = [key for key, value in record.items() if isinstance(value, str) and len(value) == _DIGITS]
    return any(record[name] == _digest_without(record, name) for name in names)


def _digest_without(record: Mapping[str, Any], name: str) -> str:
    return digest({key: value for key, value in record.items() if key != name})


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    write_bytes(path, pretty(value), durable)


def write_record(path: Path, record: Mapping[str, Any], wanted: Callable[[], bool] = lambda: True) -> bool:
    """Write a record, sealed, if it is ``wanted`` (see ``atomic.write_bytes``). Return True if it was written."""
    return write_bytes(path, pretty(sealed(record)), wanted=wanted)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, None where there is none or it cannot be read."""
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record without its seal, None where there is none or it is not what was written.

    Raises:
        UserError: a later version wrote it; it must not be replaced.
    """
    record = read_json(path)
    if not isinstance(record, dict) or is_changed(record):
        return None
    if type(record.get("schema")) is int and record["schema"] > SCHEMA:
        raise UserError(newer_schema(path, record["schema"]))
    return {key: value for key, value in record.items() if key != SEAL}


def newer_schema(path: Path, schema: int) -> str:
    """Return what a command says that would have to replace a file of a later version."""
    known = f"has schema {schema}, this version reads up to {SCHEMA}"
    return f"{path} {known}: update cl-ner-bench, or pass another --out"
