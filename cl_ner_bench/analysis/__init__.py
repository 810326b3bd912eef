"""Scores, tables, figures and the page, from stored results."""

import os

from cl_ner_bench.caches import plotting_environment

os.environ.update(plotting_environment())  # before any module of this package imports matplotlib
