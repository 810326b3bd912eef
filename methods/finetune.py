"""The lower bounds: training goes on with the new labels, and unlabelled old types count as negatives."""

CARD = {
    "first_step": "base",
    "status": "baseline",
    "stores": "nothing",
    "variants": {
        "finetune-span": {
            "label": "Fine-tune (span)",
            "architecture": "span",
            "summary": "BCE on all columns so far; unlabelled old types are 0.",
        },
        "finetune-token": {
            "label": "Fine-tune (token)",
            "architecture": "token",
            "summary": "CE on all words; unlabelled old types are O.",
        },
    },
}
