"""Sub-tokens in the cache: those of the tokeniser, made once, found by content, made again where they are damaged."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders import token_cache as token_store_module
from cl_ner_bench.models.encoders.info import EncoderInfo, encoder_info
from cl_ner_bench.models.encoders.token_cache import TokenStore, Words, token_store
from cl_ner_bench.models.encoders.tokeniser import Tokeniser, Tokens
from cl_ner_bench.testing.tiny import tiny_encoder

SENTENCES: list[Words] = [("anna", "went", "to", "Paris"), (), ("electroencephalographically",) * 9, ("\x00", "北京")]


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> EncoderInfo:
    return encoder_info(str(tiny_encoder(tmp_path_factory.mktemp("tiny-bert"))))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows whenever sentences are tokenised for a store."""
    calls: list[int] = []
    tokenised = token_store_module._tokenised

    def counted(*arguments: object) -> object:
        calls.append(1)
        return tokenised(*arguments)

    monkeypatch.setattr(token_store_module, "_tokenised", counted)
    return calls


def same(found: Tokens, expected: Tokens) -> bool:
    pairs = ((found.ids, expected.ids), (found.first, expected.first))
    return found.windows == expected.windows and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@functools.cache
def tokeniser(info: EncoderInfo, max_length: int) -> Tokeniser:
    return Tokeniser(info, max_length)


def holds(store: TokenStore, sentences: list[Words], info: EncoderInfo, max_length: int) -> bool:
    expected = tokeniser(info, max_length).tokenise(sentences)
    return all(same(store[words], tokens) for words, tokens in zip(sentences, expected, strict=True))


@pytest.mark.slow
@settings(max_examples=10)
@given(
    sentences=st.lists(st.lists(st.sampled_from(["the", "Paris", "electroencephalo", "北京", "\x00"])).map(tuple)),
    max_length=st.sampled_from([8, 16, 512]),
)
def test_a_store_gives_what_the_tokeniser_gives(sentences: list[Words], max_length: int, info: EncoderInfo) -> None:
    for _ in range(2):
        store = token_store(sentences, info, max_length)
        assert list(store) == list(dict.fromkeys(sentences))
        assert holds(store, sentences, info, max_length)


@pytest.mark.slow
def test_a_second_start_reads_neither_tokenizer_nor_transformers(cache: Path, info: EncoderInfo) -> None:
    code = (
        "import sys\nfrom cl_ner_bench.models.encoders.token_cache import token_store\n"
        "from cl_ner_bench.models.encoders.info import encoder_info\n"
        f"token_store({SENTENCES!r}, encoder_info({str(info.folder)!r}), 16)\n"
        "print(sorted({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert outputs == ["['tokenizers']", "[]"]


def test_a_store_is_mapped_and_copies_nothing(cache: Path, info: EncoderInfo) -> None:
    store = token_store(SENTENCES, info, 16)
    for words in SENTENCES:
        for values in (store[words].ids, store[words].first):
            owner: object = values
            while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
                owner = owner.base
            assert isinstance(owner, np.memmap)
            assert not values.flags.writeable


@pytest.mark.slow
def test_other_content_is_another_store(cache: Path, info: EncoderInfo, tmp_path: Path, made: list[int]) -> None:
    other = tiny_encoder(tmp_path / "other")
    config = other / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"do_lower_case": true', '"do_lower_case": false'))
    wanted: list[tuple[list[Words], EncoderInfo, int]] = [
        (SENTENCES, info, 16),
        (SENTENCES, info, 8),
        (SENTENCES[:3], info, 16),
        ([("anna", "went"), ("to", "Paris"), *SENTENCES[1:]], info, 16),  # the same words, cut elsewhere
        ([("annawent", "to", "Paris"), *SENTENCES[1:]], info, 16),
        (SENTENCES, encoder_info(str(other)), 16),
    ]
    for _ in range(2):
        for sentences, encoder, max_length in wanted:
            assert holds(token_store(sentences, encoder, max_length), sentences, encoder, max_length)
    assert len(made) == len(list(cache.iterdir())) == len(wanted)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def no_array(file: Path) -> None:
    file.write_bytes(b"")


def of_objects(file: Path) -> None:
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)


def without_values(file: Path) -> None:
    np.save(file, np.empty(0, np.int32))


def of_floats(file: Path) -> None:
    np.save(file, np.load(file).view(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut_off, flip, no_array, of_objects, without_values, of_floats])
def test_a_damaged_store_is_made_again(
    damage: Callable[[Path], None], cache: Path, info: EncoderInfo, made: list[int]
) -> None:
    token_store(SENTENCES, info, 16)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    damage(file)
    with pytest.warns(UserWarning, match="damaged"):
        assert holds(token_store(SENTENCES, info, 16), SENTENCES, info, 16)
    assert len(made) == 2
    assert file.read_bytes() == whole


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_told(
    info: EncoderInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"):
        assert holds(token_store(SENTENCES, info, 16), SENTENCES, info, 16)


@pytest.mark.slow
def test_workers_that_start_together_get_the_same(cache: Path, info: EncoderInfo) -> None:
    stores: list[TokenStore] = []
    workers = [threading.Thread(target=lambda: stores.append(token_store(SENTENCES, info, 16))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(stores) == 8
    assert all(holds(store, SENTENCES, info, 16) for store in stores)
    assert len(list(cache.iterdir())) == 1  # and nothing half-written beside it


def test_a_sentence_that_cannot_be_read_is_left_to_who_uses_it(cache: Path, info: EncoderInfo) -> None:
    for _ in range(2):
        store = token_store([*SENTENCES, ("anna", "\ud800"), ("boris",)], info, 16)
        assert ("anna", "\ud800") not in store
        assert holds(store, [*SENTENCES, ("boris",)], info, 16)


def test_a_limit_that_holds_no_word_is_refused(cache: Path, info: EncoderInfo) -> None:
    with pytest.raises(UserError, match="--max-length 2"):
        token_store(SENTENCES, info, 2)


@pytest.mark.slow
def test_a_corpus_takes_few_bytes_a_sub_token(cache: Path, info: EncoderInfo) -> None:
    corpus = load_corpus("synthetic")
    sentences = [s.words for part in PARTS for s in corpus.used(part)]
    token_store(sentences, info, 512)
    tracemalloc.start()
    store = token_store(sentences, info, 512)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 * sum(store[words].size for words in sentences)
