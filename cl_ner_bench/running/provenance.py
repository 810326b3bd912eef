"""Which code computed a run: its version, its commit where it lies in a git checkout, and a digest of its files."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import cl_ner_bench
from cl_ner_bench.storage.json_files import digest

PACKAGE = Path(cl_ner_bench.__file__).parent


@cache
def code() -> dict[str, Any]:
    """``version``, ``digest`` (sha256, hex, of the suite's own files), ``commit`` and whether it was ``modified``.

    The last two are None where no git checkout holds the files, or git is not there to tell.
    """
    home = cl_ner_bench.HOME
    known = {"version": cl_ner_bench.__version__, "digest": source_digest(PACKAGE, home)}
    # A wheel may be installed below some other checkout, which does not hold its files.
    if _git(PACKAGE, "ls-files", "--error-unmatch", "__init__.py") is None:
        return known | {"commit": None, "modified": None}
    folders = [str(folder) for folder in (PACKAGE, home / "methods", home / "datasets")]
    changes = _git(PACKAGE, "status", "--porcelain", "--untracked-files=normal", "--", *folders)
    return known | {
        "commit": _git(PACKAGE, "rev-parse", "HEAD"),
        "modified": changes if changes is None else changes != "",
    }


def source_digest(package: Path, home: Path) -> str:
    """sha256 (hex) over the names and contents of the suite's files.

    ``home`` holds ``methods`` and ``datasets``: in a wheel it is the package itself. A wheel has the digest of the
    checkout that it was built from.
    """
    files = {}
    for folder, base in ((package, package), (home / "methods", home), (home / "datasets", home)):
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
                files[file.relative_to(base).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digest(files)


def _git(folder: Path, *words: str) -> str | None:
    """What git prints about ``folder``; None where it fails or is not installed. Nothing is written."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # `status` would refresh the index
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, env=environment)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
