"""Choice of the methods that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.storage.run_record import RunRecord

# A method is named by its name, its printed name or a name for both architectures, else by a pattern of one of them.
# The first match counts: SEQ* is the printed name of one method.
_NAMES: tuple[Callable[[RunRecord], str], ...] = (
    lambda run: run.method,
    lambda run: run.label,
    lambda run: run.method.removesuffix("-span").removesuffix("-token"),
)


def choose(results: Results, names: Sequence[str]) -> Results:
    """Return ``results`` whose comparisons show these methods alone, in this order within their groups.

    The frames keep all methods, and learning and gaps keep their references. Raises UserError for a name that no
    finished run has.
    """
    chosen: list[str] = []
    for name in names:
        found = (
            {run.method for run in results.finished if fits(of(run).casefold(), name.casefold())}
            for fits in (str.__eq__, fnmatchcase)
            for of in _NAMES
        )
        methods = next((methods for methods in found if methods), None)
        if methods is None:
            known = sorted({of(run) for of in _NAMES[:2] for run in results.finished})
            raise UserError(
                f"--methods {name}: no finished run of it here.{did_you_mean(name, known)} "
                f"There are {', '.join(sorted({run.method for run in results.finished}))}"
            )
        chosen += sorted(methods - set(chosen))
    return replace(results, chosen=tuple(chosen))
