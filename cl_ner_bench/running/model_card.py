"""The model card of an exported model, in the form of the Hugging Face hub."""

from __future__ import annotations

from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.storage.model_folder import ExportedModel


def model_card(found: ExportedModel, card: MethodCard) -> str:
    """Return the content of ``README.md``."""
    return f"# {found.model.method}\n"
