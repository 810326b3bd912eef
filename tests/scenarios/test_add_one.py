"""The scenario `add-one`: each type in turn is the newcomer, learned last, from a slice of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.scenarios.protocol import find_scenario
from cl_ner_bench.scenarios.split import make_split, orders, parse_orders
from cl_ner_bench.scenarios.statistics import fewer_shots
from cl_ner_bench.scenarios.task import TaskSplit

Make = Callable[..., Corpus]
TYPES = ("GPE", "LOC", "ORG", "PER")  # in alphabetical order
TASKS = {"people": ("PER",), "places": ("LOC", "GPE"), "others": ("ORG",)}


@pytest.fixture
def corpus(make_corpus: Make) -> Corpus:
    rows = [f"{TYPES[i % 4]} {TYPES[i // 4 % 4]}" if i % 5 else "" for i in range(43)]
    return make_corpus(rows, TASKS, ((0, 1, 2), (2, 0, 1)))


def newcomers(corpus: Corpus, scenario: str = "add-one") -> list[TaskSplit]:
    return [make_split(corpus, scenario, order) for order in parse_orders("all", corpus, scenario)]


def test_each_type_and_not_each_task_is_the_newcomer_of_one_order(corpus: Corpus) -> None:
    assert orders(corpus, "add-one") == 4
    for new, split in zip(TYPES, newcomers(corpus), strict=True):
        others = tuple(t for t in TYPES if t != new)
        assert [(t.name, t.types) for t in split.tasks] == [(f"all but {new}", others), (new, (new,))]
    with pytest.raises(UserError, match=r"no order 4; the dataset has 0..3"):
        make_split(corpus, "add-one", 4)


def test_newcomers_have_the_slices_of_split_and_the_other_types_all_other_sentences(make_corpus: Make) -> None:
    alone = make_corpus([*TYPES] * 11, {t: (t,) for t in TYPES})  # here `split` gives a type what `add-one` gives it
    slices = make_split(alone, "split").tasks
    for own, split in zip(slices, newcomers(alone), strict=True):
        others, new = split.tasks
        assert (new.train, new.dev) == (own.train, own.dev)
        assert sorted((*others.train, *new.train)) == list(alone.ids("train"))
        assert sorted((*others.dev, *new.dev)) == list(alone.ids("dev"))


@pytest.mark.parametrize("shots", [1, 3])
def test_the_newcomer_has_so_many_mentions_and_the_other_types_no_sentence_more(corpus: Corpus, shots: int) -> None:
    for whole, split in zip(newcomers(corpus), newcomers(corpus, f"add-one-k{shots}"), strict=True):
        (others, new), (same, slice_) = split.tasks, whole.tasks
        assert others == same
        assert set(new.train) < set(slice_.train)
        assert new.dev == slice_.dev
        per_sentence = [sum(m.type == new.name for m in corpus.parts["train"][i].mentions) for i in new.train]
        assert all(per_sentence)
        assert shots <= sum(per_sentence) <= shots + 1  # a sentence has two at the most


def test_a_slice_without_so_many_mentions_is_named_with_its_count(corpus: Corpus) -> None:
    splits = newcomers(corpus, "add-one-k90")
    held = {
        s.tasks[1].name: sum(
            m.type == s.tasks[1].name for i in s.tasks[1].train for m in corpus.parts["train"][i].mentions
        )
        for s in splits
    }
    counts = ", ".join(f"{type_} {n}" for type_, n in held.items())
    said = f"fewer than 90 mentions of the new type, because its slice holds no more: {counts}"
    assert fewer_shots(corpus, splits) == [said]
    assert fewer_shots(corpus, newcomers(corpus)) == []


def test_one_type_alone_has_no_others(make_corpus: Make) -> None:
    with pytest.raises(UserError, match="has one type; it needs one more"):
        make_split(make_corpus(["PER"] * 4, {"PER": ("PER",)}), "add-one")


@pytest.mark.parametrize("name", ["add-one-k0", "add-one-k", "add-one-5"])
def test_names_that_are_none(corpus: Corpus, name: str) -> None:
    with pytest.raises(UserError, match="add-one, add-one-kN"):
        find_scenario(name, corpus.card)


def test_a_file_may_begin_with_it(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('like = "add-one-k2"\ndev = "whole"\n')
    split = make_split(corpus, str(file), 3)
    assert split.scenario == "mine"
    assert split.order_of == "newcomer"
    assert split.tasks[1].train == make_split(corpus, "add-one-k2", 3).tasks[1].train
    assert split.tasks[1].dev == corpus.ids("dev")
    file.write_text('like = "add-one"\n[[tasks]]\ntypes = ["PER"]\n')
    with pytest.raises(UserError, match="key 'tasks'"):
        make_split(corpus, str(file))
