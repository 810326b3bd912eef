"""The plain path: one training step and evaluation as the field's code does them, short and obvious.

The engine is measured against the plain path (`benchmarks/`) and must equal it (`tests/learning/test_exactness.py`). A
training step is a Hugging Face forward over a random batch padded to its longest sentence, with the first sub-token of
each word, scores of all L x L pairs of words for all types so far, dense one-hot targets, a teacher that is computed at
every step, and stock AdamW. Evaluation runs in file order with batches of 64 and decodes in Python. Formulas: SpanKL
(arXiv 2302.12200) and its released code; ExtendNER (AAAI 2021) as run beside it. The plain path takes sentences and a
learner's weights from the suite, but none of its code.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.learner import Learner

PROJECTION = 50
Mentions = list[tuple[int, int, str]]


@dataclass(frozen=True)
class Row:
    """A sentence as windows of sub-token ids with special tokens. ``first``: window and place of each word's first
    sub-token."""

    sentence: Sentence
    windows: list[list[int]]
    first: list[tuple[int, int]]


def read(sentences: Iterable[Sentence], folder: Path, max_length: int = 512) -> list[Row]:
    """Return sentences as sub-tokens of an encoder's tokenizer. Sentences longer than ``max_length`` are cut into
    overlapping windows."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    opening, closing = tokenizer.encode("").ids
    room = max_length - 2
    rows = []
    for sentence in sentences:
        pieces = [tokenizer.encode(word, add_special_tokens=False).ids[:room] for word in sentence.words]
        starts = [sum(map(len, pieces[:n])) for n in range(len(pieces) + 1)]
        windows: list[list[int]] = []
        first = [(0, 0)] * len(pieces)
        context = [-1] * len(pieces)  # sub-tokens on the side of a word that has fewer
        begin = 0
        while True:
            end = max(n for n in range(len(pieces) + 1) if starts[n] <= starts[begin] + room)
            for word in range(begin, end):
                nearer = min(starts[word] - starts[begin], starts[end] - starts[word] - 1)
                if nearer > context[word]:
                    first[word], context[word] = (len(windows), 1 + starts[word] - starts[begin]), nearer
            windows.append([opening, *(i for word in pieces[begin:end] for i in word), closing])
            if end == len(pieces):
                break
            back = max(starts[end] - room // 4, starts[end + 1] - room)
            begin = min(n for n in range(len(pieces)) if starts[n] >= back)
        rows.append(Row(sentence, windows, first))
    return rows


class Plain(nn.Module):
    """A model with the weights (and the frozen parts) of a suite's learner; ``folder`` holds the encoder's files."""

    def __init__(self, learner: Learner, folder: Path, dropout: float = 0.1) -> None:
        super().__init__()
        from transformers import AutoModel  # the import takes seconds, and most of this module does not need it

        self.backbone = AutoModel.from_pretrained(folder, dtype=torch.float32)
        self.backbone.pooler = None
        self.backbone.load_state_dict(learner.encoder.backbone.state_dict())
        self.head = copy.deepcopy(learner.head.blocks)
        self.backbone.requires_grad_(not learner.encoder_frozen)
        self.dropout = nn.Dropout(dropout)
        self.architecture, self.types = learner.architecture, learner.head.types
        self.train()

    def train(self, mode: bool = True) -> Plain:
        super().train(mode)
        if not any(p.requires_grad for p in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def grow(self, types: Sequence[str]) -> None:
        """Add a classifier of new types, initialised as in the field's code."""
        span = self.architecture == "span"
        size = 2 * PROJECTION * len(types) if span else 2 * len(types) + (not self.types)
        block = nn.Linear(self.backbone.config.hidden_size, size)
        if span:
            nn.init.kaiming_normal_(block.weight)
            nn.init.zeros_(block.bias)
        self.head.append(block)
        self.types = (*self.types, *types)

    def words(self, rows: Sequence[Row]) -> Tensor:
        """Return word vectors ``[sentences, longest, hidden]``; the values behind a sentence's end mean nothing."""
        windows = [torch.tensor(window) for row in rows for window in row.windows]
        ids = pad_sequence(windows, batch_first=True, padding_value=self.backbone.config.pad_token_id)
        mask = pad_sequence([torch.ones_like(window) for window in windows], batch_first=True)
        hidden = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        places, at = [], 0
        for row in rows:
            places.append(torch.tensor([(at + window) * ids.shape[1] + place for window, place in row.first]))
            at += len(row.windows)
        return self.dropout(hidden.flatten(0, 1)[pad_sequence(places, batch_first=True)])

    def scores(self, words: Tensor) -> Tensor:
        """Return scores of words ``[B, L, hidden]``: spans ``[B, L, L, types]`` by first and last word, or tags
        ``[B, L, tags]``."""
        parts = torch.cat([block(words) for block in self.head], dim=2)
        if self.architecture == "token":
            return parts
        starts, ends = parts.unflatten(2, (len(self.types), 2, PROJECTION)).unbind(3)
        return torch.einsum("bied,bjed->beij", starts, ends).permute(0, 2, 3, 1) / math.sqrt(PROJECTION)

    def logits(self, rows: Sequence[Row], width: int = 0) -> Tensor:
        """Return ``[spans, types]`` or ``[words, tags]`` of the real spans or words, one sentence after another."""
        return select(self.scores(self.words(rows)), rows, width)


def real(rows: Sequence[Row], architecture: str, width: int = 0) -> Tensor:
    """Return a mask of the real spans ``[B, L, L]`` (of at most ``width`` words; 0: any), or words ``[B, L]``."""
    lengths = torch.tensor([len(row.first) for row in rows])
    words = torch.arange(int(lengths.max())) < lengths[:, None]
    if architecture == "token":
        return words
    spans = (words[:, :, None] & words[:, None, :]).triu()
    return spans.tril(width - 1) if width else spans


def select(scores: Tensor, rows: Sequence[Row], width: int = 0) -> Tensor:
    """Return the real elements of padded ``scores`` ``[..., columns]`` as rows."""
    mask = real(rows, "span" if scores.ndim == 4 else "token", width)
    return torch.masked_select(scores, mask[..., None]).view(-1, scores.shape[-1])


# Losses


def losses(
    model: Plain, rows: Sequence[Row], learned: Sequence[str], teacher: Plain | None = None, width: int = 0
) -> dict[str, Tensor]:
    """Return the losses of a batch: on the labels of the types ``learned``, and on the teacher's outputs for its other
    types."""
    logits, old = model.logits(rows, width), None
    if teacher is not None:
        teacher.eval()
        with torch.no_grad():
            old = teacher.logits(rows, width)
    if model.architecture == "token":
        return tag_losses(logits, rows, model.types, old)
    return span_losses(logits, rows, model.types, learned, old, width)


def span_losses(
    logits: Tensor,
    rows: Sequence[Row],
    types: Sequence[str],
    learned: Sequence[str],
    teacher: Tensor | None,
    width: int,
) -> dict[str, Tensor]:
    """Return BCE on ``learned`` and Bernoulli KL on the other old types: mean over types, sum over spans, mean over
    sentences."""
    longest = max(len(row.first) for row in rows)
    gold = torch.zeros(len(rows), longest, longest, len(types))
    for n, row in enumerate(rows):
        for start, end, type in row.sentence.mentions:
            if type in types:
                gold[n, start, end - 1, types.index(type)] = 1.0
    new = [types.index(type) for type in learned]
    target = select(gold, rows, width)[:, new]
    bce = F.binary_cross_entropy_with_logits(logits[:, new], target, reduction="none")
    found = {"bce": bce.mean(1).sum() / len(rows)}
    old = [] if teacher is None else [n for n in range(teacher.shape[1]) if n not in new]
    if teacher is not None and old:
        log_p = torch.stack([F.logsigmoid(teacher[:, old]), F.logsigmoid(-teacher[:, old])])
        log_q = torch.stack([F.logsigmoid(logits[:, old]), F.logsigmoid(-logits[:, old])])
        found["kd"] = (log_p.exp() * (log_p - log_q)).sum(0).mean(1).sum() / len(rows)
    return found


def tag_losses(logits: Tensor, rows: Sequence[Row], types: Sequence[str], teacher: Tensor | None) -> dict[str, Tensor]:
    """Return CE on all words, or with a teacher CE on words of a labelled type and softmax KL on all other words."""
    target = torch.tensor([tag for row in rows for tag in bio(row.sentence, types)])
    if teacher is None:
        return {"ce": F.cross_entropy(logits, target)}
    new, found = target > 0, {}
    if new.any():
        found["ce"] = F.cross_entropy(logits[new], target[new])
    if not new.all():
        padded = F.pad(teacher, (0, logits.shape[1] - teacher.shape[1]), value=-1e8)  # no mass on new tags
        kl = F.kl_div(logits.log_softmax(1), padded.softmax(1), reduction="none").sum(1)
        found["kd"] = kl[~new].mean()
    return found


def bio(sentence: Sentence, types: Sequence[str]) -> list[int]:
    """Return tag ids: 0 for O, 1 + 2k for B and 2 + 2k for I of type k. The longest of overlapping mentions is kept."""
    tags = [0] * len(sentence.words)
    for start, end, type in sorted(sentence.mentions, key=lambda m: m.start - m.end):
        if type in types and not any(tags[start:end]):
            inside = 2 + 2 * types.index(type)
            tags[start:end] = [inside - 1] + [inside] * (end - start - 1)
    return tags


# Training


class Training:
    """Stock AdamW and the cosine schedule over ``updates`` of a task. Biases and layer norms (vectors) do not decay.

    ``options`` are further options of AdamW, for comparisons.
    """

    def __init__(self, model: Plain, recipe: Mapping[str, Any], updates: int, **options: Any) -> None:
        self.model, self.clip, self.width = model, recipe["clip"], recipe.get("max_span_width", 0)
        groups = [
            {
                "params": [p for p in module.parameters() if p.requires_grad and (p.ndim > 1) == decayed],
                "lr": recipe[rate],
                "weight_decay": recipe["weight_decay"] if decayed else 0.0,
            }
            for module, rate in ((model.head, "head_lr"), (model.backbone, "lr"))
            for decayed in (True, False)
        ]
        self.optimizer = torch.optim.AdamW(groups, **options)
        warmup = min(recipe["warmup_updates"], int(recipe["warmup_share"] * updates))
        from transformers import get_cosine_schedule_with_warmup

        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, warmup, updates)

    def update(self, rows: Sequence[Row], learned: Sequence[str], teacher: Plain | None = None) -> dict[str, float]:
        """Make one training step on the batch ``rows``, and return its losses."""
        found = losses(self.model, rows, learned, teacher, self.width)
        self.optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        return {name: value.item() for name, value in found.items()}


# Evaluation


@torch.no_grad()
def predict(
    model: Plain, rows: Sequence[Row], types: Sequence[str] | None = None, size: int = 64, width: int = 0
) -> list[Mentions]:
    """Return the predicted mentions of ``types`` (None: all) in each sentence, from padded batches of ``size`` in file
    order.

    Sentences are decoded one by one. Spans of other types do not block spans of ``types``.
    """
    model.eval()
    types = model.types if types is None else types
    found: list[Mentions] = []
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        scores = model.scores(model.words(batch))
        if model.architecture == "span":
            scores = torch.sigmoid(scores[..., [model.types.index(type) for type in types]])
            scores = scores.masked_fill(~real(batch, "span", width)[..., None], 0.0)
        for row, own in zip(batch, scores.numpy(), strict=True):
            if model.architecture == "span":
                mentions = flat_spans(own, types)
            else:
                mentions = [m for m in best_tags(own[: len(row.first)], model.types) if m[2] in types]
            found.append(sorted(mentions))
    return found


def flat_spans(probabilities: np.ndarray, types: Sequence[str]) -> Mentions:
    """Return non-overlapping spans with at least 0.5 in ``[L, L, types]``, chosen in order of probability."""
    kinds, starts, ends = np.where(probabilities.transpose(2, 0, 1) >= 0.5)
    taken, found = [False] * probabilities.shape[1], []
    for n in np.argsort(-probabilities[starts, ends, kinds], kind="stable"):
        start, end = int(starts[n]), int(ends[n]) + 1
        if not any(taken[start:end]):
            taken[start:end] = [True] * (end - start)
            found.append((start, end, types[kinds[n]]))
    return found


def best_tags(logits: np.ndarray, types: Sequence[str]) -> Mentions:
    """Return the mentions of the best path of ``[words, tags]``."""
    path = best_path(torch.from_numpy(logits).double().log_softmax(1).numpy())
    found = []
    for start, tag in enumerate(path):
        if tag % 2 == 1:
            end = start + 1
            while end < len(path) and path[end] == tag + 1:
                end += 1
            found.append((start, end, types[tag // 2]))
    return found


def best_path(scores: np.ndarray) -> list[int]:
    """Return the best BIO tags (Viterbi) for log-probabilities ``[words, tags]``; I-x follows only B-x or I-x."""
    tags = range(scores.shape[1])
    legal = [[to % 2 == 1 or to == 0 or before in (to - 1, to) for before in tags] for to in tags]
    step = np.where(legal, 0.0, -np.inf)
    best = np.where([tag % 2 == 1 or tag == 0 for tag in tags], scores[0], -np.inf)
    back = []
    for score in scores[1:]:
        back.append((best + step).argmax(1))
        best = (best + step).max(1) + score
    path = [int(best.argmax())]
    for pointer in reversed(back):
        path.append(int(pointer[path[-1]]))
    return path[::-1]


def score(rows: Sequence[Row], found: Sequence[Mentions], types: Sequence[str]) -> dict[str, list[int]]:
    """Return ``{type: [tp, fp, fn]}`` by sets of mentions."""
    counts = {type: [0, 0, 0] for type in types}
    for row, mentions in zip(rows, found, strict=True):
        gold, mine = {(*m,) for m in row.sentence.only(types).mentions}, set(mentions)
        for n, part in enumerate((gold & mine, mine - gold, gold - mine)):
            for _, _, type in part:
                counts[type][n] += 1
    return counts
