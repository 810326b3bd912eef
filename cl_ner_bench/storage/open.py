"""The shared folder of a command: the results folder itself, or an object store that it is a copy of."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cl_ner_bench.storage.shared import Depot


@cache
def depot(out: Path, url: str | None) -> Depot:
    """The results folder ``out``, or with ``url`` the object store that it is a copy of.

    Raises UserError for a URL that names none.
    """
    if url is None:
        return Depot(out)
    from cl_ner_bench.storage.object_store import Objects  # imports fsspec

    return Objects(out, url)
