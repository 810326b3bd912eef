"""The lower bounds: go on training with the new labels, and let unlabelled old types count as negatives."""

CARD = {
    "finetune-span": {
        "label": "Fine-tune (span)",
        "class": "FineTuneSpan",
        "architecture": "span",
        "data": "task",
        "start": "previous",
        "first_step": "base",
        "group": "memory-free",
        "settings": {},
        "paper": "",
        "year": 0,
        "status": "baseline",
        "summary": "BCE on all columns so far; unlabelled old types are 0.",
        "stores": "nothing",
        "deviations": "",
    },
    "finetune-token": {
        "label": "Fine-tune (token)",
        "class": "FineTuneToken",
        "architecture": "token",
        "data": "task",
        "start": "previous",
        "first_step": "base",
        "group": "memory-free",
        "settings": {},
        "paper": "",
        "year": 0,
        "status": "baseline",
        "summary": "CE on all words; unlabelled old types are O.",
        "stores": "nothing",
        "deviations": "",
    },
}

from cl_ner_bench.learning.learner import SpanLearner, TagLearner


class FineTuneSpan(SpanLearner):
    """The base learner as it is."""


class FineTuneToken(TagLearner):
    """The base learner as it is."""
