"""The file that a stopped step goes on from."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from cl_ner_bench.learning.checkpoint import SCHEMA
from cl_ner_bench.storage import store
from cl_ner_bench.storage.shared import Depot, told_later


class CheckpointFile:
    """Keeps the state of one step (a ``learning.checkpoint.Checkpoint``); made when the step begins.

    The file is a sha256 (32 bytes) and behind it what it is of: the tensors as safetensors, and in their metadata
    ``schema`` and the facts as JSON. It is replaced as a whole, and one that was not written whole is never taken up.

    Args:
        every: seconds from the start, and from the end of each save, until a state is due.
        shared: where others may find it.
    """

    def __init__(self, path: Path, every: float = 60.0, shared: Depot | None = None) -> None:
        self.path, self.every, self.shared = path, every, shared or Depot(path.parent)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether ``every`` seconds have passed."""
        return time.monotonic() - self._last >= self.every

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write a state in place of the last.

        Raises:
            OSError: it cannot be written; the last one stays.
        """
        whole = {name: value.contiguous() for name, value in tensors.items()}
        content = safetensors.torch.save(whole, {"schema": str(SCHEMA), "facts": json.dumps(facts)})
        store.write_bytes(self.path, hashlib.sha256(content).digest() + content)
        with told_later():
            self.shared.put(self.path)
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The state that was saved last, on the CPU; None where there is none.

        A file that is damaged, or of another version of the suite, counts as none and is removed.
        """
        self.shared.get(self.path)
        try:
            with self.path.open("rb") as file:
                expected, content = file.read(32), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() == expected:
            metadata = _metadata(content)
            if metadata["schema"] == str(SCHEMA):
                return safetensors.torch.load(content), json.loads(metadata["facts"])
        self.drop()
        return None

    def drop(self) -> None:
        """Remove the file: the step is finished, or shall begin anew."""
        self.shared.remove(self.path)


def _metadata(content: bytes) -> dict[str, str]:
    """Of a safetensors file: it begins with the length of its JSON header (8 bytes, little-endian)."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata
