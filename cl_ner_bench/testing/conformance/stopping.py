"""Checks of stopped steps, and of other conditions: processes, devices, encoders that pad, bf16."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch

from cl_ner_bench.learning.contract import some
from cl_ner_bench.learning.evaluation import ProgressCallback
from cl_ner_bench.method_faults import where
from cl_ner_bench.testing.conformance.faults import Fault
from cl_ner_bench.testing.conformance.inputs import (
    SHORT,
    TWO,
    UNSEEN,
    encoder,
    padding_encoder,
)
from cl_ner_bench.testing.conformance.lab import Lab, Outcome
from cl_ner_bench.testing.conformance.predictions import predictions
from cl_ner_bench.testing.conformance.snapshots import Stopped, StoppingSnapshot
from cl_ner_bench.testing.conformance.tasks import returning_type
from cl_ner_bench.testing.pretended_device import DEVICE, PretendedDevice

STATE = (
    "Keep what must survive in parameters, buffers, self.carried or self.memory, make modules in __init__ or grow, and "
    "draw random numbers from torch's global stream."
)


def resumes(lab: Lab) -> str:
    """A stopped step, resumed in a new learner, gives the same bits."""
    for step, snapshot in enumerate(lab.again.snapshots, 1):
        trainer = lab.before(step)  # a step without epochs has no snapshot and begins again
        outcome = Outcome.of(trainer, trainer.learn(lab.data(TWO, step), checkpoint=snapshot))
        if found := outcome.differences(lab.two[step - 1]):
            raise Fault(
                f"stopped behind epoch 1 of step {step} and resumed in a new learner, {some(found)} differ. {STATE}"
            )
    return ""


ON_A_DEVICE: dict[str, Any] = {"dropout": 0.0, "epochs": 1, "batch_size": 4, "lr": 1e-4, "head_lr": 1e-3}
"""Two updates per step, with small rates that keep noise small, and no dropout: each device draws its own masks."""


def device(lab: Lab) -> str:
    """All tensors are on one device, which computes what a CPU does."""
    with warnings.catch_warnings(), PretendedDevice():
        warnings.filterwarnings(
            "ignore", ".*copying from a non-meta parameter"
        )  # true of "meta", but not of the pretended device
        there = _losses_on(DEVICE, lab)
    return _compared(there, lab)


def _losses_on(device: str, lab: Lab) -> list[dict[str, list[float]]]:
    """Return the losses of each step of ``SHORT``, learned on a device. The last model also predicts there."""
    try:
        steps = list(lab.steps(SHORT, device=device, folder=encoder(0.0), **ON_A_DEVICE))
        steps[-1][0].predict(UNSEEN[:4])
    except RuntimeError as error:
        if "same device" not in str(error):
            raise
        raise Fault(
            f"a tensor stays on the CPU at {where(error, lab.card)}: make it with device=batch.device or "
            "self.device, or keep it in self.carried"
        ) from None
    return [record["losses"] for _, record in steps]


def _compared(there: Sequence[Mapping[str, Sequence[float]]], lab: Lab) -> str:
    """Raise Fault if the losses on another device differ from those on a CPU."""
    for step, (found, losses) in enumerate(zip(there, _losses_on("cpu", lab), strict=True), 1):
        for name, means in losses.items():
            if not all(
                math.isclose(a, b, rel_tol=1e-2, abs_tol=1e-4) for a, b in zip(means, found.get(name, ()), strict=True)
            ):
                raise Fault(
                    f"loss {name!r} of step {step} is {found.get(name)} on another device, and {means} on a CPU"
                )
    return ""


def stops(lab: Lab) -> str:
    """A step that is stopped inside and behind each of its epochs gives the same bits."""
    for step in (1, 2):
        data, record, snapshot = lab.data(TWO, step), lab.two[step - 1].record, StoppingSnapshot()
        for epoch in range(1, record["epochs"] + 1):
            first = record["updates"] // record["epochs"] * (epoch - 1) + 1
            for snapshot.stop_after, update in ((0, first), (epoch, 0)):  # inside the epoch, then after it
                with suppress(Stopped):
                    lab.before(step).learn(data, _stop_at(update), snapshot)
        snapshot.stop_after = 0
        trainer = lab.before(step)
        if found := Outcome.of(trainer, trainer.learn(data, checkpoint=snapshot)).differences(lab.two[step - 1]):
            raise Fault(f"stopped inside and behind each epoch of step {step}, {some(found)} differ. {STATE}")
    return ""


def _stop_at(update: int) -> ProgressCallback:
    def progress(state: dict[str, Any]) -> None:
        if state.get("update") == update:
            raise Stopped

    return progress


def process(lab: Lab) -> str:
    """A step that is stopped and resumed in another process gives the same bits."""
    for step, snapshot in enumerate(lab.again.snapshots, 1):
        with tempfile.TemporaryDirectory() as folder:
            tensors, facts = snapshot.kept or ({}, None)
            tensors = {name: value.contiguous() for name, value in tensors.items()}
            kept = Path(folder) / "snapshot.safetensors"
            safetensors.torch.save_file(tensors, kept, {"facts": json.dumps(facts)})
            command = [sys.executable, "-m", "cl_ner_bench.testing.conformance.process"]
            model = str(lab.model(step - 1)) if step > 1 and lab.card.start == "previous" else ""
            done = subprocess.run([*command, lab.card.spec, str(step), model, folder], capture_output=True, text=True)
            if done.returncode:
                raise Fault(f"another process cannot resume step {step}: {done.stderr.strip().splitlines()[-1]}")
            found, expected = json.loads((Path(folder) / "outcome.json").read_text()), lab.two[step - 1].digests()
        if names := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise Fault(
                f"stopped behind epoch 1 of step {step} and resumed in another process, {some(names)} differ. {STATE}"
            )
    return ""


def padded(lab: Lab) -> str:
    """An encoder that pads, with its own forward pass, does as well."""
    other = Lab(lab.card, lab.learner, lab.settings, padding_encoder())
    return predictions(other) or resumes(other) or returning_type(other)


def half_precision(lab: Lab) -> str:
    """In bf16 a step gives numbers, and the same bits again."""
    for (_, one), (_, other) in zip(*(lab.chain(TWO, precision="bf16") for _ in range(2)), strict=True):
        if found := one.differences(other):
            raise Fault(f"in bf16 the same seed gives other values ({some(found)} differ)")
        if bad := [name for name, value in one.weights.items() if value.isnan().any()]:
            raise Fault(f"in bf16 {some(bad)} hold NaN: compute in float32 what grows (x.float())")
    return ""


def gpu(lab: Lab) -> str:
    """A GPU computes what a CPU does."""
    return _compared(_losses_on("cuda", lab), lab)
