"""The cache folder of the suite and of the libraries that it uses. Its files can be made again.

The suite writes only results and this cache.
"""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cl_ner_bench.storage.files import write_bytes

# Folders of the kernels that CUDA and torch compile, by environment variable.
_KERNELS = {
    "CUDA_CACHE_PATH": "cuda",
    "PYTORCH_KERNEL_CACHE_PATH": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
# The fonts of the system as usual. fontconfig writes its notes on fonts into the first cache folder.
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <cachedir>{folder}</cachedir>
  <include ignore_missing="yes">fonts.conf</include>
</fontconfig>
"""


def cache_folder() -> Path:
    """Return the cache: ``CL_NER_BENCH_CACHE``, else the platform's cache folder."""
    folder = os.environ.get("CL_NER_BENCH_CACHE")
    if folder:
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("cl-ner-bench", appauthor=False)


def plotting_environment() -> dict[str, str]:
    """Return environment variables that make matplotlib and fontconfig write into the cache. Omit those already set."""
    libraries = cache_folder().absolute() / "libraries"
    found = {"MPLCONFIGDIR": str(libraries / "matplotlib")}
    if sys.platform == "linux":  # elsewhere matplotlib does not ask fontconfig
        fonts = libraries / "fontconfig" / "fonts.conf"
        with suppress(OSError):  # a cache that cannot be written
            if not fonts.exists():
                write_bytes(fonts, _FONTS.format(folder=html.escape(str(fonts.parent))).encode())
            found["FONTCONFIG_FILE"] = str(fonts)
    return {name: value for name, value in found.items() if name not in os.environ}


def kernel_environment() -> dict[str, str]:
    """Return environment variables that keep compiled kernels in the cache. Omit those already set."""
    libraries = cache_folder().absolute() / "libraries"
    found = {name: libraries / folder for name, folder in _KERNELS.items() if name not in os.environ}
    for folder in found.values():
        with suppress(OSError):  # torch does not create these folders
            folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in found.items()}


@contextmanager
def hub() -> Iterator[Path]:
    """Make ``huggingface_hub`` write all its files into the cache, and yield the folder of its downloads."""
    from huggingface_hub import constants

    folder = cache_folder().absolute() / "hub"
    values = {
        "HF_HUB_CACHE": folder,
        "HF_XET_CACHE": folder / "xet",
        "AGENT_HARNESSES_PATH": folder / "agent_harnesses.json",
    }
    before = {name: getattr(constants, name) for name in values if hasattr(constants, name)}
    environment = os.environ.get("HF_XET_CACHE")
    for name in before:
        setattr(constants, name, str(values[name]))
    os.environ["HF_XET_CACHE"] = str(values["HF_XET_CACHE"])  # hf_xet is not Python and reads the environment
    try:
        yield folder
    finally:
        for name, value in before.items():
            setattr(constants, name, value)
        if environment is None:
            del os.environ["HF_XET_CACHE"]
        else:
            os.environ["HF_XET_CACHE"] = environment
