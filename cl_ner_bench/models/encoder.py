"""From words to sub-tokens to word vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cl_ner_bench.models.encoder_info import EncoderInfo

_GROUP_COST = 32
"""Sub-tokens that one more forward call is worth when a batch is cut into length groups."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A sentence as the encoder reads it: sub-token ids with specials, and each word's first sub-token.

    ``first`` is shorter than the sentence where the length limit cut whole words off its tail.
    """

    ids: tuple[int, ...]
    first: tuple[int, ...]


class Encoder(nn.Module):
    """A Hugging Face encoder that gives one vector per word: the last layer at the word's first sub-token.

    SpanKL (arXiv 2302.12200), section "Method": no averaging over sub-tokens. Earlier implementations of the tagging
    baselines read the following sub-token for a sixth of the words; here the position comes from the tokenizer's own
    word alignment.
    """

    def __init__(self, info: EncoderInfo, max_length: int = 512) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.backbone = AutoModel.from_pretrained(info.folder, use_safetensors=True, dtype=torch.float32)
        if hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None  # never used here
        config = self.backbone.config
        self.hidden_size: int = config.hidden_size
        tokenizer = AutoTokenizer.from_pretrained(info.folder)
        if getattr(tokenizer, "add_prefix_space", None) is False:  # byte-level BPE needs it for split words
            tokenizer = AutoTokenizer.from_pretrained(info.folder, add_prefix_space=True)
        # The tokenizer's own file may pad and cut (MiniLM's: to 128); both belong to us.
        self.tokenizer = tokenizer.backend_tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.unknown: str = tokenizer.unk_token
        self.max_length = min(max_length, config.max_position_embeddings, int(tokenizer.model_max_length))

    def tokenise(self, sentences: Sequence[Sequence[str]]) -> list[Tokens]:
        """Sub-tokens of each sentence (its words), cut to ``max_length`` by dropping whole words from the tail."""
        encoded = self.tokenizer.encode_batch([list(words) for words in sentences], is_pretokenized=True)
        return [self._align(e, words) for e, words in zip(encoded, sentences, strict=True)]

    def _align(self, encoded: Any, words: Sequence[str]) -> Tokens:
        present = set(encoded.word_ids)
        if missing := [w for w in range(len(words)) if w not in present]:
            # Some words vanish in the normaliser (a lone control character): they are unknown words, not none.
            known = [self.unknown if w in missing else word for w, word in enumerate(words)]
            encoded = self.tokenizer.encode(known, is_pretokenized=True)
        word_ids: list[int | None] = encoded.word_ids
        ids: list[int] = encoded.ids
        first: list[int] = []
        for position, word in enumerate(word_ids):
            if word is not None and word == len(first):
                first.append(position)
        if len(ids) > self.max_length:
            end = len(ids)
            while word_ids[end - 1] is None:
                end -= 1
            closing = ids[end:]
            starts = [*first, end]
            kept = max(w for w in range(len(starts)) if starts[w] <= self.max_length - len(closing))
            ids, first = ids[: starts[kept]] + closing, first[:kept]
        return Tokens(tuple(ids), tuple(first))

    def forward(self, batch: Sequence[Tokens]) -> Tensor:
        """Word vectors ``[words of all sentences in order, hidden_size]``.

        The sentences are computed in groups of similar length, which changes no result beyond float reassociation and
        spares most of the padding.
        """
        device = next(self.parameters()).device
        # One look-up for the whole batch: each one costs a dense gradient of the whole vocabulary.
        flat = torch.tensor([i for tokens in batch for i in tokens.ids], device=device)
        embedded = self.backbone.get_input_embeddings()(flat).split([len(tokens.ids) for tokens in batch])
        order = sorted(range(len(batch)), key=lambda i: len(batch[i].ids))
        vectors: dict[int, Tensor] = {}
        for group in length_groups([len(batch[i].ids) for i in order]):
            members = order[group]
            inputs = pad_sequence([embedded[i] for i in members], batch_first=True)
            mask = pad_sequence([torch.ones(len(batch[i].ids), dtype=torch.long) for i in members], batch_first=True)
            hidden = self.backbone(inputs_embeds=inputs, attention_mask=mask.to(device)).last_hidden_state
            for row, i in enumerate(members):
                vectors[i] = hidden[row, torch.tensor(batch[i].first, dtype=torch.long, device=device)]
        return torch.cat([vectors[i] for i in range(len(batch))]).float()


def length_groups(lengths: Sequence[int]) -> list[slice]:
    """Cut ascending ``lengths`` into runs so that padded sub-tokens plus a cost per run are fewest (exact)."""
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first n, where its last run starts
    for n in range(1, len(lengths) + 1):
        best.append(min((best[a][0] + (n - a) * lengths[n - 1] + _GROUP_COST, a) for a in range(n)))
    cuts = [len(lengths)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]][1])
    return [slice(a, b) for b, a in itertools.pairwise(cuts)][::-1]
