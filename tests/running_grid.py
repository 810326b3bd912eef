"""`bench run` without its report, in a process that may open sockets: python -m tests.running_grid --NAME VALUE ..."""

from __future__ import annotations

import sys
from contextlib import closing

from cl_ner_bench.running.backends import pool
from cl_ner_bench.running.execute import execute
from cl_ner_bench.running.grid import prepare

if __name__ == "__main__":
    words = sys.argv[1:]
    prepared = prepare({k[2:].replace("-", "_"): v for k, v in zip(words[::2], words[1::2], strict=True)})
    with closing(pool(prepared.options, prepared.jobs, prepared.out)) as places:
        sys.exit(execute(prepared.todo, prepared.out, places, keep_models="last", checkpoint_seconds=0, timeout=None))
