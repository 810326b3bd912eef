# ruff: noqa: E402  a method file begins with its card
"""A user's method file for the tests of running: methods that learn, and methods that fail in every way a run can."""

CARD = {
    "good": {"class": "Good", "architecture": "token", "settings": {"weight": 1.0}},
    "slow": {"class": "Slow", "architecture": "token"},
    "slow-base": {"class": "Slow", "architecture": "token", "first_step": "base"},
    "broken-base": {"class": "Broken", "architecture": "token", "first_step": "base"},
    "liar-base": {"class": "Liar", "architecture": "token", "first_step": "base"},
    "raises": {"class": "Raises", "architecture": "token"},
    "nan": {"class": "NotANumber", "architecture": "token"},
    "counted": {"class": "Counted", "architecture": "token", "settings": {"weight": 1.0}},
    "holds": {"class": "Holds", "architecture": "token"},
    "hungry": {"class": "Hungry", "architecture": "token"},
    "aborts": {"class": "Aborts", "architecture": "token"},
    "killed": {"class": "Killed", "architecture": "token"},
    "exits": {"class": "Exits", "architecture": "token"},
    "hangs": {"class": "Hangs", "architecture": "token"},
}

import atexit
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Output, Step, TagLearner


class Good(TagLearner):
    pass


@atexit.register
def tell_modules() -> None:
    """Write the imported modules of a run's process to the file MODULES. (The driver imports this file, too.)"""
    if "MODULES" in os.environ and "cl_ner_bench.cli.main" not in sys.modules:
        Path(os.environ["MODULES"]).write_text("\n".join(sys.modules))


class Slow(TagLearner):
    """A method that pauses for PAUSE seconds in each update, to be stopped there. Its numbers equal those of Good."""

    def after_backward(self) -> None:
        time.sleep(float(os.environ.get("PAUSE", "0.3")))


class Broken(TagLearner):
    def begin_step(self, step: Step) -> None:
        with open(os.environ["BROKEN"], "a") as file:
            print("once", file=file)
        raise RuntimeError("never")


class Liar(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": 2 * super().losses(batch, output, teacher)["ce"]}


class Raises(TagLearner):
    def begin_step(self, step: Step) -> None:
        if step.step == 2:
            raise RuntimeError("out of luck\nsecond line")


class NotANumber(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": output.logits.sum() * float("nan")}


class Counted(TagLearner):
    def begin_step(self, step: Step) -> None:
        with open(os.environ["LEARNED"], "a") as file:
            print(step.step, step.types, file=file)


class Holds(TagLearner):
    """A method that waits with predicting the test part while the file HOLD exists."""

    def end_step(self, step: Step) -> None:
        self.carried["learned"] = torch.ones(1)  # an attribute would be lost before the test part is predicted

    def decode(self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool) -> list:
        while "learned" in self.carried and os.path.exists(os.environ["HOLD"]):
            time.sleep(0.05)
        return super().decode(output, lengths, types, nested)


class Hungry(TagLearner):
    def begin_step(self, step: Step) -> None:
        np.ones(1 << 50)


class Aborts(TagLearner):
    def begin_step(self, step: Step) -> None:
        os.abort()


class Killed(TagLearner):
    def begin_step(self, step: Step) -> None:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory is short


class Exits(TagLearner):
    def begin_step(self, step: Step) -> None:
        os._exit(7)


class Hangs(TagLearner):
    def decode(self, output: Output, lengths: Sequence[int], types: Sequence[str], nested: bool) -> list:
        time.sleep(600)
        return []
