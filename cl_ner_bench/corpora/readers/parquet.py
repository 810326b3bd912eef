"""Parquet files: a sentence a row, in the shapes of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora.readers.fields import FIELDS, LABEL_FIELDS
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.objects import read_objects
from cl_ner_bench.corpora.readers.options import ReaderOptions
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.errors import require

_BATCH = 1000  # rows


def read_parquet(path: Path, options: ReaderOptions, report: Report) -> Iterator[Row]:
    """Yield a sentence a row, in the shapes of ``read_objects``; a row's line is its number, from 1.

    Class ids (``ner_tags``) get their names from ``options.tag_names``, else from the ClassLabel features that
    Hugging Face writes into the file's metadata. Problems: ``parquet`` (no such file, or no parquet), and those of
    ``read_objects``. Raises UserError if pyarrow is not installed.
    """
    require("pyarrow", "hub", str(path))
    return read_objects(partial(_rows, path), path, options, report, _class_names(path))


def _rows(path: Path, report: Report) -> Iterator[tuple[int, Any]]:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            # If no column has a known name of labels, all are read: another one may hold the labels.
            columns = [name for name in names if name in FIELDS] if LABEL_FIELDS.intersection(names) else None
            for batch in file.iter_batches(_BATCH, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0][:200]
        fix = "Download or write it again"
        report.problem("parquet", path, number + 1, f"cannot be read as parquet ({reason})", fix)


def _class_names(path: Path) -> dict[str, list[str]]:
    """Return the names of the class ids in each column, as far as the file states them."""
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_schema(path).metadata or {}
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {column: names for column, feature in features.items() if (names := _names_in(feature))}
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _names_in(feature: Any) -> list[str]:
    """Return the names of the first ClassLabel in a feature, which may be a list or a table of features."""
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        return [str(name) for name in feature.get("names", ())]
    inner = feature.values() if isinstance(feature, dict) else feature if isinstance(feature, list) else ()
    return next((names for names in map(_names_in, inner) if names), [])
