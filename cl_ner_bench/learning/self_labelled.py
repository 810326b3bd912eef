"""Examples from text without labels; a model supplies the labels."""

from __future__ import annotations

from collections.abc import Sequence

from cl_ner_bench.corpora.limits import check_span_words
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Example, by_length
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.step import EVALUATION_BUDGET


def self_labelled(learner: Learner, texts: Sequence[Sequence[str]], part: str) -> list[Example]:
    """Return sentences, given as words, with the mentions that the learner finds in them now, nested ones too.

    All types that the learner knows count as labelled. Messages call the source of the sentences ``part``.

    Raises:
        UserError: a sentence is too long for the method, or a word cannot be read.
    """
    sentences = [Sentence(i, tuple(words)) for i, words in enumerate(texts)]
    if learner.architecture == "span" and not learner.max_span_width:
        check_span_words(sentences, part)
    types, tokens = tuple(learner.head.types), learner.encoder.tokeniser.tokenise([s.words for s in sentences])
    plain = [Example(s.id, s, of_words) for s, of_words in zip(sentences, tokens, strict=True)]
    found: dict[int, tuple[Mention, ...]] = {}
    for batch, output in learner.outputs(by_length(plain, EVALUATION_BUDGET, learner.device)):
        for example, predictions in zip(
            batch.examples, learner.decode(output, batch.lengths, types, nested=True), strict=True
        ):
            found[example.index] = tuple(Mention(*prediction[:3]) for prediction in predictions)
    return [Example(e.index, Sentence(e.index, e.sentence.words, found[e.index]), e.tokens, None, types) for e in plain]
