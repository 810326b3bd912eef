"""BERT and RoBERTa without padding; the module names are those of checkpoints.

Unchanged modules may be computed together (``is_plain``); all others are called. So adapters and hooks take effect on
any module. Weights are read without transformers, whose import takes more processor time than everything else up to
the first update.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.models.encoders.unpadded import Groups, missing_rows
from cl_ner_bench.models.precision import autocast

_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
_RENAMED = {".gamma": ".weight", ".beta": ".bias"}  # layer norms in the oldest checkpoints


class Bert(nn.Module):
    """A ``BertModel`` or ``RobertaModel`` without its pooler.

    Args:
        config: the checkpoint's ``config.json``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder: Any = nn.Module()
        self.encoder.layer = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def forward(
        self, embedded: Tensor, windows: Sequence[int], dropout: Dropout, attentions: bool = False
    ) -> tuple[tuple[Tensor, ...], tuple[tuple[Tensor, ...], ...]]:
        """Return hidden states and attentions; no window sees another one.

        Hidden states are ``[sub-tokens, hidden]``, of the embeddings and then of each layer. Attentions, on request
        only, are ``[heads, n, n]`` for each layer and each window of n sub-tokens, before dropout.

        Attention runs over groups of windows of similar length. All else works on single sub-tokens.

        Args:
            embedded: concatenated word embeddings ``[sub-tokens, hidden]`` of all windows.
            windows: the number of sub-tokens of each window.
            dropout: the source of dropout masks; the modules hold the rates.
            attentions: return attentions, too.
        """
        total, n_windows = len(embedded), len(windows)
        if extra := missing_rows(total):  # a window whose states are cut off below
            embedded, windows = F.pad(embedded, (0, 0, 0, extra)), [*windows, extra]
        states = [self.embeddings(embedded, windows, dropout)]
        groups = Groups(windows, embedded.device)
        maps: list[list[Tensor]] = []  # by layer, then by group
        for layer in self.encoder.layer:
            if attentions:
                maps.append([])
            states.append(layer(states[-1], groups, dropout, maps[-1] if attentions else None))
        cropped = tuple(tuple(groups.cropped(of_layer)[:n_windows]) for of_layer in maps)
        return tuple(s[:total] for s in states), cropped


class _Embeddings(nn.Module):
    """Word embeddings plus those of positions and of the first segment.

    Attributes:
        first_position: the position of a window's first sub-token. RoBERTa counts from its padding id + 1.
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
            # Adding the segment to the table of positions is cheaper than adding it to each sub-token.
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

    def forward(self, states: Tensor, groups: Groups, dropout: Dropout, maps: list[Tensor] | None = None) -> Tensor:
        states = self.attention(states, groups, dropout, maps)
        result: Tensor = self.output(self.intermediate(states), states, dropout)
        return result


class _Attention(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Output(config, config["hidden_size"])

    def forward(self, states: Tensor, groups: Groups, dropout: Dropout, maps: list[Tensor] | None = None) -> Tensor:
        result: Tensor = self.output(self.self(states, groups, dropout, maps), states, dropout)
        return result


class _SelfAttention(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.num_attention_heads: int = config["num_attention_heads"]
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(config.get("attention_probs_dropout_prob", 0.1))

    def forward(self, states: Tensor, groups: Groups, dropout: Dropout, maps: list[Tensor] | None = None) -> Tensor:
        heads = groups.pad(self._projected(states))
        return groups.unpad([self._attend(h, m, dropout, maps) for h, m in zip(heads, groups.masks, strict=True)])

    def _projected(self, states: Tensor) -> Tensor:
        """Return queries, keys and values ``[sub-tokens, 3 * hidden]``, by one product if no module is changed."""
        parts = self.query, self.key, self.value
        if not all(is_plain(part, nn.Linear) for part in parts):
            return torch.cat([part(states) for part in parts], dim=1)
        return F.linear(states, torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts]))

    def _attend(self, heads: Tensor, mask: Tensor | None, dropout: Dropout, maps: list[Tensor] | None) -> Tensor:
        """Return the context ``[windows * longest, hidden]`` of joint projections ``[windows, longest, 3 * hidden]``.

        It is computed in float32 even under autocast: on a CPU, bf16 gains nothing on products this small, its fused
        kernel is several times slower, and oneDNN would compile a kernel for each of the many shapes.
        """
        windows, longest, _ = heads.shape
        rate = _rate(self)
        with autocast(heads.device, None):
            parts = heads.float().view(windows, longest, 3, self.num_attention_heads, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            if rate == 0 and maps is None:
                context = F.scaled_dot_product_attention(query, key, value, mask)
            else:  # the fused kernel would use torch's own dropout
                scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
                attention = (scores if mask is None else scores + mask).softmax(3)
                if maps is not None:
                    maps.append(attention)
                context = dropout(attention, rate) @ value
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
    """A linear layer with a residual connection and layer norm."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config["hidden_size"])
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, values: Tensor, states: Tensor, dropout: Dropout) -> Tensor:
        result: Tensor = self.LayerNorm(dropout(self.dense(values), _rate(self)) + states)
        return result


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return True if a module is exactly of ``kind`` and has no hooks, so its weights define its output."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return type(module) is kind and not hooks and "forward" not in vars(module)


def _rate(module: _Embeddings | _SelfAttention | _Output) -> float:
    return module.dropout.p if module.training else 0.0


def _table(size: int, width: int, padding: int | None = None) -> nn.Embedding:
    # nn.Embedding() would draw values; on the device "meta" that imports torch's compiler.
    return nn.Embedding.from_pretrained(torch.empty(size, width), freeze=False, padding_idx=padding)


def _padding(config: Mapping[str, Any]) -> int:
    return int(config.get("pad_token_id", 0 if config["model_type"] == "bert" else 1))


def _norm(config: Mapping[str, Any]) -> nn.LayerNorm:
    return nn.LayerNorm(config["hidden_size"], config.get("layer_norm_eps", 1e-12))


def read_bert(info: EncoderInfo) -> Bert | None:
    """Return an encoder in float32; None unless it is a BERT or RoBERTa of the supported kind."""
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
    skeleton = _skeleton(json.dumps(config))
    empty = dict(skeleton.named_parameters())
    if empty.keys() - stored.keys():
        return None
    for name, parameter in empty.items():
        if stored[name].shape != parameter.shape:
            raise UserError(
                f"--encoder {info.name}: in {info.folder}, {name} has the shape {tuple(stored[name].shape)}, but by "
                f"config.json {tuple(parameter.shape)}: one of the files is of another model. Download both again."
            )
    # Copy: the tensors may be mapped from a file that another process rewrites.
    read = {p: nn.Parameter(stored[name].to(torch.float32, copy=True)) for name, p in empty.items()}
    return _copied(skeleton, read)


@lru_cache(maxsize=2)
def _skeleton(config: str) -> Bert:
    """Return an encoder without values. Each learner needs a copy, which takes less time than making the modules."""
    with torch.device("meta"):  # allocate nothing
        return Bert(json.loads(config))


M = TypeVar("M", bound=nn.Module)


def _copied(module: M, parameters: Mapping[nn.Parameter, nn.Parameter]) -> M:
    """Return a copy of a module and of all modules in it, with other parameters in place of its own."""
    new = module.__new__(type(module))  # copy.copy is ten times slower, and both would share hooks
    vars(new).update({n: held.copy() if isinstance(held, dict | set) else held for n, held in vars(module).items()})
    new._parameters.update({name: p if p is None else parameters[p] for name, p in module._parameters.items()})
    new._modules.update({name: part and _copied(part, parameters) for name, part in module._modules.items()})
    return new


def _own(name: str) -> str:
    """Return a weight's name in ``Bert``: the checkpoint's without the prefix "bert." or "roberta."."""
    for old, new in _RENAMED.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    first, _, rest = name.partition(".")
    return rest if first in ("bert", "roberta") else name
