"""The differences between two runs of the same name, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cl_ner_bench.errors import short
from cl_ner_bench.storage import layout
from cl_ner_bench.storage.run_record import WITHOUT_NUMBERS, RunRecord

_LEFT_OUT = ("method", *WITHOUT_NUMBERS)  # "method" is a table of its own


def differences(old: RunRecord, new: RunRecord, there: str = "there", now: str = "now") -> list[str]:
    """Return each difference that may change a number, as ``epochs: 4 there, 2 now``."""
    found = [f"{key}: {a} {there}, {b} {now}" for key, a, b in _values(old, new)]
    found += _contents(old, new, explained=bool(found))
    return found or [f"{key}: {a} {there}, {b} {now}" for key, a, b in _versions(old, new)]


def _values(old: RunRecord, new: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Yield name, old value and new value of each setting of the user that differs."""
    if old.registry_name != new.registry_name:
        yield "method", old.registry_name, new.registry_name
    tables = [(old.settings, new.settings), (old.settings.get("method", {}), new.settings.get("method", {}))]
    for a, b in tables:
        yield from _unequal({k: v for k, v in a.items() if k not in _LEFT_OUT}, b, _LEFT_OUT)
    yield from _unequal({"parts": old.inputs.get("parts")}, {"parts": new.inputs.get("parts")})
    if _tasks(old) != _tasks(new):
        yield "tasks", _tasks(old), _tasks(new)
    for key, a, b in _unequal(old.protocol, new.protocol):
        yield f"protocol {key}", a, b


def _contents(old: RunRecord, new: RunRecord, explained: bool) -> Iterator[str]:
    """Yield the files whose content changed.

    ``explained`` is True if a setting differs; that setting may have changed the sample and the split.
    """
    a, b = old.fingerprints, new.fingerprints
    if a.get("method") != b.get("method") and old.registry_name == new.registry_name:
        yield _code(old, new)
    if a.get("files") != b.get("files"):
        yield "the content of a file that the method reads changed"
    if a.get("encoder") != b.get("encoder"):
        yield f"the encoder {new.encoder} has other weights"
    if not explained and a.get("data") != b.get("data"):
        yield f"the sentences or labels of {new.dataset} changed"
    elif not explained and a.get("split") != b.get("split"):
        yield "the sentences of each task changed"


def _code(old: RunRecord, new: RunRecord) -> str:
    sources = new.inputs.get("source")
    if not sources:
        return f"the code of the suite's method {new.registry_name} changed since its runs"
    file = sources[0].partition("/")[2] if len(sources) == 1 else f"{new.registry_name} or of a module that it imports"
    kept = {source.partition("/")[0] for source in old.inputs.get("source", ())}
    return f"the code of {file} changed since its runs" + (f" (was {_kept(kept)})" if kept else "")


def _kept(folders: set[str]) -> str:
    return ", ".join(f"{layout.METHODS}/{folder}" for folder in sorted(folders))


def _versions(old: RunRecord, new: RunRecord) -> Iterator[tuple[str, str, str]]:
    for key in ("numerics", "torch"):
        yield from _unequal({key: old.versions.get(key)}, {key: new.versions.get(key)})


def _tasks(run: RunRecord) -> str:
    return ";".join(",".join(task.types) for task in run.tasks)


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any], but: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    for key in sorted({*a, *b} - {*but}):
        x, y = a.get(key, "the default"), b.get(key, "the default")
        if x != y:
            yield key, _shown(x), _shown(y)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, bool | int | float | str) else short(value)
