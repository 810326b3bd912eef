"""BERT and RoBERTa as weights: the modules that ``flat`` computes with, under the names that checkpoints give them.

They are read without transformers, whose import takes more processor time than all else up to the first update.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from cl_ner_bench.models.encoder_info import EncoderInfo

_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
_RENAMED = {".gamma": ".weight", ".beta": ".bias"}  # layer norms of the oldest checkpoints


class Bert(nn.Module):
    """The parts of a ``BertModel`` or ``RobertaModel`` below its pooler; ``flat_states`` is their forward pass.

    Args:
        config: what the checkpoint's ``config.json`` says.

    Attributes:
        first_position: of a window's first sub-token. RoBERTa counts from behind its padding's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.first_position: int = 0 if config["model_type"] == "bert" else _padding(config) + 1
        self.embeddings = _Embeddings(config)
        self.encoder: Any = nn.Module()
        self.encoder.layer = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings


class _Embeddings(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = _table(config["vocab_size"], width, _padding(config))
        self.position_embeddings = _table(config["max_position_embeddings"], width)
        self.token_type_embeddings = _table(config.get("type_vocab_size", 2), width)
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))


class _Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.attention: Any = nn.Module()
        self.attention.self = _Attention(config)
        self.attention.output = _Mixed(config, config["hidden_size"])
        self.intermediate: Any = nn.Module()
        self.intermediate.dense = nn.Linear(config["hidden_size"], config["intermediate_size"])
        self.intermediate.intermediate_act_fn = nn.GELU()
        self.output = _Mixed(config, config["intermediate_size"])


class _Attention(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.num_attention_heads: int = config["num_attention_heads"]
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(config.get("attention_probs_dropout_prob", 0.1))


class _Mixed(nn.Module):
    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config["hidden_size"])
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))


def _table(size: int, width: int, padding: int | None = None) -> nn.Embedding:
    # Unlike nn.Embedding's own, its values are not drawn; on the device "meta" that would import torch's compiler.
    return nn.Embedding.from_pretrained(torch.empty(size, width), freeze=False, padding_idx=padding)


def _padding(config: Mapping[str, Any]) -> int:
    return int(config.get("pad_token_id", 0 if config["model_type"] == "bert" else 1))


def _norm(config: Mapping[str, Any]) -> nn.LayerNorm:
    return nn.LayerNorm(config["hidden_size"], config.get("layer_norm_eps", 1e-12))


def read_bert(info: EncoderInfo) -> Bert | None:
    """An encoder's weights in float32; None where it is neither BERT nor RoBERTa, or is one of another kind."""
    config = info.json("config.json")
    if (
        config.get("model_type") not in _FAMILIES
        or config.get("position_embedding_type", "absolute") != "absolute"
        or config.get("hidden_act", "gelu") != "gelu"
        or config.get("is_decoder", False)
    ):
        return None
    stored: dict[str, Tensor] = {}
    for file in info.folder.glob("*.safetensors"):
        stored |= {_own(name): values for name, values in safetensors.torch.load_file(file).items()}
    with torch.device("meta"):  # no time for values that are overwritten
        bert = Bert(config)
    if bert.state_dict().keys() - stored.keys():
        return None
    # Copies: what was read may be mapped from a file that someone writes anew.
    own = {name: stored[name].to(torch.float32, copy=True) for name in bert.state_dict()}
    bert.load_state_dict(own, assign=True)
    return bert


def _own(name: str) -> str:
    """A weight's name in ``Bert``: that of the checkpoint without the model's ("bert.", "roberta.") before it."""
    for old, new in _RENAMED.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    first, _, rest = name.partition(".")
    return rest if first in ("bert", "roberta") else name
