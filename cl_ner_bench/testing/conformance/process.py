"""The process in which the conformance suite resumes a stopped step: METHOD STEP MODEL FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import safetensors
import torch

from cl_ner_bench import registry
from cl_ner_bench.testing.conformance.inputs import TWO
from cl_ner_bench.testing.conformance.lab import Lab, Outcome
from cl_ner_bench.testing.conformance.snapshots import Snapshot


def main(method: str, step: str, model: str, folder: str) -> None:
    """Resume a step from ``snapshot.safetensors`` in ``folder``, and write the digests of its outcome there."""
    torch.set_num_threads(1)
    (variant,) = registry.resolve([method])
    lab = Lab(variant.card)
    trainer = lab.trainer()
    if model:
        trainer.load(Path(model))
    with safetensors.safe_open(Path(folder) / "snapshot.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        kept = {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  no mapping
    outcome = Outcome.of(trainer, trainer.learn(lab.data(TWO, int(step)), checkpoint=Snapshot(kept if facts else None)))
    (Path(folder) / "outcome.json").write_text(json.dumps(outcome.digests()))


if __name__ == "__main__":
    main(*sys.argv[1:])
