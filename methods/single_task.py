"""The references for learning: a new model learns each task alone."""

CARD = {
    "start": "pretrained",
    "first_step": "base",
    "group": "reference",
    "status": "baseline",
    "summary": "Every step trains a new model on its task alone, which shows how much this recipe can learn of the "
    "task.",
    "stores": "nothing",
    "variants": {
        "single-task-span": {"label": "Single task (span)", "architecture": "span"},
        "single-task-token": {"label": "Single task (token)", "architecture": "token"},
    },
}
