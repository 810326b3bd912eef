"""From words to sub-tokens."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.info import EncoderInfo

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONFIG = "tokenizer_config.json"
_NORMALIZER = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}


KNOWN_WORDS = 1 << 17
"""The limit of words whose sub-tokens are remembered between calls (less than 100 MB): text can be endless."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The sub-tokens of a sentence.

    Attributes:
        ids: sub-tokens (int32) of all windows, concatenated, specials included.
        windows: the number of sub-tokens of each window; one window unless the sentence exceeds the encoder's limit.
        first: for each word the index into ``ids`` at which its vector is read (int32).
    """

    ids: NDArray[np.int32]
    windows: tuple[int, ...]
    first: NDArray[np.int32]

    @property
    def size(self) -> int:
        """The number of sub-tokens of all windows; the cost of the sentence is proportional to it."""
        return len(self.ids)


class Tokeniser:
    """A splitter of sentences into the sub-tokens and windows of an encoder.

    A sentence of more than ``max_length`` sub-tokens (specials included) gets several windows, which overlap by up to a
    quarter and begin and end between words. A word in two windows is read in the one where its first sub-token has
    more context on its shorter side. A word that exceeds a window is cut.

    Attributes:
        mask: the token that replaces a masked word; None if the tokenizer names none.

    Raises:
        UserError: ``max_length`` leaves a window no room for a word.
    """

    def __init__(self, info: EncoderInfo, max_length: int) -> None:
        self.tokenizer, self._unknown = read_tokenizer(info)
        mask = info.json(_CONFIG).get("mask_token")
        self.mask: str | None = mask["content"] if isinstance(mask, dict) else mask
        example = self.tokenizer.encode("a")
        n = example.special_tokens_mask.index(0)
        self._opening: list[int] = example.ids[:n]
        self._closing: list[int] = example.ids[n + example.special_tokens_mask.count(0) :]
        limits = (max_length, info.longest, info.json(_CONFIG).get("model_max_length"))
        self._room = int(min(n for n in limits if n is not None)) - len(self._opening) - len(self._closing)
        if self._room < 1:
            raise UserError(f"--max-length {max_length}: the specials alone fill it. Choose more sub-tokens, say 128.")
        self._pieces: dict[str, tuple[int, ...]] = {}

    def tokenise(self, sentences: Sequence[Sequence[str]]) -> list[Tokens]:
        """Return the sub-tokens of each sentence; every word has at least one.

        Raises:
            UserError: the tokenizer cannot read a word.
        """
        if len(self._pieces) > KNOWN_WORDS:
            self._pieces.clear()
        # Tokenizers split words independently, so a word has the same sub-tokens in every sentence.
        for word in itertools.chain.from_iterable(sentences):
            if word not in self._pieces:
                self._pieces[word] = self._split(word)
        return [self._windows([self._pieces[word] for word in words]) for words in sentences]

    def _split(self, word: str) -> tuple[int, ...]:
        """Return the sub-tokens of a word: at least one, at most a window."""
        try:
            ids = self.tokenizer.encode(word, add_special_tokens=False).ids
        except TypeError:
            raise UserError(
                f"The word {word!a} holds half a character (a lone surrogate), which no tokenizer reads. "
                "Write the whole character, or remove it from the data."
            ) from None
        if not ids:  # the normaliser removed everything (a control character): use the unknown token
            if self._unknown is None:
                raise UserError(
                    f"The encoder's tokenizer gives the word {word!a} no sub-token and knows no unknown token. "
                    "Remove the word from the data, or use another --encoder."
                )
            ids = [self._unknown]
        return tuple(ids[: self._room])

    def _windows(self, pieces: Sequence[tuple[int, ...]]) -> Tokens:
        starts = list(itertools.accumulate(map(len, pieces), initial=0))
        ids: list[int] = []
        windows: list[int] = []
        first, nearer = [0] * len(pieces), [-1] * len(pieces)
        for begin, end in word_windows(starts, self._room):
            before = len(ids)
            shift = before + len(self._opening) - starts[begin]
            for word in range(begin, end):
                context = min(starts[word] - starts[begin], starts[end] - starts[word] - 1)
                if context > nearer[word]:
                    first[word], nearer[word] = starts[word] + shift, context
            ids += itertools.chain(self._opening, *pieces[begin:end], self._closing)
            windows.append(len(ids) - before)
        return Tokens(np.array(ids, np.int32), tuple(windows), np.array(first, np.int32))


def word_windows(starts: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Yield the words (first, end) of each window of at most ``room`` sub-tokens.

    A window takes all words that fit. The next one overlaps it by up to a quarter of ``room``, but always reaches at
    least one word further.

    Args:
        starts: the offset of each word's sub-tokens, then the total. No word has more than ``room``.
    """
    begin, last = 0, len(starts) - 1
    while (end := bisect_right(starts, starts[begin] + room) - 1) < last:
        yield begin, end
        begin = bisect_left(starts, max(starts[end] - room // 4, starts[end + 1] - room))
    yield begin, last


def read_tokenizer(info: EncoderInfo) -> tuple[Tokenizer, int | None]:
    """Return an encoder's tokenizer for single words, without padding and truncation, and the id of its unknown token.

    It is read from ``tokenizer.json``. transformers, whose import takes seconds, only converts older formats.
    """
    from tokenizers import Tokenizer

    content, config = info.json("tokenizer.json"), info.json(_CONFIG)
    if not content:
        from transformers import AutoTokenizer

        content = json.loads(
            AutoTokenizer.from_pretrained(info.folder, trust_remote_code=False).backend_tokenizer.to_str()
        )
    content["padding"] = content["truncation"] = None  # MiniLM's file pads and cuts to 128; here windows do that
    splitter, normalizer = content["pre_tokenizer"] or {}, content["normalizer"] or {}
    first, *_ = splitter.get("pretokenizers", [splitter])
    if first.get("type") == "ByteLevel":  # it recognises the start of a word by the space before it
        first["add_prefix_space"] = True
    if normalizer.get("type") == "BertNormalizer":  # as in transformers, the configuration overrides the file
        normalizer |= {key: config[name] for key, name in _NORMALIZER.items() if name in config}
    unknown = config.get("unk_token") or content["model"].get("unk_token")
    if isinstance(unknown, dict):
        unknown = unknown["content"]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    return tokenizer, content["model"].get("unk_id") if unknown is None else tokenizer.token_to_id(unknown)
