"""cl_ner_bench: the benchmark suite for continual named entity recognition.

``run``, ``tune`` and ``extend`` are commands as functions. ``extend`` returns a model that has learned one more step.
``load_results`` returns a results folder as pandas frames, ``load_model`` a stored model.
Public names are imported on first use, because ``import cl_ner_bench`` and ``bench --help`` must stay quick. Editors
read ``__init__.pyi``.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# ``methods/`` and ``datasets/`` lie inside the package in a wheel and beside it in a checkout.
_PACKAGE = Path(__file__).resolve().parent
HOME = _PACKAGE if (_PACKAGE / "methods").is_dir() else _PACKAGE.parent
if HOME != _PACKAGE:
    __path__.append(str(HOME))

_PUBLIC = {
    "run": "cl_ner_bench.api",
    "tune": "cl_ner_bench.api",
    "load_results": "cl_ner_bench.analysis.data.frames",
    "load_model": "cl_ner_bench.api",
    "extend": "cl_ner_bench.api",
    "tables": "cl_ner_bench.analysis.tables.collect",
    "figures": "cl_ner_bench.analysis.figures.draw",
    "Mention": "cl_ner_bench.corpora.sentence",
    "Sentence": "cl_ner_bench.corpora.sentence",
    "Corpus": "cl_ner_bench.corpora.sentence",
    "Task": "cl_ner_bench.scenarios.task",
    "TaskSplit": "cl_ner_bench.scenarios.task",
    "TagLearner": "cl_ner_bench.learning.learner",
    "SpanLearner": "cl_ner_bench.learning.learner",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
