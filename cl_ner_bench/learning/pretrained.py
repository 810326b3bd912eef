"""The weights of an encoder before any training."""

from __future__ import annotations

from torch import Tensor

from cl_ner_bench.models.encoders.encoder import Encoder


def pretrained(encoder: Encoder) -> dict[str, Tensor]:
    """Return the pretrained parameters of an encoder by name, on its device.

    They are read from the encoder's files again, so that no model has to carry them.
    """
    fresh = Encoder(encoder.info, encoder.max_length)
    device = next(encoder.parameters()).device
    return {name: p.detach().to(device) for name, p in fresh.named_parameters()}
