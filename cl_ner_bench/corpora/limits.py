"""Limits of what a machine can compute, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterable

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError

SPAN_WORDS = 2000
"""Words of the longest sentence that a span method takes.

Span methods score each of the n(n+1)/2 spans of a sentence for each type. For 2,000 words and 18 types a tensor of
scores takes 144 MB. Learning holds about six such tensors at once, more with a teacher. For 10,000 words it would hold
20 GB.
"""


def check_span_words(sentences: Iterable[Sentence], part: str, limit: int = SPAN_WORDS) -> None:
    """Refuse sentences that are too long for span methods; the message names their ``part``.

    Raises:
        UserError: a sentence has more than ``limit`` words.
    """
    for sentence in sentences:
        if (words := len(sentence.words)) > limit:
            raise UserError(
                f"Sentence {sentence.id} ({part}) has {words:,} words. Span methods score every pair of its words and "
                f"take at most {limit:,}.\n"
                "Cut the sentence in the data, or choose methods of the architecture 'token', which take any length."
            )
