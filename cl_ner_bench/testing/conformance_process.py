"""The process in which the conformance suite resumes a stopped step: METHOD STEP MODEL FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from cl_ner_bench import registry
from cl_ner_bench.testing.conformance import Snapshot
from cl_ner_bench.testing.conformance_inputs import TWO
from cl_ner_bench.testing.conformance_lab import Lab, Outcome


def main(method: str, step: str, model: str, folder: str) -> None:
    """Resume the step from ``snapshot.pt`` of a folder, and write its outcome there."""
    torch.set_num_threads(1)
    (variant,) = registry.resolve([method])
    lab = Lab(variant.card)
    trainer = lab.trainer()
    if model:
        trainer.load(Path(model))
    kept = torch.load(Path(folder) / "snapshot.pt", weights_only=False)["snapshot"]
    outcome = Outcome.of(trainer, trainer.learn(lab.data(TWO, int(step)), checkpoint=Snapshot(0, kept)))
    torch.save(vars(outcome), Path(folder) / "outcome.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
