"""The weights of an encoder before any training."""

from __future__ import annotations

from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.storage.model_folder import is_model_folder


def pretrained(encoder: Encoder) -> dict[str, Tensor]:
    """Return the pretrained parameters of an encoder by name, on its device.

    They are read again from the encoder's files, so no model has to carry them.

    Raises:
        UserError: the encoder has parameters that its files do not hold (adapters), or the files belong to an exported
            model and hold the encoder after training.
    """
    folder = encoder.info.folder
    if is_model_folder(folder) or is_model_folder(folder.parent):
        raise UserError(
            f"{folder}: a method goes back to the pretrained encoder, which an exported model does not hold: go on "
            "from the run that the model is of, or with another method"
        )
    fresh = dict(Encoder(encoder.info, encoder.max_length).named_parameters())
    if added := [name for name, _ in encoder.named_parameters() if name not in fresh]:
        raise UserError(
            f"--methods: a method goes back to the pretrained encoder, which has no {added[0]}: do not combine "
            "it with one that adds adapters."
        )
    device = next(encoder.parameters()).device
    return {name: p.detach().to(device) for name, p in fresh.items()}
