"""From words to sub-tokens to word vectors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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

_AT_ONCE = 8192
"""Sub-tokens of one forward call. What exceeds it is learned piece by piece, each computed again in the backward pass:
a sentence of 10,000 words would otherwise hold some 20 GB with a small encoder."""


_NEED = 'add "all_embeddings" to the method\'s needs.'


class Encoder(nn.Module):
    """A Hugging Face encoder that gives one vector per word: the last layer at the word's first sub-token.

    SpanKL (arXiv 2302.12200), section "Method": no averaging over sub-tokens. Earlier implementations of the tagging
    baselines read the following sub-token for a sixth of the words; here the position comes from the tokenizer's own
    word alignment.
    """

    def __init__(self, info: EncoderInfo, max_length: int = 512) -> None:
        super().__init__()
        self.info, self.max_length = info, max_length
        self.backbone: Any = read_bert(info) or _any_other(info)
        self.hidden_size: int = info.hidden_size
        self.masks = Dropout()
        self._narrowed: _Narrowed | None = None

    @property
    def tokeniser(self) -> Tokeniser:
        """Made when something must be tokenised: a cached corpus needs none."""
        return _tokeniser(self.info, self.max_length)

    def forward(self, batch: Sequence[Tokens]) -> Tensor:
        """Word vectors ``[words of all sentences in order, hidden_size]``.

        What else stands in the batch changes no result beyond float reassociation.
        """
        embedded = self._look_up(np.concatenate([tokens.ids for tokens in batch]))
        pieces = list(_pieces([window for tokens in batch for window in tokens.windows]))
        states = []
        for piece, values in zip(pieces, embedded.split([sum(piece) for piece in pieces]), strict=True):
            if len(pieces) > 1 and torch.is_grad_enabled():
                seed = self.masks.draw_seed()
                states.append(checkpoint(self._states, values, piece, seed, use_reentrant=False))
            else:
                states.append(self._states(values, piece))
        starts = itertools.accumulate((tokens.size for tokens in batch), initial=0)
        first = np.concatenate([start + tokens.first for start, tokens in zip(starts, batch, strict=False)])
        return torch.cat(states).index_select(0, torch.from_numpy(first).to(embedded.device)).float()

    def _states(self, embedded: Tensor, windows: Sequence[int], seed: int | None = None) -> Tensor:
        """Last hidden states ``[sub-tokens, hidden_size]`` of word embeddings ``[sub-tokens, width]``."""
        if isinstance(self.backbone, Bert):
            states: Tensor = self.backbone(embedded, windows, self.masks if seed is None else Dropout(seed))
            return states
        groups = Groups(windows, embedded.device)
        return groups.unpad(
            [
                self.backbone(inputs_embeds=inputs, attention_mask=real.long()).last_hidden_state.flatten(0, 1)
                for inputs, real in zip(groups.pad(embedded), groups.real, strict=True)
            ]
        )

    def _look_up(self, ids: np.ndarray) -> Tensor:
        """Return word embeddings ``[sub-tokens, width]``.

        One look-up a batch, for each has a gradient of the whole table.

        Raises:
            UserError: the table is narrowed, and ``ids`` that it lacks would have to learn.
        """
        table: Any = self.backbone.get_input_embeddings()
        device = table.weight.device
        if self._narrowed is None:
            embedded: Tensor = table(torch.from_numpy(ids).to(device))
            return embedded
        places, padding = self._narrowed.places, table.padding_idx
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
            others = F.embedding(torch.from_numpy(ids[lacking]).to(device), self._narrowed.whole)
            return embedded.index_copy(0, at, others * table.weight[-1, 0])
        place = None if padding is None or places[padding] < 0 else int(places[padding])
        return F.embedding(torch.from_numpy(rows).to(device), table.weight, place)

    def narrow(self, sentences: Iterable[Tokens]) -> None:
        """Keep only the word embeddings of ``sentences`` (until ``widen``), so that no other is updated.

        What never occurs has a gradient of 0, and of an update by AdamW only weight decay is left for it. A row of ones
        behind the table gathers that decay, and ``widen`` applies it to all rows that were left out. Without gradients,
        other words are embedded as ``widen`` would leave them.
        """
        table: Any = self.backbone.get_input_embeddings()
        ids = [tokens.ids for tokens in sentences]
        if not is_plain(table, nn.Embedding) or not table.weight.requires_grad or not ids:
            return
        used = np.unique(np.concatenate(ids))
        places = np.full(table.num_embeddings, -1)
        places[used] = np.arange(len(used))
        self._narrowed = _Narrowed(table.weight, torch.from_numpy(used).to(table.weight.device).long(), places)
        kept = table.weight.detach()[self._narrowed.used]
        table.weight = nn.Parameter(torch.cat([kept, kept.new_ones(1, kept.shape[1])]))

    def check_gradient(self) -> None:
        """Raise UserError where more than the words of sentences gave the narrowed table a gradient."""
        gradient = self.backbone.get_input_embeddings().weight.grad
        if self._narrowed is not None and gradient is not None and gradient[-1].any():
            raise UserError(
                "the method's loss or gradients depend on the table of word embeddings itself (a penalty on weights?), "
                f"of which a step holds the words in use alone: {_NEED}"
            )

    def widen(self) -> None:
        """Take up the word embeddings that ``narrow`` left out."""
        if self._narrowed is None:
            return
        table: Any = self.backbone.get_input_embeddings()
        whole = self._narrowed.whole
        with torch.no_grad():
            whole *= table.weight[-1, 0]
            whole[self._narrowed.used] = table.weight[:-1]
        table.weight, self._narrowed = whole.requires_grad_(table.weight.requires_grad), None


_tokeniser = lru_cache(maxsize=2)(Tokeniser)
"""A tokeniser is the same for all encoders of its kind, and remembers the words that it has cut."""


def _any_other(info: EncoderInfo) -> Any:
    """An encoder that brings its own forward pass."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # False, and not left out: then a model that brings code of its own would ask at the terminal whether to run it.
    try:
        backbone: Any = AutoModel.from_pretrained(
            info.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
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
class _Narrowed:
    """The whole table of word embeddings, which of its rows are in use, and where each of them stands (-1: nowhere)."""

    whole: Tensor
    used: Tensor
    places: np.ndarray


def _pieces(windows: Sequence[int]) -> Iterator[list[int]]:
    """Cut windows into runs of at most ``_AT_ONCE`` sub-tokens, or of one window."""
    piece: list[int] = []
    for window in windows:
        if piece and sum(piece) + window > _AT_ONCE:
            yield piece
            piece = []
        piece.append(window)
    yield piece
