"""The file from which a stopped step resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from torch import Tensor

from cl_ner_bench.learning.checkpoint import SCHEMA
from cl_ner_bench.storage.folder import Checkpoints


class CheckpointFile:
    """The stored state of one step (a ``learning.checkpoint.Checkpoint``). Make it when the step begins.

    The file is safetensors, with ``schema`` and the facts (JSON) in its metadata.

    Args:
        every: seconds until the next state is due, counted from the start and from the end of each save.
    """

    def __init__(self, files: Checkpoints, key: str, every: float = 60.0) -> None:
        self.files, self.key, self.every = files, key, every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return True if the next state is due."""
        return time.monotonic() - self._last >= self.every

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the stored state.

        Raises:
            OSError: the file cannot be written. The previous state stays.
        """
        whole = {name: value.contiguous() for name, value in tensors.items()}
        self.files.save(self.key, safetensors.torch.save(whole, {"schema": str(SCHEMA), "facts": json.dumps(facts)}))
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last saved state, on the CPU, or None if there is none.

        Remove a file that is damaged or has another schema, and return None.
        """
        content = self.files.load(self.key)
        if content is None:
            return None
        metadata = _metadata(content)
        if metadata["schema"] == str(SCHEMA):
            return safetensors.torch.load(content), json.loads(metadata["facts"])
        self.drop()
        return None

    def drop(self) -> None:
        """Remove the file, because the step is finished or must begin again."""
        self.files.drop(self.key)


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    The file begins with the length of its JSON header (8 bytes, little-endian).
    """
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata
