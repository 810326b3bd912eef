"""The references for learning: each task alone, by a model that knows no other."""

CARD = {
    "start": "pretrained",
    "first_step": "base",
    "group": "reference",
    "status": "baseline",
    "summary": "At every step a new model of the step's task alone: what this recipe learns of it at best.",
    "stores": "nothing",
    "variants": {
        "single-task-span": {"label": "Single task (span)", "architecture": "span"},
        "single-task-token": {"label": "Single task (token)", "architecture": "token"},
    },
}
