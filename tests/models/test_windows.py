"""Long sentences: windows with overlap, and what neither windows nor words of any script may lose."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.limits import SPAN_WORDS, check_span_words
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.evaluation import dev_score, predict
from cl_ner_bench.learning.learner import Output
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.encoders import encoder as encoder_module
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import EncoderInfo, encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokeniser, Tokens, word_windows
from cl_ner_bench.models.heads.span import span_count
from cl_ner_bench.scenarios.task import StepData
from cl_ner_bench.testing.tiny import RECIPE, tiny_encoder

SCRIPTS = {
    "chinese": ["北", "京", "大学", "在", "海淀区", "。"],
    "thai": ["กรุงเทพมหานคร", "เป็น", "เมืองหลวง"],
    "arabic": ["وُلِدَ", "في", "القاهرة", "عام", "١٩٢٠"],
    "hebrew": ["שָׁלוֹם", "ירושלים", "\u200fתל־אביב"],
    "emoji": ["👩‍👩‍👧‍👦", "❤️", "🏳️‍🌈", "👍🏽"],
    "joiners": ["\u200d", "\ufe0f", "\u200b", "\u2060", "\ufeff"],
    "marks": ["e\u0301", "\u0301", "Zalgo\u0336\u0337\u0338", "\u20dd"],
    "controls": ["\x00", "\x07", "a\x00b", "\x7f", "\x85", "\u2028"],
    "private": ["\ue000", "\U0010ffff", "\ufffd", "\uffff"],
    "spaces": [" ", "\u00a0", "\u3000", "a b", "\t"],
    "specials": ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "##ing"],
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_encoder(tmp_path_factory.mktemp("tiny-bert")))


@pytest.fixture(scope="session")
def other_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tiny encoder with tokenizers of the two other families: byte-level BPE, and Unigram with word marks."""
    from transformers import PreTrainedTokenizerFast

    text = ["anna went to paris in 1990 .", "électroencéphalographie", "北京 大学"]
    specials = ["<s>", "</s>", "<unk>"]
    byte_level, unigram = Tokenizer(models.BPE()), Tokenizer(models.Unigram())
    byte_level.pre_tokenizer, byte_level.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_level.train_from_iterator(text, trainers.BpeTrainer(special_tokens=specials, initial_alphabet=alphabet))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(text, trainers.UnigramTrainer(special_tokens=specials, unk_token="<unk>"))
    folders = {}
    for name, tokenizer in (("bytes", byte_level), ("unigram", unigram)):
        tokenizer.post_processor = processors.TemplateProcessing(
            "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
        path = tiny_encoder(tmp_path_factory.mktemp(name))
        (path / "vocab.txt").unlink()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(path)
        folders[name] = str(path)
    return folders


@pytest.fixture(scope="session")
def tokenizers(
    folder: str, other_folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, EncoderInfo]:
    """Return encoders whose tokenizers are stored in different forms."""
    from transformers import RobertaTokenizer  # takes seconds: tests of these encoders are slow

    folders = {"words": folder, **other_folders}
    for name in ("cased", "old"):
        folders[name] = str(tiny_encoder(tmp_path_factory.mktemp(name)))
    config = Path(folders["cased"], "tokenizer_config.json")
    config.write_text(config.read_text().replace('"do_lower_case": true', '"do_lower_case": false'))
    Path(folders["old"], "tokenizer.json").unlink()
    vocabulary = {c: n for n, c in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pre_tokenizers.ByteLevel.alphabet()])}
    vocabulary |= {"an": len(vocabulary), "Ġan": len(vocabulary) + 1}
    roberta = RobertaTokenizer(vocab=vocabulary, merges=[("a", "n"), ("Ġ", "an")])  # spaces only between words
    folders["roberta"] = str(tiny_encoder(tmp_path_factory.mktemp("roberta")))
    roberta.save_pretrained(folders["roberta"])
    return {name: encoder_info(path) for name, path in folders.items()}


@cache
def tiny(folder: str, max_length: int) -> Encoder:
    return Encoder(encoder_info(folder), max_length).eval()


def trainer(method: str, folder: str, **recipe: Any) -> Trainer:
    card = registry.methods()[method]
    return Trainer(method_code.load_class(card), card.settings, RECIPE | recipe, folder, seed=0)


def step_of(*sentences: Sentence, types: tuple[str, ...] = ("PER",)) -> StepData:
    """One step that is learned from and selected on ``sentences``."""
    return StepData(1, types, types, sentences, sentences, types)


def vectors(encoder: Encoder, *sentences: Sequence[str]) -> torch.Tensor:
    with torch.no_grad():
        return encoder(encoder.tokeniser.tokenise(sentences))


def cut(tokens: Tokens) -> list[list[int]]:
    """The sub-tokens of each window."""
    ends = list(itertools.accumulate(tokens.windows))
    return [ids.tolist() for ids in np.split(tokens.ids, ends[:-1])]


# Windows


@given(st.lists(st.integers(1, 12), max_size=60), st.integers(12, 40))
def test_windows_hold_every_word_and_overlap_by_up_to_a_quarter(lengths: list[int], room: int) -> None:
    starts = list(itertools.accumulate(lengths, initial=0))
    windows = list(word_windows(starts, room))
    assert (windows[0][0], windows[-1][1]) == (0, len(lengths))
    assert all(starts[end] - starts[begin] <= room for begin, end in windows)
    for (begin, end), (next_begin, next_end) in itertools.pairwise(windows):
        assert begin < next_begin <= end < next_end
        assert starts[end + 1] - starts[begin] > room  # no more words fit
        overlap, reach = starts[end] - starts[next_begin], starts[end] - starts[next_begin - 1]
        assert overlap <= room // 4
        # One word more would exceed the quarter, or take the next window's first new word its room.
        assert reach > room // 4 or starts[end + 1] - starts[next_begin - 1] > room


words = st.lists(
    st.sampled_from(["the", "Paris", "electroencephalographically", "U.S.", "北京", "\x00", "x"]), max_size=50
)


@pytest.mark.slow
@given(sentence=words, max_length=st.sampled_from([8, 16, 512]))
def test_each_word_is_read_once_where_its_context_is_best(sentence: list[str], max_length: int, folder: str) -> None:
    encoder = tiny(folder, max_length)
    (tokens,) = encoder.tokeniser.tokenise([sentence])
    own = [encoder.tokeniser.tokenise([[word]])[0].ids[1:-1].tolist() for word in sentence]
    starts = list(itertools.accumulate(map(len, own), initial=0))
    windows = list(word_windows(starts, max_length - 2))
    assert len(tokens.windows) == len(windows)
    assert tokens.size == len(tokens.ids) == sum(tokens.windows)
    for ids, (begin, end) in zip(cut(tokens), windows, strict=True):
        assert len(ids) <= max_length
        assert ids == [101, *itertools.chain(*own[begin:end]), 102]
    assert len(tokens.first) == len(sentence)
    places = [(w, n) for w, length in enumerate(tokens.windows) for n in range(length)]
    for word, first in enumerate(tokens.first):
        window, n = places[first]
        begin, end = windows[window]
        assert begin <= word < end
        assert n - 1 == starts[word] - starts[begin]
        contexts = [min(starts[word] - starts[a], starts[b] - 1 - starts[word]) for a, b in windows if a <= word < b]
        assert min(n - 1, tokens.windows[window] - 2 - n) == max(contexts)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["words", "bytes", "unigram"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_word_has_the_sub_tokens_that_it_has_in_the_whole_sentence(
    script: str, family: str, folder: str, other_folders: dict[str, str]
) -> None:
    encoder = tiny(other_folders.get(family, folder), 512)
    sentence = ["anna", *SCRIPTS[script], "electroencephalographically", "."]
    (tokens,) = encoder.tokeniser.tokenise([sentence])
    whole = encoder.tokeniser.tokenizer.encode(sentence, is_pretokenized=True)
    if missing := set(range(len(sentence))).difference(whole.word_ids):
        # The normaliser left nothing of these.
        known = [
            encoder.tokeniser.tokenizer.id_to_token(encoder.tokeniser._unknown) if n in missing else w
            for n, w in enumerate(sentence)
        ]
        whole = encoder.tokeniser.tokenizer.encode(known, is_pretokenized=True)
    assert cut(tokens) == [whole.ids]
    assert tokens.first.tolist() == [whole.word_ids.index(n) for n in range(len(sentence))]
    assert vectors(encoder, sentence).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["words", "cased", "old", "bytes", "roberta", "unigram"])
def test_sub_tokens_are_those_that_transformers_gives(family: str, tokenizers: dict[str, EncoderInfo]) -> None:
    from transformers import AutoTokenizer

    info = tokenizers[family]
    reference = AutoTokenizer.from_pretrained(info.folder, add_prefix_space=True)
    tokeniser = Tokeniser(info, 512)
    for word in ["anna", "Anna", "ÉTÉ", "U.S.", "electroencephalographically", *itertools.chain(*SCRIPTS.values())]:
        (tokens,) = tokeniser.tokenise([[word]])
        expected = reference([word], is_split_into_words=True, padding=False, truncation=False)["input_ids"]
        if len(expected) == 2:  # only specials: an unknown word
            expected.insert(1, reference.unk_token_id)
        assert tokens.ids.tolist() == expected


@pytest.mark.slow
def test_a_byte_level_word_begins_with_a_space_whatever_its_file_says(
    tokenizers: dict[str, EncoderInfo], tmp_path: Path
) -> None:
    shutil.copytree(tokenizers["bytes"].folder, tmp_path / "encoder")
    file = tmp_path / "encoder" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["pre_tokenizer"]["add_prefix_space"] = False
    file.write_text(json.dumps(content))
    found, expected = (
        Tokeniser(info, 512).tokenise([["anna", "went"]])[0].ids.tolist()
        for info in (encoder_info(str(tmp_path / "encoder")), tokenizers["bytes"])
    )
    assert found == expected
    assert found[1:-1] == Tokenizer.from_file(str(file)).encode(" anna went", add_special_tokens=False).ids


@pytest.mark.slow
@pytest.mark.parametrize("family", ["words", "bytes", "unigram"])
def test_sub_tokens_need_no_transformers(family: str, tokenizers: dict[str, EncoderInfo]) -> None:
    code = (
        "import sys\nfrom cl_ner_bench.models.encoders.info import encoder_info\n"
        "from cl_ner_bench.models.encoders.tokeniser import Tokeniser\n"
        f"Tokeniser(encoder_info({str(tokenizers[family].folder)!r}), 512).tokenise([['anna']])\n"
        "sys.exit('transformers' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


@pytest.mark.slow
def test_a_stitched_vector_is_that_of_its_window_alone(folder: str) -> None:
    from transformers import AutoModel

    encoder, reference = tiny(folder, 16), AutoModel.from_pretrained(folder).eval()
    sentence = [f"{name}{n}" for n in range(20) for name in ("anna", "oslo", "x")]
    others = [["one"], ["a", "few", "words"] * 9]
    (tokens,) = encoder.tokeniser.tokenise([sentence])
    assert len(tokens.windows) == 10
    found = vectors(encoder, others[0], sentence, others[1])[1:61]
    places = [(w, n) for w, length in enumerate(tokens.windows) for n in range(length)]
    for vector, first in zip(found, tokens.first, strict=True):
        window, n = places[first]
        with torch.no_grad():
            alone = reference(torch.tensor([cut(tokens)[window]])).last_hidden_state[0, n]
        torch.testing.assert_close(vector, alone, atol=1e-5, rtol=1e-5)


def test_a_word_longer_than_a_window_loses_its_tail_only(folder: str) -> None:
    encoder = tiny(folder, 8)
    long = "electroencephalographically" * 3
    (tokens,) = encoder.tokeniser.tokenise([["anna", long, long, "boris"]])
    start = encoder.tokeniser.tokenizer.encode(long, add_special_tokens=False).ids[:6]
    short = [encoder.tokeniser.tokenise([[word]])[0].ids[1:-1].tolist() for word in ("anna", "boris")]
    assert cut(tokens) == [[101, *ids, 102] for ids in (short[0], start, start, short[1])]
    assert vectors(encoder, ["anna", long, long, "boris"]).shape == (4, 32)


@pytest.mark.slow  # checkpoints import the compiler of torch
def test_learning_piece_by_piece_gives_the_same_gradients(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(encoder_info(folder), 16).eval()
    tokens = encoder.tokeniser.tokenise([["anna", "went", "to", "oslo"] * 30, ["boris"], ["in", "1990"] * 5])
    gradients: list[dict[str, torch.Tensor]] = []
    pieces: list[list[int]] = []
    states = encoder._states

    def spy(embedded: torch.Tensor, *others: Any) -> Any:
        pieces[-1].append(len(embedded))
        return states(embedded, *others)

    monkeypatch.setattr(encoder, "_states", spy)
    for at_once in (8192, 40):
        monkeypatch.setattr(encoder_module, "_MICRO_BATCH", at_once)
        pieces.append([])
        encoder.zero_grad()
        encoder(tokens).square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None})
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)
    assert max(pieces[0]) > 100
    assert max(pieces[1]) <= 40
    assert all(calls % 2 == 0 for calls in Counter(pieces[1]).values())  # forward, and again in backward


def test_a_limit_that_holds_no_word_is_refused(folder: str) -> None:
    with pytest.raises(UserError, match="--max-length 2"):
        Tokeniser(encoder_info(folder), 2)


# Scripts


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12))
def test_a_word_of_any_characters_has_a_vector(folder: str, sentence: list[str]) -> None:
    found = vectors(tiny(folder, 16), sentence)
    assert found.shape == (len(sentence), 32)
    assert found.isfinite().all()


@pytest.mark.parametrize("word", ["\ud800", "a\udc00b", "\udfff\ud800"])
def test_half_a_character_is_refused_by_name(word: str, folder: str) -> None:
    with pytest.raises(UserError, match="half a character") as refusal:
        tiny(folder, 16).tokeniser.tokenise([["anna", word]])
    assert ascii(word) in str(refusal.value)
    str(refusal.value).encode()  # can be printed


def test_a_word_without_sub_tokens_is_refused_where_nothing_is_unknown(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(encoder_info(folder))
    monkeypatch.setattr(encoder.tokeniser, "_unknown", None)
    with pytest.raises(UserError, match=r"the word '\\u200b' no sub-token"):
        encoder.tokeniser.tokenise([["anna", "\u200b"]])


# Learning


END = Sentence(0, ("x",) * 58 + ("anna", "."), (Mention(58, 59, "PER"),))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["finetune-span", "finetune-token"])
def test_a_mention_at_the_end_of_a_long_sentence_is_learned(method: str, folder: str) -> None:
    t = trainer(method, folder, max_length=16, epochs=40, lr=3e-3)
    assert len(t._examples([END], "train")[0].tokens.windows) > 3
    record = t.learn(step_of(END, Sentence(1, ("boris", "went"), (Mention(0, 1, "PER"),))))
    assert max(record["dev_scores"]) == 100
    assert record["remarks"] == []
    assert [[tuple(p[:3]) for p in ps] for ps in t.predict([END.only(())])] == [[(58, 59, "PER")]]


@pytest.mark.parametrize("method", ["finetune-span", "finetune-token"])
def test_mentions_anywhere_in_1500_words_count_in_targets_loss_and_dev_score(
    method: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mentions = (Mention(0, 1, "A"), Mention(2, 9, "B"), *(Mention(n, n + 2, "A") for n in range(10, 1490, 37)))
    mentions += (Mention(1497, 1498, "B"), Mention(1498, 1500, "A"))
    long = Sentence(0, ("w",) * 1500, mentions)
    t = trainer(method, folder, dropout=0.0)
    t._grow(("A", "B"))
    examples = t._examples([long, Sentence(1, ("w",) * 3, (Mention(2, 3, "A"),))], "dev")

    def without(hidden: tuple[Mention, ...], batch: Sequence[Example]) -> Batch:
        kept = [tuple(m for m in e.sentence.mentions if m not in hidden) for e in batch]
        return Batch(
            tuple(replace(e, sentence=replace(e.sentence, mentions=m)) for e, m in zip(batch, kept, strict=True))
        )

    def oracle(batch: Batch) -> Output:
        if method == "finetune-span":
            logits = torch.full((sum(map(span_count, batch.lengths)), 2), -30.0)
            logits[batch.span_gold(("A", "B"))] = 30.0
            return Output(logits)
        return Output(60 * torch.nn.functional.one_hot(batch.tag_targets(("A", "B")), 5).float())

    whole, less = Batch(tuple(examples)), without(mentions[-1:], examples)
    with torch.no_grad():
        output = t.learner(whole)
    assert output.logits.shape == oracle(whole).logits.shape
    losses = [sum(t.learner.losses(batch, oracle(whole), None).values()) for batch in (whole, less)]
    assert 100 * losses[0] < losses[1]
    # Of A 43 mentions are gold.
    for hidden, expected in (((), 100), (mentions[-1:], pytest.approx(50 + 50 * 2 * 42 / 85))):
        monkeypatch.setattr(t.learner, "forward", lambda batch, hidden=hidden: oracle(without(hidden, batch.examples)))
        predicted = predict(t.learner, examples, ("A", "B"), False, lambda _: None)
        assert dev_score([e.sentence for e in examples], predicted, ("A", "B"), "macro") == expected


@pytest.mark.slow
def test_tag_methods_take_10_000_words(folder: str) -> None:
    long = Sentence(0, ("the",) * 9999 + ("anna",), (Mention(9999, 10000, "PER"),))
    t = trainer("extendner", folder, epochs=1)
    record = t.learn(step_of(long))
    assert record["dev_scores"][0] is not None
    t._grow(("PER", "LOC"))
    (found,) = t.predict([long])
    assert all(0 <= p.start < p.end <= 10000 for p in found)


@pytest.mark.parametrize("method", ["finetune-span", "finetune-token"])
def test_a_sentence_without_words_has_no_mentions(method: str, folder: str) -> None:
    t = trainer(method, folder)
    t._grow(("PER",))
    assert t.predict([Sentence(0, ())]) == [[]]
    assert len(t.predict([Sentence(0, ("anna",)), Sentence(1, ()), Sentence(2, ("oslo",))])) == 3


# What span methods cannot take


def test_the_limit_of_span_methods_names_the_sentence() -> None:
    fits, long = Sentence(6, ("w",) * SPAN_WORDS), Sentence(7, ("w",) * (SPAN_WORDS + 1))
    check_span_words([fits], "train")
    with pytest.raises(UserError, match=r"Sentence 7 \(dev\) has 2,001 words.*at most 2,000") as refusal:
        check_span_words([fits, long], "dev")
    assert "'token'" in str(refusal.value)
    with pytest.raises(UserError, match=r"Sentence 6 \(test\) has 2,000 words.*at most 10"):
        check_span_words([fits], "test", 10)


def test_a_span_learner_refuses_a_sentence_above_the_limit(folder: str) -> None:
    long = Sentence(7, ("w",) * (SPAN_WORDS + 1))
    step = step_of(Sentence(0, ("anna",), (Mention(0, 1, "PER"),)))
    t = trainer("spankl", folder, epochs=1)
    for part in ("train", "dev"):
        with pytest.raises(UserError, match=rf"Sentence 7 \({part}\)"):
            t.learn(replace(step, **{part: (long,)}))
    t.learn(replace(step, dev=(long,), selection="last"))  # dev is never read
    with pytest.raises(UserError, match=r"Sentence 7 \(to predict\)"):
        t.predict([long])


@pytest.mark.slow
def test_limits_need_no_torch() -> None:
    code = "import sys, cl_ner_bench.corpora.limits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_sub_tokens_of_endless_words_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tokeniser = Tokeniser(encoder_info("minilm"), 128)
    (expected,) = tokeniser.tokenise([["Oslo", "w1"]])
    monkeypatch.setattr("cl_ner_bench.models.encoders.tokeniser.KNOWN_WORDS", 10)
    for n in range(50):
        tokeniser.tokenise([[f"w{n}", f"w{n + 1}"]])
        assert len(tokeniser._pieces) <= 12
    (found,) = tokeniser.tokenise([["Oslo", "w1"]])
    assert found.ids.tolist() == expected.ids.tolist()
