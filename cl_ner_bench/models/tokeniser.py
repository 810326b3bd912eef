"""From words to sub-tokens."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoder_info import EncoderInfo


@dataclass(frozen=True, slots=True)
class Tokens:
    """A sentence as the encoder reads it.

    ``windows`` are sub-token ids with specials, one window unless the sentence is longer than the encoder takes.
    ``first`` says, for each word, where among the sub-tokens of all windows (one after the other) its vector is read.
    """

    windows: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]

    @property
    def size(self) -> int:
        """Sub-tokens of all windows: what the sentence costs to compute."""
        return sum(map(len, self.windows))


class Tokeniser:
    """Cuts sentences into the sub-tokens and windows of an encoder.

    A sentence of more than ``max_length`` sub-tokens (specials included) is computed as several windows that overlap by
    up to a quarter and begin and end between words. A word that stands in two of them is read where its first sub-token
    has more context on its nearer side. A single word that exceeds a window keeps as many sub-tokens as fit.

    Args:
        longest: sub-tokens that the encoder takes.

    Raises:
        UserError: ``max_length`` leaves a window no room for a word.
    """

    def __init__(self, info: EncoderInfo, max_length: int, longest: int) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(info.folder)
        if getattr(tokenizer, "add_prefix_space", None) is False:  # byte-level BPE needs it for split words
            tokenizer = AutoTokenizer.from_pretrained(info.folder, add_prefix_space=True)
        # The tokenizer's own file may pad and cut (MiniLM's: to 128); both belong to us.
        self.tokenizer = tokenizer.backend_tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.max_length = min(max_length, longest, int(tokenizer.model_max_length))
        example = self.tokenizer.encode("a")
        n = example.special_tokens_mask.index(0)
        self._opening: list[int] = example.ids[:n]
        self._closing: list[int] = example.ids[n + example.special_tokens_mask.count(0) :]
        self._room = self.max_length - len(self._opening) - len(self._closing)
        if self._room < 1:
            raise UserError(f"--max-length {max_length}: the specials alone fill it. Choose more sub-tokens, say 128.")
        self._unknown: int | None = tokenizer.unk_token_id
        self._pieces: dict[str, tuple[int, ...]] = {}

    def tokenise(self, sentences: Sequence[Sequence[str]]) -> list[Tokens]:
        """Sub-tokens of each sentence (its words), in windows. Every word has its place.

        Raises:
            UserError: a word that the tokenizer cannot read.
        """
        # Tokenizers split each given word on its own, so a word's sub-tokens are the same in every sentence.
        for word in itertools.chain.from_iterable(sentences):
            if word not in self._pieces:
                self._pieces[word] = self._split(word)
        return [self._windows([self._pieces[word] for word in words]) for words in sentences]

    def _split(self, word: str) -> tuple[int, ...]:
        """The sub-tokens of a word, at least one and at most as many as a window holds."""
        try:
            ids = self.tokenizer.encode(word, add_special_tokens=False).ids
        except TypeError:
            raise UserError(
                f"The word {word!a} holds half a character (a lone surrogate), which no tokenizer reads. "
                "Write the whole character, or remove it from the data."
            ) from None
        if not ids:  # the normaliser left nothing (a lone control character): an unknown word, not none
            if self._unknown is None:
                raise UserError(
                    f"The encoder's tokenizer gives the word {word!a} no sub-token and knows no unknown token. "
                    "Remove the word from the data, or use another --encoder."
                )
            ids = [self._unknown]
        return tuple(ids[: self._room])

    def _windows(self, pieces: Sequence[tuple[int, ...]]) -> Tokens:
        starts = list(itertools.accumulate(map(len, pieces), initial=0))
        windows: list[tuple[int, ...]] = []
        first, nearer = [0] * len(pieces), [-1] * len(pieces)
        before = 0  # sub-tokens of the windows so far
        for begin, end in word_windows(starts, self._room):
            shift = before + len(self._opening) - starts[begin]
            for word in range(begin, end):
                context = min(starts[word] - starts[begin], starts[end] - starts[word] - 1)
                if context > nearer[word]:
                    first[word], nearer[word] = starts[word] + shift, context
            windows.append((*self._opening, *itertools.chain.from_iterable(pieces[begin:end]), *self._closing))
            before += len(windows[-1])
        return Tokens(tuple(windows), tuple(first))


def word_windows(starts: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """The words (first, end) of each window of at most ``room`` sub-tokens.

    Args:
        starts: where each word's sub-tokens begin, then where the last one's end. No word has more than ``room``.

    A window takes all words that fit. The next one reaches back by up to a quarter of ``room``, as far as it still
    takes one more word than this one did.
    """
    begin, last = 0, len(starts) - 1
    while (end := bisect_right(starts, starts[begin] + room) - 1) < last:
        yield begin, end
        begin = bisect_left(starts, max(starts[end] - room // 4, starts[end + 1] - room))
    yield begin, last
