"""BERT and RoBERTa without padding, with their modules under the names that checkpoints give them.

Every module is called, except that plain ones may be computed together (``is_plain``): adapters and hooks take effect
wherever they are put. Weights are read without transformers, whose import takes more processor time than all else up
to the first update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.models.encoders.unpadded import ROWS, Groups
from cl_ner_bench.models.precision import autocast

_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
_RENAMED = {".gamma": ".weight", ".beta": ".bias"}  # layer norms of the oldest checkpoints


class Bert(nn.Module):
    """A ``BertModel`` or ``RobertaModel`` without its pooler.

    Args:
        config: what the checkpoint's ``config.json`` says.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder: Any = nn.Module()
        self.encoder.layer = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def forward(self, embedded: Tensor, windows: Sequence[int], dropout: Dropout) -> Tensor:
        """Return the last hidden states ``[sub-tokens, hidden]``, those of each window as if it were alone.

        Args:
            embedded: word embeddings ``[sub-tokens, hidden]`` of all windows, one after the other.
            windows: sub-tokens of each window.
            dropout: where masks are drawn, at the rates of the modules.

        Everything but attention works on single sub-tokens and needs no windows. Attention runs over groups of windows
        of similar length.
        """
        total = len(embedded)
        if extra := -total % ROWS:  # a window that nobody reads
            embedded, windows = F.pad(embedded, (0, 0, 0, extra)), [*windows, extra]
        states = self.embeddings(embedded, windows, dropout)
        groups = Groups(windows, embedded.device)
        for layer in self.encoder.layer:
            states = layer(states, groups, dropout)
        return states[:total]


class _Embeddings(nn.Module):
    """The embeddings of words, to which those of positions and of the first segment are added.

    Attributes:
        first_position: of a window's first sub-token. RoBERTa counts from behind its padding's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.first_position: int = 0 if config["model_type"] == "bert" else _padding(config) + 1
        self.word_embeddings = _table(config["vocab_size"], width, _padding(config))
        self.position_embeddings = _table(config["max_position_embeddings"], width)
        self.token_type_embeddings = _table(config.get("type_vocab_size", 2), width)
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, embedded: Tensor, windows: Sequence[int], dropout: Dropout) -> Tensor:
        first, positions, segments = self.first_position, self.position_embeddings, self.token_type_embeddings
        places = torch.cat([torch.arange(first, first + n) for n in windows]).to(embedded.device)
        if is_plain(positions, nn.Embedding) and is_plain(segments, nn.Embedding):
            # The first segment's row is added to a table of positions, not to each sub-token.
            added = F.embedding(places, positions.weight[: first + max(windows)] + segments.weight[0])
        else:
            added = positions(places) + segments(torch.zeros_like(places))
        return dropout(self.LayerNorm(embedded + added), _rate(self))


class _Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Intermediate(config)
        self.output = _Output(config, config["intermediate_size"])

    def forward(self, states: Tensor, groups: Groups, dropout: Dropout) -> Tensor:
        states = self.attention(states, groups, dropout)
        result: Tensor = self.output(self.intermediate(states), states, dropout)
        return result


class _Attention(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Output(config, config["hidden_size"])

    def forward(self, states: Tensor, groups: Groups, dropout: Dropout) -> Tensor:
        result: Tensor = self.output(self.self(states, groups, dropout), states, dropout)
        return result


class _SelfAttention(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.num_attention_heads: int = config["num_attention_heads"]
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(config.get("attention_probs_dropout_prob", 0.1))

    def forward(self, states: Tensor, groups: Groups, dropout: Dropout) -> Tensor:
        heads = groups.pad(self._projected(states))
        return groups.unpad([self._attend(h, mask, dropout) for h, mask in zip(heads, groups.masks, strict=True)])

    def _projected(self, states: Tensor) -> Tensor:
        """Queries, keys and values ``[sub-tokens, 3 * hidden]``: one product where none of them was changed."""
        parts = self.query, self.key, self.value
        if not all(is_plain(part, nn.Linear) for part in parts):
            return torch.cat([part(states) for part in parts], dim=1)
        return F.linear(states, torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]))

    def _attend(self, heads: Tensor, mask: Tensor | None, dropout: Dropout) -> Tensor:
        """Context ``[windows * longest, hidden]`` of queries, keys and values ``[windows, longest, 3 * hidden]``.

        In float32 also under autocast: on a CPU products so small are no faster in bf16, the fused kernel is several
        times slower in it, and each of their many shapes would get a compiled kernel of its own.
        """
        windows, longest, _ = heads.shape
        rate = _rate(self)
        with autocast(heads.device, None):
            parts = heads.float().view(windows, longest, 3, self.num_attention_heads, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            if rate == 0:
                context = F.scaled_dot_product_attention(query, key, value, mask)
            else:  # the fused kernel would draw torch's dropout
                scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
                context = dropout((scores if mask is None else scores + mask).softmax(3), rate) @ value
        return context.transpose(1, 2).reshape(windows * longest, -1)


class _Intermediate(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(config["hidden_size"], config["intermediate_size"])
        self.intermediate_act_fn = nn.GELU()

    def forward(self, states: Tensor) -> Tensor:
        result: Tensor = self.intermediate_act_fn(self.dense(states))
        return result


class _Output(nn.Module):
    """A linear layer whose outputs are added to the states that they change."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config["hidden_size"])
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, values: Tensor, states: Tensor, dropout: Dropout) -> Tensor:
        result: Tensor = self.LayerNorm(dropout(self.dense(values), _rate(self)) + states)
        return result


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return True if a module is of ``kind`` itself and has no hooks: its weights then define all that it computes."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return type(module) is kind and not hooks and "forward" not in vars(module)


def _rate(module: _Embeddings | _SelfAttention | _Output) -> float:
    return module.dropout.p if module.training else 0.0


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
