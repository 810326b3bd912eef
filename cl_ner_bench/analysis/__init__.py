"""Everything that is derived from stored results: scores, tables, figures, the page."""

import os

from cl_ner_bench.caches import drawing

os.environ.update(drawing())  # before any module of this package imports matplotlib
