"""A model in memory that has learned steps of the tiny corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl_ner_bench import method_code, registry
from cl_ner_bench.deployment.model import Model
from cl_ner_bench.storage.model_folder import LearnedStep, ModelRecord
from cl_ner_bench.testing.chain import SPLIT, step_data, trainer
from cl_ner_bench.testing.tiny import RECIPE


def learned(
    method: str, encoder: Path, steps: int = 2, epochs: int = 8, recipe: Mapping[str, Any] = RECIPE, **settings: Any
) -> Model:
    """Return a model that has learned the first ``steps`` of PER, LOC, DATE; ``settings`` are the method's own."""
    card = registry.resolve([method])[0].card
    made = trainer(method, str(encoder), {**recipe, "epochs": epochs, "lr": 3e-3}, **settings)
    for step in range(1, steps + 1):
        made.learn(step_data(step))
    record = ModelRecord(
        method=method,
        spec=card.spec,
        architecture=card.architecture,  # type: ignore[arg-type]
        seed=0,
        settings={**recipe, "method": {**card.settings, **settings}, "precision": "fp32", "nested": False},
        fingerprints={"method": method_code.method_fingerprint(card), "encoder": "0" * 64},
        encoder="tiny",
        history=[
            LearnedStep(step=k, types=list(task.types), method=method) for k, task in enumerate(SPLIT.tasks[:steps], 1)
        ],
    )
    return Model(record, made, card)
