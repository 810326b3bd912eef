"""Scores, tables, figures and the page, from stored results."""

import os

from cl_ner_bench.caches import drawing

os.environ.update(drawing())  # before any module of this package imports matplotlib
