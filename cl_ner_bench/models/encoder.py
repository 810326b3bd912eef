"""From words to sub-tokens to word vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from cl_ner_bench.models.encoder_info import EncoderInfo
from cl_ner_bench.models.tokeniser import Tokeniser, Tokens

_GROUP_COST = 32
"""Sub-tokens that one more forward call is worth when a batch is cut into length groups."""

_AT_ONCE = 8192
"""Sub-tokens of one forward call. What exceeds it is learned piece by piece, each computed again in the backward pass:
a sentence of 10,000 words would otherwise hold some 20 GB with a small encoder."""


class Encoder(nn.Module):
    """A Hugging Face encoder that gives one vector per word: the last layer at the word's first sub-token.

    SpanKL (arXiv 2302.12200), section "Method": no averaging over sub-tokens. Earlier implementations of the tagging
    baselines read the following sub-token for a sixth of the words; here the position comes from the tokenizer's own
    word alignment.
    """

    def __init__(self, info: EncoderInfo, max_length: int = 512) -> None:
        super().__init__()
        from transformers import AutoModel
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.backbone = AutoModel.from_pretrained(info.folder, use_safetensors=True, dtype=torch.float32)
        if hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None  # never used here
        config = self.backbone.config
        self.hidden_size: int = config.hidden_size
        self.tokeniser = Tokeniser(info, max_length, config.max_position_embeddings)

    def forward(self, batch: Sequence[Tokens]) -> Tensor:
        """Word vectors ``[words of all sentences in order, hidden_size]``.

        The sentences are computed in groups of similar length, which changes no result beyond float reassociation and
        spares most of the padding.
        """
        device = next(self.parameters()).device
        windows = [window for tokens in batch for window in tokens.windows]
        # One look-up for the whole batch: each one costs a dense gradient of the whole vocabulary.
        flat = torch.tensor([i for window in windows for i in window], device=device)
        embedded = self.backbone.get_input_embeddings()(flat).split([len(window) for window in windows])
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        hidden: list[Tensor] = []
        begins, rows = [0] * len(windows), 0  # where each window begins among the rows of all hidden states
        for group in length_groups([len(windows[i]) for i in order]):
            members = order[group]
            inputs = pad_sequence([embedded[i] for i in members], batch_first=True)
            mask = pad_sequence([torch.ones(len(windows[i]), dtype=torch.long) for i in members], batch_first=True)
            if len(flat) > _AT_ONCE and torch.is_grad_enabled():
                hidden.append(checkpoint(self._states, inputs, mask.to(device), use_reentrant=False))
            else:
                hidden.append(self._states(inputs, mask.to(device)))
            for i in members:
                begins[i] = rows
                rows += inputs.shape[1]
        row = [begin + n for begin, window in zip(begins, windows, strict=True) for n in range(len(window))]
        offsets = itertools.accumulate((tokens.size for tokens in batch), initial=0)
        read = [row[offset + n] for offset, tokens in zip(offsets, batch, strict=False) for n in tokens.first]
        return torch.cat(hidden)[torch.tensor(read, dtype=torch.long, device=device)].float()

    def _states(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states ``[windows * longest, hidden_size]`` of embedded windows ``[windows, longest, width]``."""
        return self.backbone(inputs_embeds=inputs, attention_mask=mask).last_hidden_state.flatten(0, 1)


def length_groups(lengths: Sequence[int]) -> list[slice]:
    """Cut ascending ``lengths`` into runs so that padded sub-tokens plus a cost per run are fewest (exact).

    A run holds at most ``_AT_ONCE`` padded sub-tokens, or one length.
    """
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first n, where its last run starts
    for n in range(1, len(lengths) + 1):
        longest = lengths[n - 1]
        most = max(1, _AT_ONCE // longest)
        best.append(min((best[a][0] + (n - a) * longest + _GROUP_COST, a) for a in range(max(0, n - most), n)))
    cuts = [len(lengths)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]][1])
    return [slice(a, b) for b, a in itertools.pairwise(cuts)][::-1]
