"""The types of the public names, which ``__init__.py`` imports on first use."""

from pathlib import Path

from cl_ner_bench.analysis.data.frames import load_results as load_results
from cl_ner_bench.analysis.figures.draw import figures as figures
from cl_ner_bench.analysis.tables.collect import tables as tables
from cl_ner_bench.api import extend as extend
from cl_ner_bench.api import load_model as load_model
from cl_ner_bench.api import run as run
from cl_ner_bench.api import tune as tune
from cl_ner_bench.corpora.sentence import Corpus as Corpus
from cl_ner_bench.corpora.sentence import Mention as Mention
from cl_ner_bench.corpora.sentence import Sentence as Sentence
from cl_ner_bench.learning.learner import SpanLearner as SpanLearner
from cl_ner_bench.learning.learner import TagLearner as TagLearner
from cl_ner_bench.scenarios.task import Task as Task
from cl_ner_bench.scenarios.task import TaskSplit as TaskSplit

__version__: str
__all__: list[str]
HOME: Path
