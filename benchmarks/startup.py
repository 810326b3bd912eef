"""From `bench run` to the first training step, with a warm cache: python benchmarks/startup.py

Each round is a real `bench run` (whole processes) that learns one short step of ``--dataset`` with a method that writes
down when it is reached, and when its first update has its gradients. A first round, not counted, fills the cache.
Printed are min / median / max over the rounds of the seconds to the end of each part, by the clock and of processor
time (driver, scheduler and this worker together: other work on the machine does not change it).

Options: --rounds 5, --jobs 1 (2: two runs at a time, and the earlier one counts), --dataset and --data (default: the
generated corpus), --method spankl (which installed method is learned: its file is copied and given the stamps).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from cl_ner_bench import registry

BOUND, AIM = 6, 3
PARTS = {
    "process": "driver: imports, plan, schedule",
    "step": "worker: imports, corpus, split",
    "method": "torch, the engine and the method",
    "learner": "sub-tokens, encoder",
    "begin": "the step's examples",
    "update": "first forward and backward",
}
STAMPS = '''

def _stamped(learner):
    """Write down the clock, and the processor seconds of this process, where the parts of the start end."""
    import json, os, sys, time
    from pathlib import Path

    import psutil

    me, folder = psutil.Process(), Path(sys.argv[1])
    stamps = {{
        "process": (folder / "run.json").stat().st_mtime,
        "step": json.loads((folder / "progress.json").read_text())["step_started"],
        "method": time.time(),
    }}
    cpu = {{"process": 0.0, "method": time.process_time()}}

    def stamp(name):
        if name not in stamps:
            stamps[name], cpu[name] = time.time(), time.process_time()

    class Stamped(learner):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            stamp("learner")

        def begin_step(self, data):
            super().begin_step(data)
            stamp("begin")

        def after_backward(self):
            super().after_backward()
            if "update" not in stamps:
                stamp("update")
                others = [p for p in me.parents() if p.pid in {{c.pid for c in psutil.Process({root}).children(True)}}]
                before = sum(sum(p.cpu_times()[:2]) for p in others)
                memory = me.memory_info().rss
                found = {{"stamps": stamps, "cpu": cpu, "before": before, "memory": memory}}
                (folder / "stamps.json").write_text(json.dumps(found))

    return Stamped


{name} = _stamped({name})
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data")
    parser.add_argument("--method", default="spankl")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        method = write_method(options.method, Path(folder))
        rounds = [one_round(options, method, Path(folder, f"round-{n}")) for n in range(options.rounds + 1)][1:]
    print(f"{'seconds (min / median / max) after':44}  {'clock':>21}  {'processor':>21}")
    for name, text in PARTS.items():
        clock = spread([r["stamps"][name] - r["started"] for r in rounds])
        core = "" if name == "step" else spread([r["before"] + r["cpu"][name] for r in rounds])
        print(f"{text:44}  {clock}  {core}")
    memory = median(r["memory"] for r in rounds) / 1e6
    print(f"the worker's memory then: {memory:,.0f} MB")
    clock = [r["stamps"]["update"] - r["started"] for r in rounds]
    print(f"to the first training step: {spread(clock)} (bound {BOUND}, aim {AIM})")


def write_method(name: str, folder: Path) -> Path:
    """The installed method's file with the stamps behind it."""
    card = registry.methods()[name]
    path = folder / "stamped.py"
    path.write_text(card.file.read_text() + STAMPS.format(name=card.class_name, root=os.getpid()))
    return path


def one_round(options: argparse.Namespace, method: Path, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "cl_ner_bench", "run", "--out", str(out), "--quiet", "--bounds", "none"]
    command += ["--methods", f"stamped={method}:{options.method}", "--dataset", options.dataset, "--epochs", "1"]
    command += ["--seeds", ",".join(map(str, range(options.jobs))), "--jobs", str(options.jobs)]
    command += ["--data", options.data] if options.data else []
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (found := list(out.glob("runs/*/stamps.json"))) and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    process.wait()
    if not found:
        sys.exit(f"`{' '.join(command)}` ended before its first training step")
    stamps = [json.loads(file.read_text()) for file in found]
    return {"started": started, **min(stamps, key=lambda s: s["stamps"]["update"])}


def spread(values: list[float]) -> str:
    return f"{min(values):5.2f} / {median(values):5.2f} / {max(values):5.2f}"


if __name__ == "__main__":
    main()
