"""Corpora from the Hugging Face hub, read by the library ``datasets``."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Any

from cl_ner_bench import caches
from cl_ner_bench.corpora.card import Card, Hub
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.objects import read_objects
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError, require

_WORDS = ("tokens", "words")
_SPLITS = {"train": ("train",), "dev": ("validation", "dev", "valid", "val"), "test": ("test",)}
_BATCH = 1000  # rows
_PATIENCE = 10  # seconds to wait for the hub's answer


def hub_rows(card: Card, options: ReaderOptions, report: Report) -> dict[str, Iterator[Row]]:
    """Return the sentences of a card's hub source, streamed from the downloaded tables, with types by ``options``.

    Files that ``datasets`` downloads and converts stay in the cache folder; ``HF_HUB_OFFLINE`` is respected. Raises
    UserError, which says what to do instead, if the hub gives no sentences: no network, no such dataset or revision, a
    gate, or a loading script, which ``datasets`` no longer runs.
    """
    hub = card.hub
    assert hub is not None
    try:
        require("datasets", "hub", f"{card.title} from the Hugging Face hub")
    except UserError as error:
        raise UserError(f"{error}. Or without it: {card.how_to_get} Then pass --data PATH.") from None
    tables = _load(card, hub)
    parts: dict[str, Iterator[Row]] = {}
    for part in PARTS:
        split = next((name for name in _SPLITS[part] if name in tables), None)
        where = Path(f"{hub.repo}@{hub.revision}") / (split or part)
        if split is None:
            fix = f"It has {', '.join(tables)}; get the corpus yourself and pass --data"
            report.problem("missing", where, 0, f"no {part} part", fix)
            parts[part] = iter(())
        else:
            parts[part] = _rows(tables[split], where, hub, options, report)
    return parts


def _load(card: Card, hub: Hub) -> Any:
    if not os.path.isabs(hub.repo) and os.path.isdir(hub.repo):
        raise UserError(
            f"{card.title}: there is a folder {hub.repo} here, which the library `datasets` would read in place of the "
            "hub's repository of that name. Start from another folder, or pass --data PATH."
        )
    files = {split: f"{hub.folder}/{split}/*.parquet" for split in ("train", "validation", "test")}
    unreachable = False
    try:
        datasets = importlib.import_module("datasets")
        with _quiet(), caches.hub() as folder:
            unreachable = not os.path.isdir(hub.repo) and _is_silent()
            with _offline(unreachable):
                return datasets.load_dataset(
                    hub.repo,
                    name=hub.config or None,
                    data_files=files if hub.folder else None,
                    revision=hub.revision,
                    cache_dir=str(folder / "tables"),
                )
    except Exception as error:  # the libraries raise many kinds: for the network, a server, a gate, a script
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if unreachable:
            reason = "no connection? HF_HUB_OFFLINE=1 takes what was downloaded before, without asking."
        raise UserError(
            f"{card.title}: the Hugging Face hub did not give {hub.repo} (revision {hub.revision}): {reason}\n"
            f"{card.how_to_get} Then pass --data PATH."
        ) from error


def _is_silent() -> bool:
    """Return whether the hub does not answer one request. The libraries would retry for half a minute."""
    hub: Any = importlib.import_module("huggingface_hub")
    if hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        hub.utils.get_session().head(hub.constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # its class depends on the HTTP library of huggingface_hub
        return True
    return False


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Put the libraries into their offline mode if ``wanted``."""
    names = ("huggingface_hub.constants", "datasets.config") if wanted else ()
    modules: list[Any] = [importlib.import_module(name) for name in names]
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' warnings: our message says what matters."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _rows(table: Any, where: Path, hub: Hub, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of one table, with the mentions of all its columns of tags."""
    columns = table.column_names
    missing = [column for column in hub.tags if column not in columns]
    if missing:
        fix = f"Name columns of tags in the card, as hub.tags; there are {', '.join(columns)}"
        report.problem("columns", where, 0, f"no column {missing[0]!r}", fix)
        return
    layers = [{"ner_tags": column} | {c: c for c in columns if c in _WORDS} for column in hub.tags]
    readers = [_layer(table, fields, where, options, report) for fields in layers or [{c: c for c in columns}]]
    for _, rows in groupby(merge(*readers, key=_line), key=_line):
        found = list(rows)
        if len(found) == len(readers):
            mentions = tuple(sorted({m for row in found for m in row.mentions}))
            yield found[0]._replace(mentions=options.of_types(mentions))


def _layer(table: Any, fields: Mapping[str, str], where: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield the sentences of a table; ``fields`` maps each field to its column."""
    names = {field: _names(table.features[column]) for field, column in fields.items()}

    def objects(report: Report) -> Iterator[tuple[int, Any]]:
        number = 0
        for batch in table.select_columns([*fields.values()]).iter(batch_size=_BATCH):
            for values in zip(*(batch[column] for column in fields.values()), strict=True):
                number += 1
                yield number, dict(zip(fields, values, strict=True))

    return read_objects(objects, where, options, report, {field: found for field, found in names.items() if found})


def _line(row: Row) -> int:
    return row.line


def _names(feature: Any) -> tuple[str, ...]:
    """Return the class names of a column of class numbers, by number; () for other columns."""
    return tuple(getattr(getattr(feature, "feature", None), "names", ()))
