"""The walk of a grid: the modules of ``running`` and ``storage`` that a reader passes from ``carry_out`` on."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cl_ner_bench.running.grid import carry_out, prepare
from cl_ner_bench.testing.grids import write_inputs


class Walk:
    """The first call from each module into each other one, in all threads, while the block runs."""

    def __init__(self) -> None:
        self.arrows: dict[tuple[str, str], str] = {}  # from module, to module -> function

    def __enter__(self) -> Walk:
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (to := _module(frame)):
            caller = frame.f_back
            while caller and not _module(caller):
                caller = caller.f_back
            if caller and _module(caller) != to:
                self.arrows.setdefault((_module(caller), to), frame.f_code.co_qualname)

    def modules(self) -> set[str]:
        return {module for arrow in self.arrows for module in arrow}

    def returns(self) -> int:
        """Return the arrows into modules that the walk has entered already."""
        return len(self.arrows) - (len(self.modules()) - 1)


def _module(frame: FrameType) -> str:
    name = str(frame.f_globals.get("__name__", ""))
    code = frame.f_code.co_name != "<module>"  # an import is no step of the walk
    return name if code and name.startswith(("cl_ner_bench.running.", "cl_ner_bench.storage.")) else ""


@pytest.mark.slow
def test_a_grid_passes_few_modules(tmp_path: Path) -> None:
    words = write_inputs(tmp_path)
    given = dict(zip((word[2:].replace("-", "_") for word in words[::2]), words[1::2], strict=True))
    options = {**given, "methods": "spankl,extendner", "epochs": 1, "batch_size": 4, "no_report": True, "jobs": 2}
    prepared = prepare({**options, "out": str(tmp_path / "out")})
    with Walk() as walk:
        outcome = carry_out(prepared)
    assert outcome.code == 0
    shown = "\n".join(f"{a} -> {b}: {function}" for (a, b), function in walk.arrows.items())
    assert len(walk.modules()) <= 15, shown
    assert walk.returns() <= 20, shown
