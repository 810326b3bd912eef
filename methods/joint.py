"""The upper references: at step k the sentences of tasks 1..k, with the labels of all types so far."""

CARD = {
    "data": "union",
    "start": "pretrained",
    "first_step": "base",
    "group": "reference",
    "status": "baseline",
    "summary": "Trained at every step from the pretrained encoder on all data so far, fully labelled.",
    "stores": "all data",
    "variants": {
        "joint-span": {"label": "Joint (span)", "class": "JointSpan", "architecture": "span"},
        "joint-token": {"label": "Joint (token)", "class": "JointToken", "architecture": "token"},
        "joint-span-warm": {
            "label": "Joint, warm (span)",
            "class": "JointSpan",
            "architecture": "span",
            "start": "previous",
            "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (Non-CL)",
            "year": 2023,
            "status": "faithful",
            "summary": "As joint-span, but each step continues from the previous one (SpanKL's Non-CL).",
        },
        "joint-token-warm": {
            "label": "Joint, warm (token)",
            "class": "JointToken",
            "architecture": "token",
            "start": "previous",
            "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (Non-CL)",
            "year": 2023,
            "status": "faithful",
            "summary": "As joint-token, but each step continues from the previous one (SpanKL's Non-CL).",
        },
    },
}

from cl_ner_bench.learning.learner import SpanLearner, TagLearner


class JointSpan(SpanLearner):
    """The base learner as it is: the data layer gives it the labels of all types so far."""


class JointToken(TagLearner):
    """The base learner as it is: the data layer gives it the labels of all types so far."""
