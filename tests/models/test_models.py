"""Encoder, heads, losses and decoding against brute force and the values that the SpanKL paper's code gives."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cl_ner_bench.learning.random_streams import generator
from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.unpadded import length_groups
from cl_ner_bench.models.heads import span
from cl_ner_bench.models.heads.span import SpanHead, span_count, span_index
from cl_ner_bench.models.heads.tag import TagHead
from cl_ner_bench.models.losses import bernoulli_ce, bernoulli_kl, categorical_kl
from cl_ner_bench.testing.tiny import tiny_encoder


def init(type: str) -> torch.Generator:
    return generator(0, type)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder(encoder_info("minilm")).eval()


# Losses


@pytest.mark.parametrize(("teacher", "student", "expected"), [(2, 0, 0.327813), (-3, 0, 0.502282), (0, 2, 0.433781)])
def test_bernoulli_kl_has_the_values_of_the_original_code(teacher: float, student: float, expected: float) -> None:
    value = bernoulli_kl(torch.tensor([[float(teacher)]]), torch.tensor([[float(student)]]))
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_distillation_is_zero_where_student_equals_teacher() -> None:
    logits = torch.randn(50, 7) * 20
    assert bernoulli_kl(logits, logits).abs().max() == 0
    assert categorical_kl(logits, logits).abs().max() < 1e-6


def test_bernoulli_losses_and_their_gradients_are_those_of_the_formulas() -> None:
    teacher, logits = torch.randn(40, 5) * 4, (torch.randn(40, 5) * 4).requires_grad_()
    target = torch.zeros(40, 5)
    rows, columns = torch.tensor([0, 7, 7, 39]), torch.tensor([4, 0, 1, 2])
    target[rows, columns] = 1
    p, q = teacher.double().sigmoid(), logits.double().sigmoid()
    weight = torch.arange(1.0, 6.0)
    for found, expected in (
        (bernoulli_ce(logits, rows, columns), -(target * q.log() + (1 - target) * (1 - q).log()).sum(0)),
        (bernoulli_kl(teacher, logits), (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(0)),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, check_dtype=False)
        gradients = [
            torch.autograd.grad((loss * weight).sum(), logits, retain_graph=True)[0] for loss in (found, expected)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


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


@pytest.mark.slow
@pytest.mark.parametrize("width", [0, 1, 4, 12, 40, 200])
@pytest.mark.parametrize("lengths", [[3, 1, 5], [1], [40, 2, 70, 33]])
def test_span_head_scores_every_pair_of_words_row_major(lengths: list[int], width: int) -> None:
    head = SpanHead(16, width)
    head.grow(["A", "B"], init)
    head.grow(["C"], init)
    words = torch.randn(sum(lengths), 16, requires_grad=True)
    logits = head(words, lengths)
    assert logits.T.is_contiguous()
    projected = torch.cat([block(words) for block in head.blocks], 1).view(-1, 3, 2, 50)
    expected = [
        projected[offset + i, :, 0] * projected[offset + j, :, 1]
        for length, offset in zip(lengths, itertools.accumulate(lengths, initial=0), strict=False)
        for i in range(length)
        for j in range(i, min(length, i + (width or length)))
    ]
    scores = torch.stack(expected).sum(2) / math.sqrt(50)
    torch.testing.assert_close(logits, scores)
    wanted = [words, *head.parameters()]
    weight = torch.randn(scores.shape)
    for found, reference in zip(
        *(torch.autograd.grad((s * weight).sum(), wanted) for s in (logits, scores)), strict=True
    ):
        torch.testing.assert_close(found, reference, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("width", [0, 4, 40])
def test_spans_copied_in_runs_and_spans_picked_are_the_same_bits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, found = [40, 2, 70, 33], []
    projections, weight = (
        torch.randn(sum(lengths), 3, 2, 50),
        torch.randn(3, sum(span_count(n, width) for n in lengths)),
    )
    for long in (0, 1 << 30):
        monkeypatch.setattr(span, "_LONG", long)
        parts = projections.clone().requires_grad_()
        scores = span._Scores.apply(parts, lengths, width)
        found.append((scores, *torch.autograd.grad((scores * weight).sum(), parts)))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("width", [0, 1, 3, 8, 20])
def test_span_index_enumerates_the_spans(width: int) -> None:
    for n in range(1, 12):
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n + 1) if j - i <= (width or n)]
        assert [span_index(i, j, n, width) for i, j in pairs] == list(range(span_count(n, width)))


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


def test_a_span_prior_moves_all_logits_of_new_types_alike_and_leaves_old_ones() -> None:
    lengths, words = [5, 3], torch.randn(8, 384)
    plain, moved = SpanHead(384), SpanHead(384, prior=0.01)
    for head in (plain, moved):
        head.grow(["A", "B"], init)
        for block in head.blocks:  # what the other coordinates say is the same in both
            block.weight.data.view(2, 2, 50, 384)[:, :, 0] = 0
    logits = moved(words, lengths)
    torch.testing.assert_close(logits - plain(words, lengths), torch.full_like(logits, math.log(0.01 / 0.99)))
    moved.grow(["C"], init)
    torch.testing.assert_close(moved(words, lengths)[:, :2], logits)
    assert torch.sigmoid(moved(words * 0, lengths)).allclose(torch.tensor(0.01))


# Encoder


@pytest.mark.slow
def test_a_word_is_read_at_its_own_first_sub_token(minilm: Encoder) -> None:
    words = ["Unbelievably", ",", "McMahon", "'s", "electroencephalograph", "broke", "."]
    (tokens,) = minilm.tokeniser.tokenise([words])
    pieces = [minilm.tokeniser.tokenizer.id_to_token(i) for i in tokens.ids]
    assert pieces[0] == "[CLS]"
    assert pieces[-1] == "[SEP]"
    assert len(pieces) > len(words) + 5  # several words fall into pieces
    for word, position in zip(words, tokens.first, strict=True):
        assert word.lower().startswith(pieces[position])


@pytest.mark.parametrize("n", [3, 300])
def test_the_tokenizer_neither_pads_nor_cuts(minilm: Encoder, n: int) -> None:
    (tokens,) = minilm.tokeniser.tokenise([["the"] * n])
    assert tokens.windows == (n + 2,)
    assert tokens.first.tolist() == list(range(1, n + 1))


def test_a_word_that_the_normaliser_swallows_is_an_unknown_word(minilm: Encoder) -> None:
    (tokens,) = minilm.tokeniser.tokenise([["a", "\u200b", "b"]])
    assert len(tokens.first) == 3
    assert minilm.tokeniser.tokenizer.id_to_token(tokens.ids[tokens.first[1]]) == "[UNK]"


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


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    masks, n = Dropout(1), 1_000_000
    for p, type in ((0.1, torch.float32), (0.5, torch.bfloat16), (0.013, torch.float32)):
        found = masks(torch.ones(1000, 1000, dtype=type), p).float()
        dropped = (found == 0).float()
        assert abs(dropped.mean().item() - p) < 5 * math.sqrt(p * (1 - p) / n)
        assert found.mean().item() == pytest.approx(
            1, abs=5 * math.sqrt(p / (1 - p) / n) + (type is torch.bfloat16) * 2e-3
        )
        shares = dropped.mean(0), dropped.mean(1), dropped.view(-1, 4).mean(0)  # no column, row or lane of its own
        assert all((s - p).abs().max() < 6 * math.sqrt(p * (1 - p) * len(s) / n) for s in shares)
    assert torch.equal(Dropout(7)(torch.ones(99), 0.3), Dropout(7)(torch.ones(99), 0.3))
    assert masks(values := torch.ones(3), 0.0) is values


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
    file = tmp_path / "model.safetensors"
    save_file({name: values.half() for name, values in load_file(file).items()}, file, {"format": "pt"})
    assert {p.dtype for p in Encoder(encoder_info(str(tmp_path))).parameters()} == {torch.float32}
