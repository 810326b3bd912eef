"""The environment of a grid: devices, hardware, versions and the suite's own code.

Before a grid starts, this module resolves everything that can change a bit of the results.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cl_ner_bench
from cl_ner_bench.caches import kernel_environment, plotting_environment
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.files import digest
from cl_ner_bench.untrusted import import_environment

PACKAGE = Path(cl_ner_bench.__file__).parent

GB = 1 << 30
MEMORY_PER_RUN = 1.5 * GB  # torch, a small encoder with its optimiser and the teacher's outputs
# Packages that read data, compute numbers or shape the outputs.
PACKAGES = (
    *("cl-ner-bench", "datasets", "joblib", "matplotlib", "numpy", "pandas", "pyarrow", "safetensors"),
    *("scikit-posthocs", "scipy", "seaborn", "tokenizers", "torch", "transformers"),
)


def resolve_device(wanted: str, precision: str, elsewhere: bool = False) -> tuple[str, str]:
    """Return the device (``cpu``, ``cuda``, ``cuda:1``) and the precision that ``auto`` stands for here.

    Raises:
        UserError: this machine lacks the CUDA device, and no other machine learns the grid (``elsewhere``).
    """
    count = _cuda_devices() if wanted != "cpu" else 0
    index = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("cuda") and index >= count and not elsewhere:
        raise UserError(f"--device {wanted}: torch sees {count} CUDA devices here; use --device cpu or auto")
    device = ("cuda" if count else "cpu") if wanted == "auto" else wanted
    return device, ("bf16" if device != "cpu" else "fp32") if precision == "auto" else precision


def kind(device: str) -> str:
    """Return the kind of a device, for example ``cuda`` for ``cuda:1``."""
    return device.partition(":")[0]


def _cuda_devices() -> int:
    # Importing torch takes seconds, and is not needed if no driver is installed.
    if not Path("/dev/nvidiactl").exists() and shutil.which("nvidia-smi") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def devices(device: str) -> list[str]:
    """Return the devices that runs may use."""
    return [f"cuda:{i}" for i in range(_cuda_devices())] if device == "cuda" else [device]


def device_slots(device: str, gpus_per_run: float, jobs: int) -> list[str]:
    """Return a device for each of ``jobs`` runs at a time. A CUDA device gets no more runs than its shares allow."""
    if kind(device) != "cuda":
        return [device] * jobs
    return (devices(device) * int(1 / gpus_per_run))[:jobs]


def default_jobs(device: str, threads: int, gpus_per_run: float = 1.0) -> int:
    """Return the number of runs that fit at a time, by shares of devices (CUDA) or by cores and memory (CPU)."""
    import psutil

    if kind(device) == "cuda":
        return len(devices(device)) * int(1 / gpus_per_run)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // threads, int(psutil.virtual_memory().available / MEMORY_PER_RUN)))


def child_environment(threads: int) -> dict[str, str]:
    """Return environment variables for a child process. They fix threads and allocator before it imports torch."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    fixed = dict.fromkeys(names, str(threads))
    # Else glibc returns large blocks (the gradient of the embeddings) after each update and faults them in again.
    allocator = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
    return (
        fixed
        | allocator
        | import_environment()
        | plotting_environment()
        | kernel_environment()
        | {"TOKENIZERS_PARALLELISM": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}
    )


def peak_memory() -> int:
    """Return the peak main memory of this process in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)  # type: ignore[attr-defined]
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def resource_usage(cpu_before: float = 0.0) -> dict[str, float | int]:
    """Return the processor seconds of this process (all threads) since ``time.process_time()`` was ``cpu_before``, and
    its peak main memory in bytes."""
    return {"cpu_seconds": time.process_time() - cpu_before, "peak_memory_bytes": peak_memory()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of ``PACKAGES``."""
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


@cache  # a plan calls this for every run
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def torch_minor() -> str:
    """Return the part of torch's version on which results may depend, for example ``2.8`` of ``2.8.0+cpu``."""
    return ".".join(_version("torch").split("+")[0].split(".")[:2])


@cache
def hardware() -> Mapping[str, Any]:
    """Return the hardware of this machine, without names that identify the machine."""
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
    """Return the processor's model. Linux gives it only in /proc/cpuinfo."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def code() -> dict[str, Any]:
    """Return the suite's ``version``, the ``digest`` of its files (sha256, hex), its ``commit``, and ``modified``.

    ``modified`` is True if files differ from the commit. ``commit`` and ``modified`` are None if no git checkout holds
    the files, or git is not installed.
    """
    home = cl_ner_bench.HOME
    known = {"version": cl_ner_bench.__version__, "digest": source_digest(PACKAGE, home)}
    # A wheel may be installed inside another checkout, which does not hold the wheel's files.
    if _git(PACKAGE, "ls-files", "--error-unmatch", "__init__.py") is None:
        return known | {"commit": None, "modified": None}
    folders = [str(folder) for folder in (PACKAGE, home / "methods", home / "datasets")]
    changes = _git(PACKAGE, "status", "--porcelain", "--untracked-files=normal", "--", *folders)
    return known | {
        "commit": _git(PACKAGE, "rev-parse", "HEAD"),
        "modified": changes if changes is None else changes != "",
    }


def source_digest(package: Path, home: Path) -> str:
    """Return the sha256 (hex) over the names and contents of the suite's files.

    ``home`` is the folder of ``methods`` and ``datasets``; in a wheel it is the package itself. A wheel has the same
    digest as the checkout from which it was built.
    """
    files = {}
    for folder, base in ((package, package), (home / "methods", home), (home / "datasets", home)):
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
                files[file.relative_to(base).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digest(files)


def _git(folder: Path, *words: str) -> str | None:
    """Return what git prints about ``folder``, or None if git fails or is not installed. Write nothing."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # else `status` refreshes the index
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, env=environment)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
