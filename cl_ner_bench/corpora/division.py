"""The rule that divides a corpus without train, dev and test parts into these (``--parts``)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from cl_ner_bench.errors import short
from cl_ner_bench.validation import Count, MisfitError, Positive, convert

SHARES = "three whole numbers above 0 that add up to 100, for train, dev and test, as 80,10,10"
PROPOSED = "--parts 80,10,10"
SHORT = 5
"""In words. Shorter sentences ("Thank you .") recur in any text, so their copies are no leak."""


class Division(Struct, frozen=True, forbid_unknown_fields=True):
    """A rule that divides sentences: the ``shares`` of train, dev and test in percent, and the random ``seed``."""

    shares: Annotated[tuple[Positive, Positive, Positive], Meta(description=SHARES)]
    seed: Count

    def __post_init__(self) -> None:
        if sum(self.shares) != 100:
            raise MisfitError("shares", SHARES, short(list(self.shares)))

    def __str__(self) -> str:
        return f"--parts {','.join(map(str, self.shares))} (seed {self.seed})"

    @staticmethod
    def of(value: Any, where: str = "") -> Division | None:
        """Return the rule that ``to_json`` wrote; None stays None.

        Raises UserError if ``value`` is no rule; the message begins with ``where``.
        """
        return None if value is None else convert(value, Division, where, key="parts")

    def to_json(self) -> dict[str, Any]:
        """Return the rule in the form of split files and records of runs."""
        return {"shares": [*self.shares], "seed": self.seed}
