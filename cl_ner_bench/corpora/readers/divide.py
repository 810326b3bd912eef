"""The division of sentences into train, dev and test, if they have no parts or too few."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from random import Random

from cl_ner_bench.corpora.division import SHORT, Division
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS

SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")
"""The part of a file's name that differs between the shards of one table."""


def divide(found: Sequence[Row], into: Sequence[str], division: Division, report: Report) -> dict[str, list[Row]]:
    """Return sentences in the parts ``into`` (of train, dev and test), in their order in the files.

    In random order, each document goes to the part that has the smallest fraction of its share so far (in sentences;
    of equal parts, to the first). A document is what a reader marks as one, else a file (the shards of a table are one
    file). If there are fewer documents than the smallest share needs (10 for 10 %), single sentences are divided
    instead, and a remark says so.
    """
    shares = {part: share for part, share in zip(PARTS, division.shares, strict=True) if part in into}
    documents: dict[Hashable, list[int]] = {}
    for i, row in enumerate(found):
        documents.setdefault((SHARD.sub("", str(row.path)), row.document), []).append(i)
    needed = -(-sum(shares.values()) // min(shares.values()))  # rounded up
    whole = needed <= len(documents) < len(found)  # as many documents as sentences: these are sentences
    units = [*documents.values()] if whole else [[i] for i in range(len(found))]
    Random(f"{division.seed}/parts").shuffle(units)
    taken: dict[str, list[list[int]]] = {part: [] for part in into}
    sizes = dict.fromkeys(into, 0)
    for unit in units:
        part = min(into, key=lambda part: sizes[part] / shares[part])
        taken[part].append(unit)
        sizes[part] += len(unit)
    parts = {part: [found[i] for i in sorted(i for unit in units for i in unit)] for part, units in taken.items()}
    how = "documents kept whole" if whole else "sentence by sentence"
    if 1 < len(documents) < needed:
        how += f" (a share of {min(shares.values())} % of whole documents needs {needed}, here are {len(documents)})"
    counts = [f"{part} {sizes[part]:,}" + f" ({len(taken[part]):,} documents)" * whole for part in into]
    report.remark(f"sentences divided by {division}, {how}: {', '.join(counts)}")
    if copies := _copies(parts):
        report.remark(
            f"dev or test sentences of {SHORT} words or more whose words also stand in an earlier part: {copies:,}; "
            "they may be scored too well, and `bench data check` lists them"
        )
    return parts


def _copies(parts: dict[str, list[Row]]) -> int:
    """Return the number of sentences whose words also stand in an earlier part. Short sentences do not count."""
    known: set[tuple[str, ...]] = set()
    copies = 0
    for rows in parts.values():
        words = [row.words for row in rows if len(row.words) >= SHORT]
        copies += sum(found in known for found in words)
        known.update(words)
    return copies
