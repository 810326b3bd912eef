"""The upper references: at step k the sentences of tasks 1..k, with the labels of all types so far."""

CARD = {
    "joint-span": {
        "label": "Joint (span)",
        "class": "JointSpan",
        "architecture": "span",
        "data": "union",
        "start": "pretrained",
        "first_step": "base",
        "group": "reference",
        "settings": {},
        "paper": "",
        "year": 0,
        "status": "baseline",
        "summary": "Trained at every step from the pretrained encoder on all data so far, fully labelled.",
        "stores": "all data",
        "deviations": "",
    },
    "joint-token": {
        "label": "Joint (token)",
        "class": "JointToken",
        "architecture": "token",
        "data": "union",
        "start": "pretrained",
        "first_step": "base",
        "group": "reference",
        "settings": {},
        "paper": "",
        "year": 0,
        "status": "baseline",
        "summary": "Trained at every step from the pretrained encoder on all data so far, fully labelled.",
        "stores": "all data",
        "deviations": "",
    },
    "joint-span-warm": {
        "label": "Joint, warm (span)",
        "class": "JointSpan",
        "architecture": "span",
        "data": "union",
        "start": "previous",
        "first_step": "base",
        "group": "reference",
        "settings": {},
        "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (Non-CL)",
        "year": 2023,
        "status": "faithful",
        "summary": "As joint-span, but each step continues from the previous one (SpanKL's Non-CL).",
        "stores": "all data",
        "deviations": "",
    },
    "joint-token-warm": {
        "label": "Joint, warm (token)",
        "class": "JointToken",
        "architecture": "token",
        "data": "union",
        "start": "previous",
        "first_step": "base",
        "group": "reference",
        "settings": {},
        "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (Non-CL)",
        "year": 2023,
        "status": "faithful",
        "summary": "As joint-token, but each step continues from the previous one (SpanKL's Non-CL).",
        "stores": "all data",
        "deviations": "",
    },
}

from cl_ner_bench.learning.learner import SpanLearner, TagLearner


class JointSpan(SpanLearner):
    """The base learner as it is: the data layer gives it the labels of all types so far."""


class JointToken(TagLearner):
    """The base learner as it is: the data layer gives it the labels of all types so far."""
