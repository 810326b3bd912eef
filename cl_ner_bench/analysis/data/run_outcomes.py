"""The outcomes of the runs of ``Results``, each read once."""

from __future__ import annotations

from functools import lru_cache

from cl_ner_bench.analysis.data.frames import Results, leave_out
from cl_ner_bench.analysis.data.outcomes import Outcomes, outcomes_in
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.checks import DamagedError


@lru_cache(maxsize=1024)  # both errors and intervals ask for every run
def outcomes_of(results: Results, run_id: str) -> Outcomes:
    """Return the outcomes of a finished run (``outcomes_in``).

    Raises:
        UserError: no finished run has this id.
        DamagedError: predictions are missing, cannot be read or do not fit the run's record.
    """
    run = next((run for run in results.finished if run.run_id == run_id), None)
    if run is None:
        finished = ", ".join(run.run_id for run in results.finished)
        raise UserError(f"no finished run {run_id!r} here; these are finished: {finished or 'none'}")
    return outcomes_in(results.folders[run_id], run)


def readable(results: Results) -> Results:
    """Return ``results`` without the runs whose predictions cannot be read; ``damaged`` then lists their files."""
    found = []
    for run in results.finished:
        try:
            outcomes_of(results, run.run_id)
        except DamagedError as error:
            found.append(error.damaged)
    return leave_out(results, found) if found else results
