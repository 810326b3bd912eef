"""From words to sub-tokens to word vectors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.bert import Bert, is_plain, read_bert
from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.models.encoders.tokeniser import Tokeniser, Tokens
from cl_ner_bench.models.encoders.unpadded import Groups
from cl_ner_bench.models.transfer import moved

_MICRO_BATCH = 8192
"""Sub-tokens of a micro-batch. Larger batches are split and recomputed in the backward pass; otherwise a sentence of
10,000 words would hold about 20 GB with a small encoder."""

_NEED = 'add "all_embeddings" to the method\'s needs.'


class Encoding(NamedTuple):
    """The encoder's output for a batch; layers and attentions as in ``learning.output.Output``, if requested."""

    words: Tensor
    layers: tuple[Tensor, ...] = ()
    attentions: tuple[tuple[Tensor, ...], ...] = ()


class Encoder(nn.Module):
    """A Hugging Face encoder with one vector per word: the last layer at the word's first sub-token.

    There is no averaging over sub-tokens (SpanKL, arXiv 2302.12200, section "Method"). Positions come from the
    tokenizer's word alignment; released tagging baselines read the next sub-token for a sixth of the words.
    """

    def __init__(self, info: EncoderInfo, max_length: int = 512) -> None:
        super().__init__()
        self.info, self.max_length = info, max_length
        self.backbone: Any = read_bert(info) or _any_other(info)
        self.hidden_size: int = info.hidden_size
        self.dropout = Dropout()
        self._restricted: _Restricted | None = None

    @property
    def tokeniser(self) -> Tokeniser:
        """The tokeniser, made at first use: a cached corpus needs none."""
        return _tokeniser(self.info, self.max_length)

    def forward(self, batch: Sequence[Tokens]) -> Tensor:
        """Return word vectors ``[words of all sentences in order, hidden_size]``.

        A sentence's vectors do not depend on the rest of the batch, up to the order of float additions.
        """
        return self.encode(batch).words

    def encode(self, batch: Sequence[Tokens], layers: bool = False, attentions: bool = False) -> Encoding:
        """Return the word vectors and, on request, the attentions and the hidden states of all layers at the words."""
        embedded = self._look_up(np.concatenate([tokens.ids for tokens in batch]))
        parts = list(_micro_batches([window for tokens in batch for window in tokens.windows]))
        found = []
        for part, values in zip(parts, embedded.split([sum(part) for part in parts]), strict=True):
            if len(parts) > 1 and torch.is_grad_enabled():
                seed = self.dropout.draw_seed()
                found.append(checkpoint(self._states, values, part, layers, attentions, seed, use_reentrant=False))
            else:
                found.append(self._states(values, part, layers, attentions))
        starts = itertools.accumulate((tokens.size for tokens in batch), initial=0)
        first = np.concatenate([start + tokens.first for start, tokens in zip(starts, batch, strict=False)])
        at = moved(torch.from_numpy(first), embedded.device)
        states = [
            torch.cat(of_layer).index_select(0, at).float() for of_layer in zip(*(s for s, _ in found), strict=True)
        ]
        maps = (tuple(itertools.chain(*of_layer)) for of_layer in zip(*(a for _, a in found), strict=True))
        return Encoding(states[-1], tuple(states) if layers else (), tuple(maps))

    def _states(
        self,
        embedded: Tensor,
        windows: Sequence[int],
        layers: bool = False,
        attentions: bool = False,
        seed: int | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[tuple[Tensor, ...], ...]]:
        """Return hidden states ``[sub-tokens, hidden_size]`` (the last, or of all layers) and attentions."""
        if isinstance(self.backbone, Bert):
            dropout = self.dropout if seed is None else Dropout(seed)
            states, maps = self.backbone(embedded, windows, dropout, attentions)
        else:
            states, maps = self._states_of_other(embedded, windows, layers, attentions)
        return states if layers else states[-1:], maps

    def _states_of_other(
        self, embedded: Tensor, windows: Sequence[int], layers: bool, attentions: bool
    ) -> tuple[tuple[Tensor, ...], tuple[tuple[Tensor, ...], ...]]:
        groups = Groups(windows, embedded.device)
        if attentions:  # fused kernels return none
            self.backbone.set_attn_implementation("eager")
        outputs = [
            self.backbone(
                inputs_embeds=inputs,
                attention_mask=real.long(),
                output_hidden_states=layers,
                output_attentions=attentions,
            )
            for inputs, real in zip(groups.pad(embedded), groups.real, strict=True)
        ]
        per_group = [o.hidden_states if layers else (o.last_hidden_state,) for o in outputs]
        states = tuple(groups.unpad([s.flatten(0, 1) for s in layer]) for layer in zip(*per_group, strict=True))
        if not attentions:
            return states, ()
        return states, tuple(
            tuple(groups.cropped(layer)) for layer in zip(*(o.attentions for o in outputs), strict=True)
        )

    def _look_up(self, ids: np.ndarray) -> Tensor:
        """Return word embeddings ``[sub-tokens, width]``.

        One look-up per batch, because each has a gradient of the size of the table.

        Raises:
            UserError: gradients are enabled, and the restricted table lacks some of ``ids``.
        """
        table: Any = self.backbone.get_input_embeddings()
        device = table.weight.device
        if self._restricted is None:
            embedded: Tensor = table(moved(torch.from_numpy(ids), device))
            return embedded
        places, padding = self._restricted.places, table.padding_idx
        rows = places[ids]
        if (lacking := rows < 0).any():
            if torch.is_grad_enabled():
                raise UserError(
                    "a method learns from words that no sentence of the step's train and dev holds. "
                    f"Embed them under torch.no_grad(), or {_NEED}"
                )
            rows[lacking] = 0
            embedded = F.embedding(torch.from_numpy(rows).to(device), table.weight)
            at = torch.from_numpy(lacking.nonzero()[0]).to(device)
            others = F.embedding(torch.from_numpy(ids[lacking]).to(device), self._restricted.whole)
            return embedded.index_copy(0, at, others * table.weight[-1, 0])
        place = None if padding is None or places[padding] < 0 else int(places[padding])
        return F.embedding(moved(torch.from_numpy(rows), device), table.weight, place)

    def restrict_embeddings(self, sentences: Iterable[Tokens]) -> None:
        """Keep only the word embeddings of ``sentences`` until ``restore_embeddings``; this makes updates cheaper.

        A row without gradient changes only by AdamW's weight decay. An additional row of ones accumulates that decay,
        and ``restore_embeddings`` applies it to all rows that were left out. Without gradients, other words are
        embedded with the decay so far.
        """
        table: Any = self.backbone.get_input_embeddings()
        ids = [tokens.ids for tokens in sentences]
        if not is_plain(table, nn.Embedding) or not table.weight.requires_grad or not ids:
            return
        used = np.unique(np.concatenate(ids))
        places = np.full(table.num_embeddings, -1)
        places[used] = np.arange(len(used))
        self._restricted = _Restricted(table.weight, torch.from_numpy(used).to(table.weight.device).long(), places)
        kept = table.weight.detach()[self._restricted.used]
        table.weight = nn.Parameter(torch.cat([kept, kept.new_ones(1, kept.shape[1])]))

    def watch_gradient(self) -> None:
        """Note whether the restricted table has a gradient that does not come from the words of sentences."""
        gradient = self.backbone.get_input_embeddings().weight.grad
        if self._restricted is not None and gradient is not None:
            self._restricted.strays.append(gradient[-1].any())

    def check_gradients(self) -> None:
        """Raise UserError if ``watch_gradient`` has noted such a gradient since the last call."""
        if self._restricted is None:
            return
        strays = [*self._restricted.strays]
        self._restricted.strays.clear()
        if strays and torch.stack(strays).any():
            raise UserError(
                "the method's loss or gradients depend on the table of word embeddings itself (a penalty on weights in "
                "losses, or gradients of all weights in after_backward?), of which a step holds only the words in use: "
                f"{_NEED}"
            )

    def restore_embeddings(self) -> None:
        """Put back the word embeddings that ``restrict_embeddings`` left out."""
        if self._restricted is None:
            return
        table: Any = self.backbone.get_input_embeddings()
        whole = self._restricted.whole
        with torch.no_grad():
            whole *= table.weight[-1, 0]
            whole[self._restricted.used] = table.weight[:-1]
        table.weight, self._restricted = whole.requires_grad_(table.weight.requires_grad), None


_tokeniser = lru_cache(maxsize=2)(Tokeniser)
"""Encoders of one kind share a tokeniser, which caches the words it has split."""


def _any_other(info: EncoderInfo) -> Any:
    """Return an encoder of another family, with transformers' forward pass."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    shape = {"num_hidden_layers": info.lowest} if info.lowest else {}
    # The default of trust_remote_code would ask at the terminal whether to run a model's own code.
    try:
        backbone: Any = AutoModel.from_pretrained(
            info.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, **shape
        )
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise UserError(
            f"--encoder {info.name}: transformers makes no model of {info.folder} ({reason}). "
            "Code that a model brings is never run: use one of a family that transformers knows."
        ) from error
    if hasattr(backbone, "pooler"):
        backbone.pooler = None  # never used here
    return backbone


@dataclass(frozen=True)
class _Restricted:
    """The table of word embeddings while it is restricted.

    Attributes:
        whole: the whole table.
        used: the rows in use.
        places: the position of each row among ``used``; -1: not in use.
        strays: for each gradient since the last check, True if it has values beside the rows in use.
    """

    whole: Tensor
    used: Tensor
    places: np.ndarray
    strays: list[Tensor] = field(default_factory=list)


def _micro_batches(windows: Sequence[int]) -> Iterator[list[int]]:
    """Split windows into runs of at most ``_MICRO_BATCH`` sub-tokens (or of one window)."""
    part: list[int] = []
    for window in windows:
        if part and sum(part) + window > _MICRO_BATCH:
            yield part
            part = []
        part.append(window)
    yield part
