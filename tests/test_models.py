"""Encoder, heads, losses and decoding against brute force and the values that the SpanKL paper's code gives."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from cl_ner_bench.learning.streams import generator
from cl_ner_bench.models.decoding import decode_spans, decode_tags, viterbi, without_overlap
from cl_ner_bench.models.encoder import Encoder, length_groups
from cl_ner_bench.models.encoder_info import encoder_info
from cl_ner_bench.models.losses import bernoulli_kl, categorical_kl
from cl_ner_bench.models.span_head import SpanHead, span_count, span_index
from cl_ner_bench.models.tag_head import TagHead
from tests.tiny import tiny_encoder


def init(type: str) -> torch.Generator:
    return generator(0, type)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder(encoder_info("minilm")).eval()


# Losses


@pytest.mark.parametrize(("teacher", "student", "expected"), [(2, 0, 0.327813), (-3, 0, 0.502282), (0, 2, 0.433781)])
def test_bernoulli_kl_has_the_values_of_the_original_code(teacher: float, student: float, expected: float) -> None:
    value = bernoulli_kl(torch.tensor([float(teacher)]), torch.tensor([float(student)]))
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_distillation_is_zero_where_student_equals_teacher() -> None:
    logits = torch.randn(50, 7) * 20
    assert bernoulli_kl(logits, logits).abs().max() == 0
    assert categorical_kl(logits, logits).abs().max() < 1e-6


def test_categorical_kl_gives_new_tags_no_teacher_mass() -> None:
    teacher, student = torch.randn(9, 3), torch.randn(9, 5)
    padded = torch.cat([teacher, torch.full((9, 2), -1e8)], dim=1)
    p, log_p, log_q = padded.softmax(1), padded.log_softmax(1), student.log_softmax(1)
    expected = torch.where(p > 0, p * (log_p - log_q), 0).sum(1)
    torch.testing.assert_close(categorical_kl(teacher, student), expected)
    warm = categorical_kl(teacher, student, 2.0)
    torch.testing.assert_close(warm, categorical_kl(teacher / 2, student / 2))
    # By hand: p = (1/2, 1/2), q = (1/4, 1/4, 1/2): KL = ln 2.
    by_hand = categorical_kl(torch.zeros(1, 2), torch.tensor([[0.25, 0.25, 0.5]]).log())
    assert by_hand.item() == pytest.approx(math.log(2))


# Heads


def test_span_head_scores_every_pair_of_words_row_major() -> None:
    head, lengths = SpanHead(16), [3, 1, 5]
    head.grow(["A", "B"], init)
    head.grow(["C"], init)
    words = torch.randn(9, 16)
    logits = head(words, lengths)
    assert logits.shape == (6 + 1 + 15, 3)
    projected = torch.cat([block(words) for block in head.blocks], 1).view(9, 3, 2, 50)
    row = 0
    for length, offset in zip(lengths, (0, 3, 4), strict=True):
        for i in range(length):
            for j in range(i, length):
                expected = (projected[offset + i, :, 0] * projected[offset + j, :, 1]).sum(1) / math.sqrt(50)
                torch.testing.assert_close(logits[row], expected)
                row += 1


def test_span_index_enumerates_the_spans() -> None:
    for n in range(1, 9):
        assert [span_index(i, j, n) for i in range(n) for j in range(i + 1, n + 1)] == list(range(span_count(n)))


@pytest.mark.parametrize("kind", [SpanHead, TagHead])
def test_growth_keeps_old_columns_and_a_type_starts_alike_in_any_order(kind: type[SpanHead | TagHead]) -> None:
    words = torch.randn(4, 16)
    one, two = kind(16), kind(16)
    one.grow(["A", "B"], init)
    before = one(words, [4])
    one.grow(["C"], init)
    torch.testing.assert_close(one(words, [4])[:, : before.shape[1]], before)
    two.grow(["C"], init)
    two.grow(["A", "B"], init)
    width = 2 if kind is TagHead else 1
    torch.testing.assert_close(one(words, [4])[:, -width:], two(words, [4])[:, before.shape[1] % width :][:, :width])
    assert one.types == ("A", "B", "C")


def test_span_head_starts_kaiming_normal_with_zero_biases() -> None:
    head = SpanHead(384)
    head.grow([f"T{i}" for i in range(20)], init)
    block = head.blocks[0]
    assert block.weight.std().item() == pytest.approx(math.sqrt(2 / 384), rel=0.01)
    assert block.bias.abs().max() == 0


# Decoding


def test_overlapping_spans_are_flattened_by_score_as_in_the_original() -> None:
    starts, ends, scores = np.array([(0, 2, 0.9), (4, 4, 0.6), (2, 3, 0.95), (4, 5, 0.6)]).T
    assert without_overlap(starts, ends, scores) == [2, 1]


def test_span_decoding_takes_what_is_at_least_a_half() -> None:
    logits = torch.full((span_count(3) + span_count(2), 2), -1.0)
    logits[span_index(0, 2, 3), 1] = 0.0  # exactly a half
    logits[span_index(1, 3, 3), 0] = 3.0
    logits[span_count(3) + span_index(1, 2, 2), 0] = 2.0
    assert [[p[:3] for p in s] for s in decode_spans(logits, [3, 2], "AB")] == [[(1, 3, "A")], [(1, 2, "A")]]
    nested = decode_spans(logits, [3, 2], "AB", nested=True)
    assert [p[:3] for p in nested[0]] == [(0, 2, "B"), (1, 3, "A")]


def legal(path: tuple[int, ...]) -> bool:
    return all(t == 0 or t % 2 or (n and path[n - 1] in (t - 1, t)) for n, t in enumerate(path))


def test_viterbi_finds_the_best_legal_sequence() -> None:
    random = np.random.default_rng(0)
    differs_from_argmax = 0
    for words, types in itertools.product((1, 2, 3, 4, 5), (1, 2)):
        for _ in range(30):
            scores = np.log(random.dirichlet(np.ones(1 + 2 * types), size=words))
            paths = [p for p in itertools.product(range(1 + 2 * types), repeat=words) if legal(p)]
            best = max(paths, key=lambda p: sum(scores[n, t] for n, t in enumerate(p)))
            assert tuple(viterbi(scores)) == best
            differs_from_argmax += tuple(scores.argmax(1)) != best
    assert differs_from_argmax > 100


def test_tag_decoding_reads_mentions_with_the_product_of_their_probabilities() -> None:
    probability = torch.tensor([[0.1, 0.7, 0.2], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2], [0.9, 0.05, 0.05]])
    (found,) = decode_tags(probability.log(), [4], ["A"])
    assert [p[:3] for p in found] == [(0, 2, "A"), (2, 3, "A")]
    assert [p.score for p in found] == pytest.approx([0.56, 0.6])


# Encoder


def test_a_word_is_read_at_its_own_first_sub_token(minilm: Encoder) -> None:
    words = ["Unbelievably", ",", "McMahon", "'s", "electroencephalograph", "broke", "."]
    (tokens,) = minilm.tokeniser.tokenise([words])
    pieces = [minilm.tokeniser.tokenizer.id_to_token(i) for i in tokens.windows[0]]
    assert pieces[0] == "[CLS]"
    assert pieces[-1] == "[SEP]"
    assert len(pieces) > len(words) + 5  # several words fall into pieces
    for word, position in zip(words, tokens.first, strict=True):
        assert word.lower().startswith(pieces[position])


@pytest.mark.parametrize("n", [3, 300])
def test_the_tokenizer_neither_pads_nor_cuts(minilm: Encoder, n: int) -> None:
    (tokens,) = minilm.tokeniser.tokenise([["the"] * n])
    assert [len(window) for window in tokens.windows] == [n + 2]
    assert tokens.first == tuple(range(1, n + 1))


def test_a_word_that_the_normaliser_swallows_is_an_unknown_word(minilm: Encoder) -> None:
    (tokens,) = minilm.tokeniser.tokenise([["a", "\u200b", "b"]])
    assert len(tokens.first) == 3
    assert minilm.tokeniser.tokenizer.id_to_token(tokens.windows[0][tokens.first[1]]) == "[UNK]"


def test_word_vectors_do_not_depend_on_batch_mates(minilm: Encoder) -> None:
    sentences = [
        ["one"],
        ["a", "sentence", "of", "several", "words"],
        ["the"] * 70,
        ["yet", "another", "one", ",", "longer"],
    ]
    tokens = minilm.tokeniser.tokenise(sentences)
    with torch.no_grad():
        together = minilm(tokens).split([len(s) for s in sentences])
        for alone, vectors in zip(tokens, together, strict=True):
            torch.testing.assert_close(minilm([alone]), vectors, atol=1e-5, rtol=1e-5)
            ids = torch.tensor(alone.windows)
            plain = minilm.backbone(ids).last_hidden_state[0, list(alone.first)]
            torch.testing.assert_close(vectors, plain, atol=1e-5, rtol=1e-5)


def test_length_groups_are_the_cheapest() -> None:
    def cost(groups: list[list[int]]) -> int:
        return sum(len(g) * g[-1] + 32 for g in groups)

    random = np.random.default_rng(1)
    for _ in range(50):
        lengths = sorted(random.integers(1, 120, size=6).tolist())
        found = [lengths[s] for s in length_groups(lengths)]
        assert list(itertools.chain(*found)) == lengths
        every = []
        for cuts in itertools.product((False, True), repeat=5):
            edges = [0, *(n + 1 for n, cut in enumerate(cuts) if cut), 6]
            every.append([lengths[a:b] for a, b in itertools.pairwise(edges)])
        assert cost(found) == min(map(cost, every))


def test_minilm_is_known_as_uncased() -> None:
    info = encoder_info("minilm")
    assert info.uncased
    assert info.hidden_size == 384


def test_an_encoder_is_known_by_all_that_its_tokens_depend_on(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny_encoder(tmp_path / name)
    one, two = (encoder_info(str(tmp_path / name)) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    encoder_info.cache_clear()
    file = tmp_path / "two" / "tokenizer_config.json"
    file.write_text(file.read_text().replace('"do_lower_case": true', '"do_lower_case": false'))
    two = encoder_info(str(tmp_path / "two"))
    assert (one.uncased, two.uncased) == (True, False)
    assert one.fingerprint != two.fingerprint


def test_half_precision_checkpoints_are_learned_in_full(tmp_path: Path) -> None:
    tiny_encoder(tmp_path)
    BertModel.from_pretrained(tmp_path, dtype=torch.float16).save_pretrained(tmp_path)
    assert {p.dtype for p in Encoder(encoder_info(str(tmp_path))).parameters()} == {torch.float32}
