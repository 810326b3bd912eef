"""The references for learning: each task alone, by a model that knows no other."""

CARD = {
    "start": "pretrained",
    "first_step": "base",
    "group": "reference",
    "status": "baseline",
    "summary": "At every step a new model of the step's task alone: what this recipe learns of it at best.",
    "stores": "nothing",
    "variants": {
        "single-task-span": {"label": "Single task (span)", "class": "SingleTaskSpan", "architecture": "span"},
        "single-task-token": {"label": "Single task (token)", "class": "SingleTaskToken", "architecture": "token"},
    },
}

from cl_ner_bench.learning.learner import SpanLearner, TagLearner


class SingleTaskSpan(SpanLearner):
    """The base learner as it is: the data layer shows it the types and labels of one task."""


class SingleTaskToken(TagLearner):
    """The base learner as it is: the data layer shows it the types and labels of one task."""
