"""The lower bounds: go on training with the new labels, and let unlabelled old types count as negatives."""

CARD = {
    "first_step": "base",
    "status": "baseline",
    "stores": "nothing",
    "variants": {
        "finetune-span": {
            "label": "Fine-tune (span)",
            "class": "FineTuneSpan",
            "architecture": "span",
            "summary": "BCE on all columns so far; unlabelled old types are 0.",
        },
        "finetune-token": {
            "label": "Fine-tune (token)",
            "class": "FineTuneToken",
            "architecture": "token",
            "summary": "CE on all words; unlabelled old types are O.",
        },
    },
}

from cl_ner_bench.learning.learner import SpanLearner, TagLearner


class FineTuneSpan(SpanLearner):
    """The base learner as it is."""


class FineTuneToken(TagLearner):
    """The base learner as it is."""
