"""The upper references: step k learns the sentences of tasks 1..k, with the labels of all types so far."""

CARD = {
    "data": "union",
    "start": "pretrained",
    "first_step": "base",
    "group": "reference",
    "status": "baseline",
    "summary": "Every step trains from the pretrained encoder on all data so far, with all labels.",
    "stores": "all data",
    "variants": {
        "joint-span": {"label": "Joint (span)", "architecture": "span"},
        "joint-token": {"label": "Joint (token)", "architecture": "token"},
        "joint-span-warm": {
            "label": "Joint, warm (span)",
            "architecture": "span",
            "start": "previous",
            "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (Non-CL)",
            "year": 2023,
            "status": "faithful",
            "summary": "As joint-span, but each step continues from the previous model (SpanKL's Non-CL).",
        },
        "joint-token-warm": {
            "label": "Joint, warm (token)",
            "architecture": "token",
            "start": "previous",
            "paper": "Zhang and Chen, AAAI 2023, arXiv 2302.12200 (Non-CL)",
            "year": 2023,
            "status": "faithful",
            "summary": "As joint-token, but each step continues from the previous model (SpanKL's Non-CL).",
        },
    },
}
