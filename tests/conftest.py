"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence

# Cases are checked, not timed: machines differ.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests write no cache but their own."""
    os.environ["CL_NER_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def real_data() -> Path:
    """The folder of real corpora; without it a test is skipped, in CI it fails."""
    folder = os.environ.get("CL_NER_BENCH_DATA")
    if folder:
        return Path(folder)
    message = "CL_NER_BENCH_DATA names no folder of real corpora (fewnerd, ontonotes, wnut17)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes with one thread, as a worker does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_corpus() -> Callable[..., Corpus]:
    """A corpus from types: sentence i of each part has one one-word mention for each type in ``rows[i]``."""

    def make(rows: list[str], tasks: dict[str, tuple[str, ...]], orders: tuple[tuple[int, ...], ...] = ()) -> Corpus:
        sentences = []
        for i, row in enumerate(rows):
            types = row.split()
            words = tuple(f"w{i}.{k}" for k in range(len(types))) or ("none",)
            sentences.append(Sentence(i, words, tuple(Mention(k, k + 1, t) for k, t in enumerate(types))))
        card = Card("toy", "Toy", tasks, orders)
        return Corpus(card, dict.fromkeys(("train", "dev", "test"), tuple(sentences)), "made up")

    return make
