"""Mentions in text of any length: the same as in its sentences alone, at places of the text that was given."""

from __future__ import annotations

import functools
import itertools
import tracemalloc
from collections.abc import Iterator

import pytest

from cl_ner_bench.corpora.limits import SPAN_WORDS
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.corpora.text import windows
from cl_ner_bench.deployment import predicting
from cl_ner_bench.deployment.predicting import Answer, answers
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.testing.chain import at_once
from cl_ner_bench.testing.tiny import tiny_encoder

SENTENCES = ["anna went to oslo in 1990 .", "Boris went to lima.", "Nobody went", "carla went to paris in 2001."]
TEXT = " ".join(SENTENCES[:2]) + f"\n{SENTENCES[2]}\r\n\n{SENTENCES[3]}"


@pytest.fixture(scope="module", params=["extendner", pytest.param("spankl", marks=pytest.mark.slow)])
def trainer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return at_once(request.param, str(tiny_encoder(tmp_path_factory.mktemp("encoder"))))


class First:
    """A trainer that finds mentions of three words, one after the other, from each sentence's third word on."""

    nested = False

    def predict(self, sentences: list[Sentence]) -> list[list[tuple[int, int, str, float]]]:
        return [[(i, i + 3, "X", 0.5) for i in range(2, len(s.words) - 2, 3)] for s in sentences]


def found(trainer: Trainer, *texts: str | list[str], split: bool = True) -> list[list[predicting.Found]]:
    return [answer.found for group in answers(trainer, map(Answer, texts), split) for answer in group]


def test_a_text_has_the_mentions_of_its_sentences(trainer: Trainer) -> None:
    (whole,) = found(trainer, TEXT)
    alone = found(trainer, *SENTENCES)
    assert [(m.type, m.text) for m in whole] == [(m.type, m.text) for ms in alone for m in ms]
    assert {m.text for m in whole} >= {"anna", "oslo", "1990", "Boris", "lima", "carla", "paris", "2001"}
    words = TEXT.replace(".", " . ").split()
    for m in whole:
        assert TEXT[m.start : m.end] == m.text
        assert words[m.start_word : m.end_word] == m.text.split()
    (listed,) = found(trainer, words[:7])
    assert [(m.start, m.end, m.text) for m in listed] == [(m.start_word, m.end_word, m.text) for m in listed]
    assert [(m.type, m[4:]) for m in listed] == [(m.type, m[4:]) for m in alone[0]]


def test_a_text_that_is_not_split_is_one_sentence(trainer: Trainer) -> None:
    words = TEXT.replace(".", " . ").split()
    (expected,) = trainer.predict([Sentence(0, tuple(words))])
    (whole,) = found(trainer, TEXT, split=False)
    assert [(m.start_word, m.end_word, m.type) for m in whole] == [m[:3] for m in sorted(expected)]


def test_groups_change_nothing_but_when_answers_come(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*SENTENCES, "", TEXT, "...", TEXT]
    expected = found(trainer, *texts)
    for size in (1, 9, 30):
        monkeypatch.setattr(predicting, "GROUP_WORDS", size)
        groups = [*answers(trainer, map(Answer, texts))]
        assert len(groups) > 2
        assert [answer.given for group in groups for answer in group] == texts
        for now, before in zip([a.found for group in groups for a in group], expected, strict=True):
            assert [m[:3] + m[4:] for m in now] == [m[:3] + m[4:] for m in before]
            assert [m.score for m in now] == pytest.approx([m.score for m in before], abs=1e-5)


def test_texts_are_answered_when_no_more_have_come(trainer: Trainer) -> None:
    asked: list[str] = []

    def coming() -> Iterator[Answer | None]:
        for text in SENTENCES:
            asked.append(text)
            yield Answer(text)
            yield None

    for n, group in enumerate(answers(trainer, coming()), 1):
        assert [answer.given for answer in group] == [SENTENCES[n - 1]]
        assert len(asked) == n


def test_sentences_too_long_for_a_span_method_are_read_in_windows(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [window[:2] for window in windows(4000)] == [
        (0, SPAN_WORDS),
        (SPAN_WORDS - 200, 2 * SPAN_WORDS - 200),
        (3600, 4000),
    ]
    monkeypatch.setattr(predicting, "windows", functools.partial(windows, most=8, shared=4))
    words = ["anna", "went", "to", "oslo", "and", "boris", "to", "lima", "in", "1990", "."]
    (some,) = found(trainer, words)
    assert {m.text for m in some} >= {"anna", "oslo", "lima"}  # of both windows
    assert all(before.end <= after.start for before, after in itertools.pairwise(some))
    expected = []
    for first, last, own in ((0, 8, range(6)), (4, 11, range(6, 11))):
        (alone,) = trainer.predict([Sentence(0, tuple(words[first:last]))])
        expected += [(m.start + first, m.end + first, m.type) for m in sorted(alone) if m.start + first in own]
    assert [m[:3] for m in some] == expected


def test_a_mention_over_the_border_of_two_windows_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "windows", functools.partial(windows, most=10, shared=4))
    (some,) = found(First(), list("abcdefghijklmnop"))  # type: ignore[arg-type]
    assert [(m.start, m.end) for m in some] == [(2, 5), (5, 8), (8, 11), (11, 14)]


def test_what_is_no_text_is_refused(trainer: Trainer) -> None:
    for wrong in (None, 7, b"anna", ["anna", 7]):
        with pytest.raises(UserError, match="text 1: expected a text or a list of words"):
            found(trainer, "anna", wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "n"), [(TEXT, 50), ("", 500)], ids=["text", "blank"])
def test_memory_does_not_grow_with_the_texts(text: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "GROUP_WORDS", 128)

    def peak(n: int) -> int:
        tracemalloc.start()
        assert sum(len(group) for group in answers(First(), (Answer(text) for _ in range(n)))) == n  # type: ignore[arg-type]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(n)
    assert peak(10 * n) < 2 * peak(n)


def test_a_text_without_end_is_read_sentence_by_sentence(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "GROUP_WORDS", 64)
    seen: list[int] = []
    predict = trainer.predict
    monkeypatch.setattr(trainer, "predict", lambda some: seen.append(sum(len(s.words) for s in some)) or predict(some))
    (mentions,) = found(trainer, "Anna went to oslo. " * 100)
    assert len(seen) > 5
    assert max(seen) <= 64
    assert [m.start for m in mentions if m.text == "oslo"] == [*range(13, 1900, 19)]
