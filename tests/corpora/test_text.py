"""Running text is cut into sentences by a fixed rule, and long sentences into windows; nothing gets lost."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.text import sentences, windows


def parts(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in sentences(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["He came.", "She left!", "Who?", "“Nobody,” he said."],
        ["It ended (at last).", "“Why?”", "(Nobody knows.)", "Well… they do."],
        ["Dr. Anna J. Berg met Mr. Li of the U.S. Senate in St. Louis vs. Boston.", "Then she left."],
        ["He weighs 3.5 kg, i.e. Much.", "At 9 p.m. they left for www.Example.com... and stayed."],
        ["Она пришла.", "Он ушёл."],
        ["他来了。", "她走了！", "「谁？」", "没人"],
        ["هل جاء؟", "نعم"],
        ["Weiß er es?", "Überall, ja."],
        ["of the 10. 20 came"],
        ["no end"],
    ],
)
def test_sentences_end_where_the_rule_says(expected: list[str]) -> None:
    joint = "" if "。" in expected[0] else " "
    assert parts(joint.join(expected)) == expected


def test_line_breaks_end_sentences() -> None:
    assert parts("A title\nthe text. goes\r\non\u2028here") == ["A title", "the text. goes", "on", "here"]
    assert parts("it ended.\nnot here") == ["it ended.", "not here"]
    assert parts("") == []


@given(st.text(st.sampled_from('aBé中1.!?…。 \n\t"”()“Mr')))
def test_sentences_are_the_whole_text(text: str) -> None:
    assert "".join(text[start:end] for start, end in sentences(text)) == text
    assert all(start < end for start, end in sentences(text))


@pytest.mark.parametrize("text", ["." * 50_000, ". " * 25_000, ". " + " " * 50_000, '."' * 25_000, ".(" * 25_000])
def test_time_is_linear_in_odd_text(text: str) -> None:
    began = time.process_time()
    assert sum(1 for _ in sentences(text)) <= 2
    assert time.process_time() - began < 1  # a quadratic search takes minutes


@given(st.integers(0, 300), st.integers(4, 40), st.data())
def test_each_word_is_one_windows_own(n: int, most: int, data: st.DataObject) -> None:
    shared = data.draw(st.integers(2, most - 1))
    made = [*windows(n, most, shared)]
    assert [word for window in made for word in window.own] == [*range(n)]
    for window in made:
        assert window.last - window.first <= most
        assert window.first <= window.own.start <= window.own.stop <= window.last
        assert window.first == 0 or window.own.start - window.first >= shared // 2
        assert window.last == n or window.last - window.own.stop >= shared // 2
    assert len(made) == 1 or n > most
