"""Attributes of test mentions that may make them easy to forget, in bins (docs/errors.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cl_ner_bench.analysis.comparison.compare import Comparison
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.data.outcomes import Integers, Outcomes
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.untrusted import unpacked

_KEY = ["id", "start", "end", "type"]
_NUMBERS = {"train_freq_surface": np.int64, "train_freq_type": np.int64, "seen": np.int64, "hidden_rate": np.float64}


@dataclass(frozen=True)
class Attribute:
    """An attribute of mentions. A bin ends before each of ``edges``; without edges, each bin holds a third of the
    mentions."""

    name: str
    title: str
    edges: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()


ATTRIBUTES = (
    Attribute("seen", "surface form in training", (1,), ("unseen", "seen")),
    Attribute("surface_frequency", "training mentions of the surface form", (1, 2, 10), ("0", "1", "2–9", "10+")),
    Attribute("length", "words", (2, 3, 4), ("1", "2", "3", "4+")),
    Attribute("type_frequency", "training mentions of the type"),
    Attribute("hidden_rate", "hidden mentions of the type (%)"),
    Attribute("confusion", "joint training takes the type for another (%)"),
)


@dataclass(frozen=True)
class BinnedMentions:
    """The test mentions of a comparison's splits, with their attributes as numbers and in bins.

    ``frame``: split, id, start, end, type and a column for each of ``attributes`` (nan if unknown).
    """

    frame: pd.DataFrame
    attributes: tuple[Attribute, ...]
    _known: dict[tuple[str, tuple[str, ...], bytes], Integers] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, c: Comparison, results: Results, confusion: Mapping[str, float]) -> BinnedMentions | None:
        """Read the mentions of a comparison. Return None if no ``mentions.csv.gz`` holds the comparison's splits.

        ``confusion``: percent per type; empty without joint training. Raises UserError for a file that cannot be read
        or has other columns.
        """
        frame = _mentions(c, results)
        if frame.empty:
            return None
        values = {
            "seen": frame["seen"],
            "surface_frequency": frame["train_freq_surface"],
            "length": frame["end"] - frame["start"],
            "type_frequency": frame["train_freq_type"],
            "hidden_rate": 100 * frame["hidden_rate"],
            "confusion": frame["type"].map(confusion).astype(float),
        }
        known = tuple(a for a in ATTRIBUTES if values[a.name].notna().any())
        return cls(frame[["split", *_KEY]].assign(**{a.name: values[a.name].astype(float) for a in known}), known)

    @cached_property
    def labels(self) -> dict[str, Sequence[str]]:
        """Return the names of each attribute's bins."""
        return {a.name: a.labels or _names(*self._thirds(a)) for a in self.attributes}

    def codes(self, run: RunRecord, r: Outcomes) -> Integers:
        """Return ``[attributes, n]``: the bin of each mention of the run, or -1 if it is unknown."""
        key = (_split(run), r.types, r.mentions.tobytes())
        if key not in self._known:  # runs of one split have the same mentions
            self._known[key] = self._codes(key[0], r)
        return self._known[key]

    def _codes(self, split: str, r: Outcomes) -> Integers:
        mentions = pd.DataFrame(r.mentions, columns=_KEY)
        mentions["type"] = np.array(r.types, dtype=object)[r.mentions[:, 3]]
        own = self.frame[self.frame["split"] == split]
        joined = mentions.merge(own, on=_KEY, how="left", validate="one_to_one")
        codes = [self._bin(a, joined[a.name].to_numpy()) for a in self.attributes]
        return np.array(codes, dtype=np.int64)

    def _bin(self, attribute: Attribute, values: NDArray[np.float64]) -> Integers:
        edges = attribute.edges or self._thirds(attribute)
        bins = np.digitize(values, edges, right=not attribute.edges)
        return np.where(np.isnan(values), -1, bins)

    def _thirds(self, attribute: Attribute) -> tuple[float, float]:
        low, high = np.nanquantile(self.frame[attribute.name], [1 / 3, 2 / 3], method="lower")
        return float(low), float(high)


def newcomer_mentions(c: Comparison, results: Results) -> dict[str, int]:
    """Return the number of labelled train mentions of each newcomer in a comparison of scenario `add-one`.

    A newcomer without a stored test mention is left out. Raises UserError as ``BinnedMentions.of`` does.
    """
    frame = _mentions(c, results).groupby(["split", "type"])["train_freq_type"].first()
    found = {}
    for run in sorted(c.compared_runs, key=lambda run: run.order):
        (type_,) = run.tasks[-1].types
        if (_split(run), type_) in frame.index:
            found[type_] = int(frame[_split(run), type_])
    return found


def _mentions(c: Comparison, results: Results) -> pd.DataFrame:
    """Return the stored test mentions of a comparison's splits, without duplicates."""
    homes = dict.fromkeys(results.folders[run.run_id].home for run in c.runs)
    damaged = {fault.path for fault in results.damaged}
    files = (ResultsFolder.open(home).mentions_file for home in homes)
    found = [_read(file) for file in files if file.is_file() and file not in damaged]
    splits = {_split(run) for run in c.runs}
    frame = pd.concat(found or [pd.DataFrame(columns=["split", *_KEY, *_NUMBERS])], ignore_index=True)
    return frame[frame["split"].isin(splits)].drop_duplicates(["split", *_KEY])


def _names(low: float, high: float) -> tuple[str, str, str]:
    return f"≤ {low:.3g}", f"{low:.3g}–{high:.3g}", f"> {high:.3g}"


def _split(run: RunRecord) -> str:
    return str(run.fingerprints.get("split"))


def _read(path: Path) -> pd.DataFrame:
    try:
        # A type may be called NA, so the default markers of missing values are off.
        return pd.read_csv(
            BytesIO(unpacked(path.read_bytes())),
            usecols=["split", *_KEY, *_NUMBERS],
            dtype={"split": str, "type": str, "id": np.int64, "start": np.int64, "end": np.int64, **_NUMBERS},
            keep_default_na=False,
            na_values={"hidden_rate": [""]},
        )
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove it, `bench run` writes it again") from error
