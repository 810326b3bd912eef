"""The generated corpus: frozen, deterministic, and difficult in the ways that it claims."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.cli import main
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.corpora.synthetic.generate import TYPES, VERSION, GeneratorOptions, _rng
from cl_ner_bench.corpora.synthetic.generate import generate as generated
from cl_ner_bench.corpora.synthetic.writer import Names
from cl_ner_bench.errors import UserError
from cl_ner_bench.validation import convert

# Numbers computed on this corpus mean this text. Change it only together with VERSION, or with its size.
GOLDEN = (2, "9c7a55f747f46a62cf8dd268321ff262b1c27193c7488467515025cfadc5a305")


@cache
def default() -> Corpus:
    return load_corpus("synthetic")


def generate(size: Any = None, **options: Any) -> dict[str, tuple[Sentence, ...]]:
    given = options if size is None else {"size": size} | options
    return generated(convert(given, GeneratorOptions, "synthetic", key="reader_options"))


def surface(sentence: Sentence, mention: Mention) -> str:
    return " ".join(sentence.words[mention.start : mention.end])


def shares(sentences: tuple[Sentence, ...]) -> tuple[float, float]:
    """Shares of the sentences with two or more types, and without mentions."""
    several = sum(len({m.type for m in s.mentions}) > 1 for s in sentences)
    return several / len(sentences), sum(not s.mentions for s in sentences) / len(sentences)


def test_the_default_corpus_is_frozen() -> None:
    assert (VERSION, default().fingerprint) == GOLDEN


@pytest.mark.slow
def test_the_hash_seed_changes_nothing() -> None:
    code = "from cl_ner_bench.corpora.load import load_corpus; print(load_corpus('synthetic').fingerprint)"
    for seed in ("0", "1", "77"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == default().fingerprint


def test_the_card_gives_the_generators_defaults() -> None:
    assert generate(types=default().card.types) == dict(default().parts)
    assert sorted(default().card.types) == sorted(TYPES)


@pytest.mark.parametrize("size", [{"train": 20, "dev": 5, "test": 7}, {"train": 700, "dev": 210, "test": 400}])
def test_smaller_sizes_are_beginnings(size: dict[str, int]) -> None:
    small = generate(size)
    assert all(small[part] == default().parts[part][: size[part]] for part in small)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"co_occurrence": 0.0},
    {"co_occurrence": 0.82},
    {"ambiguity": 0.0, "unseen_rate": 0.0},
    {"ambiguity": 1.0, "unseen_rate": 1.0},
    {"types": ["CARDINAL"], "co_occurrence": 0.0},
    {"seed": 7},
]


@cache
def words_of(setting: int) -> dict[str, list[tuple[str, ...]]]:
    """Return the words of each sentence by part, with one of SETTINGS."""
    parts = generate({"train": 2000, "dev": 300, "test": 1500}, **SETTINGS[setting])
    return {part: [s.words for s in sentences] for part, sentences in parts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("setting", range(len(SETTINGS)))
def test_no_two_sentences_have_the_same_words(setting: int) -> None:
    written = [words for sentences in words_of(setting).values() for words in sentences]
    assert len(set(written)) == len(written)


@pytest.mark.slow
def test_no_train_sentence_is_a_test_sentence_of_another_setting() -> None:
    parts = defaultdict(set)
    for setting in range(len(SETTINGS)):
        for part, sentences in words_of(setting).items():
            parts[part] |= {*sentences}
    assert len(set().union(*parts.values())) == sum(map(len, parts.values()))


@pytest.mark.slow
def test_the_doctor_finds_nothing_at_any_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "card.toml"
    for options in ("", "co_occurrence = 0.0", "co_occurrence = 0.8", "ambiguity = 1.0", "unseen_rate = 0.0"):
        size = "size = { train = 1500, dev = 150, test = 600 }"
        card.write_text(f'reader = "synthetic"\n[reader_options]\n{size}\n{options}\n')
        assert main.main(["data", "check", str(card)]) == 0, capsys.readouterr().out


def test_names_of_training_are_not_those_that_training_never_sees() -> None:
    for seed in range(20):
        names = Names(_rng(seed, "names"))
        lists = (names.given, names.surname, names.city, names.shared, names.brand, names.group, names.letters)
        for seen, unseen in lists:
            assert len({*seen, *unseen}) == len(seen) + len(unseen)


def test_seeds_give_other_text() -> None:
    size = {"train": 30, "dev": 1, "test": 1}
    one, two = (generate(size, seed=seed)["train"] for seed in (1, 2))
    assert not {s.words for s in one} & {s.words for s in two if len(s.words) > 6}


def test_nothing_depends_on_letter_case() -> None:
    for sentences in default().parts.values():
        assert all(word == word.lower() for s in sentences for word in s.words)


def test_shape_of_the_sentences() -> None:
    for sentences in default().parts.values():
        lengths = [len(s.words) for s in sentences]
        assert min(lengths) == 3
        assert 28 <= max(lengths) <= 35
        assert len(set(lengths)) > 20
        several, empty = shares(sentences)
        assert 0.45 <= several <= 0.55
        assert 0.14 <= empty <= 0.23


def test_mentions_are_flat_and_clean() -> None:
    for sentence in default().parts["train"]:
        ends = [0] + [m.end for m in sentence.mentions]
        assert all(m.start >= end for m, end in zip(sentence.mentions, ends, strict=False))
        assert all(m.start < m.end <= len(sentence.words) for m in sentence.mentions)


def test_every_type_is_frequent() -> None:
    found = Counter(m.type for s in default().parts["train"] for m in s.mentions)
    assert sorted(found) == sorted(TYPES)
    assert min(found.values()) >= 200


def test_forms_are_shared_between_types_and_with_no_entity() -> None:
    types, outside = defaultdict(set), set()
    for s in default().parts["train"]:
        inside = {i for m in s.mentions for i in range(m.start, m.end)}
        outside |= {word for i, word in enumerate(s.words) if i not in inside}
        for m in s.mentions:
            types[surface(s, m)].add(m.type)
    pairs = Counter(tuple(sorted(t)) for t in types.values() if len(t) > 1)
    assert pairs["GPE", "ORG"] >= 10
    assert pairs["GPE", "PERSON"] >= 5
    assert pairs["CARDINAL", "DATE"] >= 1  # years
    ambiguous = {form for form, found in types.items() if len(found) > 1 or form in outside}
    mentions = [surface(s, m) for s in default().parts["train"] for m in s.mentions]
    assert 0.1 <= sum(form in ambiguous for form in mentions) / len(mentions) <= 0.5
    assert {"may", "seven", "hope"} <= outside
    assert any("seven" in form.split() for form, found in types.items() if "DATE" in found)


def rate(parts: dict[str, tuple[Sentence, ...]]) -> float:
    """The share of test names whose words are not all known from training names."""
    known = {w for s in parts["train"] for m in s.mentions for w in surface(s, m).split()}
    names = [surface(s, m) for s in parts["test"] for m in s.mentions if m.type not in ("DATE", "CARDINAL")]
    return sum(not set(name.split()) <= known for name in names) / len(names)


@pytest.mark.slow
def test_unseen_names() -> None:
    size = {"train": 1500, "dev": 1, "test": 600}
    rates = [rate(generate(size, unseen_rate=knob)) for knob in (0.0, 0.4, 1.0)]
    assert rates[0] < 0.2
    assert 0.4 < rates[1] < 0.7
    assert rates[2] > 0.9


@pytest.mark.slow
def test_ambiguity_and_co_occurrence_knobs() -> None:
    size = {"train": 1000, "dev": 1, "test": 1}

    def shared(ambiguity: float) -> int:
        types = defaultdict(set)
        for s in generate(size, ambiguity=ambiguity)["train"]:
            for m in s.mentions:
                types[surface(s, m)].add(m.type)
        return sum(len(t) > 1 for t in types.values())

    assert 2 * shared(0.0) < shared(0.5) < shared(0.9)
    for knob in (0.0, 0.2, 0.8):
        assert shares(generate(size, co_occurrence=knob)["train"])[0] == pytest.approx(knob, abs=0.04)


def test_types_knob() -> None:
    parts = generate({"train": 200, "dev": 1, "test": 1}, types=("DATE", "ORG"))
    assert {m.type for s in parts["train"] for m in s.mentions} == {"DATE", "ORG"}
    assert 0.4 < shares(parts["train"])[0] < 0.6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"types": ["PERSONS"]}, "Did you mean 'PERSON'"),
        ({"types": []}, "types': expected a list of some of PERSON"),
        ({"types": 3}, "types': expected"),
        ({"types": [3]}, "types': expected"),
        ({"types": ["ORG", "ORG"]}, "types': expected"),
        ({"types": ["ORG"]}, "co_occurrence': expected 0 for one type"),
        ({"ambiguity": 1.1}, "ambiguity': expected a number from 0 to 1, found 1.1"),
        ({"ambiguity": float("nan")}, "ambiguity': expected"),
        ({"unseen_rate": -0.1}, "unseen_rate': expected"),
        ({"unseen_rate": True}, "unseen_rate': expected"),
        ({"co_occurrence": 0.9}, "co_occurrence': expected a number from 0 to 0.82"),
        ({"co_occurrence": "x"}, "co_occurrence': expected"),
        ({"size": 3}, "size': expected"),
        ({"size": {"train": 1}}, "size.dev' is missing: expected a whole number of at least 1"),
        ({"size": {"train": 0, "dev": 1, "test": 1}}, "size.train': expected a whole number of at least 1, found 0"),
        ({"seed": "x"}, "seed': expected a whole number"),
        ({"seed": 1.5}, "seed': expected a whole number"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        generate(**options)
