"""Prediction of mentions in many texts of any length, in bounded memory.

A string is cut into sentences (``corpora.text.sentences``), and these into words (``readers.words.cut``). A list of
words is one sentence. For all architectures, a sentence with more words than a span method takes is read in overlapping
windows (``corpora.text.windows``). The tokeniser handles the limit of the encoder, as in `bench run`. Sentences of
several texts are predicted together, sorted by length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from cl_ner_bench.corpora.readers.words import Borders, cut
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.corpora.text import Window, sentences, windows
from cl_ner_bench.errors import UserError, short

if TYPE_CHECKING:
    from cl_ner_bench.learning.trainer import Trainer

GROUP_WORDS = 1 << 13
"""Words that are predicted together: enough for batches of similar length, and little memory beside the encoder."""


class Found(NamedTuple):
    """A mention that a model found.

    ``start .. end-1`` are indices of characters in a string, or of words in a list. ``start_word .. end_word-1`` are
    indices of words in the whole text. ``score`` is in 0..1. ``text`` is the text of the mention.
    """

    start: int
    end: int
    type: str
    score: float
    text: str
    start_word: int
    end_word: int


@dataclass(slots=True)
class Answer:
    """A text with the mentions found in it, sorted by place.

    ``about`` holds the caller's facts about the text. ``sentences`` holds the borders of words if ``keep_sentences`` is
    True.
    """

    given: str | Sequence[str]
    about: Any = None
    found: list[Found] = field(default_factory=list)
    sentences: list[Borders] = field(default_factory=list)
    n_words: int = 0


class _Piece(NamedTuple):
    """A window of a sentence. The first word of the sentence is word ``offset`` of the text."""

    answer: Answer
    borders: Borders
    offset: int
    window: Window

    @property
    def words(self) -> tuple[str, ...]:
        given, (first, last, _) = self.answer.given, self.window
        if isinstance(given, str):
            return tuple([given[start:end] for start, end in self.borders[first:last]])
        return tuple(given[first:last])


def answers(
    trainer: Trainer,
    texts: Iterable[Answer | None],
    split: bool = True,
    keep_sentences: bool = False,
) -> Iterator[list[Answer]]:
    """Yield the texts in order, with their mentions, in lists of texts that were predicted together.

    Args:
        texts: answers without mentions. None means that no further text is available now, so the present texts need not
            wait.
        split: cut texts into sentences; otherwise each text is one sentence.
        keep_sentences: keep the borders of words.

    Raises:
        UserError: a text is neither a string nor a list of words, or the tokenizer cannot read a word.
    """
    begun: deque[Answer] = deque()
    waiting: list[_Piece] = []
    size = 0  # waiting words plus texts, because a text without words needs memory, too

    def predict(complete: int) -> list[Answer]:
        nonlocal size
        _predict(trainer, waiting)
        waiting.clear()
        size = 0
        return [begun.popleft() for _ in range(complete)]

    for n, answer in enumerate(texts):
        if answer is None:
            if begun:
                yield predict(len(begun))
            continue
        _check(answer.given, n)
        begun.append(answer)
        size += 1
        for borders in _sentences(answer.given, split):
            if keep_sentences:
                answer.sentences.append(borders)
            for window in windows(len(borders)):
                n_words = window.last - window.first
                if size + n_words > GROUP_WORDS:
                    yield predict(len(begun) - 1)
                waiting.append(_Piece(answer, borders, answer.n_words, window))
                size += n_words
            answer.n_words += len(borders)
        if size >= GROUP_WORDS:
            yield predict(len(begun))
    if begun:
        yield predict(len(begun))


def _check(given: Any, n: int) -> None:
    is_words = isinstance(given, Sequence) and not isinstance(given, bytes) and all(isinstance(w, str) for w in given)
    if not is_words:
        raise UserError(f"text {n}: expected a text or a list of words, found {short(given)}")


def _sentences(given: str | Sequence[str], split: bool) -> Iterator[Borders]:
    """Yield the borders of the words of each sentence that has words."""
    if not isinstance(given, str):
        if given:
            yield [(i, i + 1) for i in range(len(given))]
        return
    for start, end in sentences(given) if split else [(0, len(given))]:
        if borders := cut(given[start:end]):
            yield [(start + first, start + last) for first, last in borders] if start else borders


def _predict(trainer: Trainer, pieces: Sequence[_Piece]) -> None:
    """Add the mentions in ``pieces`` to their answers."""
    if not pieces:
        return
    predicted = trainer.predict([Sentence(i, piece.words) for i, piece in enumerate(pieces)])
    for piece, mentions in zip(pieces, predicted, strict=True):
        given, found, window = piece.answer.given, piece.answer.found, piece.window
        # A mention of the previous window may reach into this window. Mentions here must not overlap it.
        taken = found[-1].end_word - piece.offset if found and window.own.start and not trainer.nested else 0
        for first, last, type_, score in sorted(mentions):
            first, last = first + window.first, last + window.first
            if first in window.own and first >= taken:
                start, end = piece.borders[first][0], piece.borders[last - 1][1]
                quoted = given[start:end] if isinstance(given, str) else " ".join(given[start:end])
                found.append(Found(start, end, type_, score, quoted, piece.offset + first, piece.offset + last))
