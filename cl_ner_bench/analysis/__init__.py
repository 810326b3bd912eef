"""Everything that is derived from stored results: scores, tables, figures, the page."""

import os

from cl_ner_bench.caches import plotting_environment

os.environ.update(plotting_environment())  # before any module of this package imports matplotlib
