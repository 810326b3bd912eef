"""What a grid runs on. Whatever can change a bit is resolved here, once, before the grid starts."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cl_ner_bench.caches import computing, drawing
from cl_ner_bench.errors import UserError
from cl_ner_bench.untrusted import import_environment

GB = 1 << 30
MEMORY_PER_RUN = 1.5 * GB  # torch, a small encoder with its optimiser and the teacher's outputs
# What reads data, computes numbers or shapes the outputs.
PACKAGES = (
    *("cl-ner-bench", "datasets", "joblib", "matplotlib", "numpy", "pandas", "pyarrow", "safetensors"),
    *("scikit-posthocs", "scipy", "seaborn", "tokenizers", "torch", "transformers"),
)


def resolve_device(wanted: str, precision: str, elsewhere: bool = False) -> tuple[str, str]:
    """The device (``cpu``, ``cuda``, ``cuda:1``) and precision that ``auto`` stands for here.

    Raises UserError if CUDA is asked for where there is none. What runs ``elsewhere`` is believed.
    """
    count = _cuda_devices() if wanted != "cpu" else 0
    index = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("cuda") and index >= count and not elsewhere:
        raise UserError(f"--device {wanted}: torch sees {count} CUDA devices here; use --device cpu or auto")
    device = ("cuda" if count else "cpu") if wanted == "auto" else wanted
    return device, ("bf16" if device != "cpu" else "fp32") if precision == "auto" else precision


def kind(device: str) -> str:
    return device.partition(":")[0]


def _cuda_devices() -> int:
    # Importing torch takes seconds; where no driver is installed the answer is known without.
    if not Path("/dev/nvidiactl").exists() and shutil.which("nvidia-smi") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def devices(device: str) -> list[str]:
    """The devices that runs may use."""
    return [f"cuda:{i}" for i in range(_cuda_devices())] if device == "cuda" else [device]


def places(device: str, gpus_per_run: float, jobs: int) -> list[str]:
    """A device for each of ``jobs`` runs at a time. On CUDA no device is given to more runs than its shares allow."""
    if kind(device) != "cuda":
        return [device] * jobs
    return (devices(device) * int(1 / gpus_per_run))[:jobs]


def default_jobs(device: str, threads: int, gpus_per_run: float = 1.0) -> int:
    """As many runs at a time as there are shares of devices (CUDA) or cores (CPU), and memory for."""
    import psutil

    if kind(device) == "cuda":
        return len(devices(device)) * int(1 / gpus_per_run)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // threads, int(psutil.virtual_memory().available / MEMORY_PER_RUN)))


def child_environment(threads: int) -> dict[str, str]:
    """Environment of a child process: thread counts and allocator must be fixed before torch is imported."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    fixed = dict.fromkeys(names, str(threads))
    # glibc would give large blocks (the gradient of the embeddings) back after each update and fault them in again.
    allocator = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
    return (
        fixed
        | allocator
        | import_environment()
        | drawing()
        | computing()
        | {"TOKENIZERS_PARALLELISM": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}
    )


def peak_memory() -> int:
    """The most bytes of main memory that this process has held so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def spent(cpu_before: float = 0.0) -> dict[str, float | int]:
    """What this process has used: processor seconds (of all its threads) since ``time.process_time()`` was
    ``cpu_before``, and the most bytes of main memory that it has held so far."""
    return {"cpu_seconds": time.process_time() - cpu_before, "peak_memory_bytes": peak_memory()}


def versions() -> dict[str, str]:
    """The versions of Python and of ``PACKAGES``."""
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


@cache  # a plan asks for every run
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def torch_minor() -> str:
    """``2.8`` of ``2.8.0+cpu``: what results may depend on."""
    return ".".join(_version("torch").split("+")[0].split(".")[:2])


@cache
def facts() -> Mapping[str, Any]:
    """The hardware of this machine: what kind it is, not which one."""
    import psutil

    memory = round(psutil.virtual_memory().total / GB, 1)
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
    }


@cache
def _processor() -> str:
    """The processor's model; Linux tells it in /proc/cpuinfo only."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
