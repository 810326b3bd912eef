"""Encoder, heads, losses and decoding against brute force and the values that the SpanKL paper's code gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, ElectraConfig, RobertaConfig

from cl_ner_bench.learning.random_streams import generator
from cl_ner_bench.models.encoders.bert import Bert
from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokens
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
    reference = AutoModel.from_pretrained(minilm.info.folder).eval()
    with torch.no_grad():
        together = minilm(tokens).split([len(s) for s in sentences])
        for alone, vectors in zip(tokens, together, strict=True):
            torch.testing.assert_close(minilm([alone]), vectors, atol=1e-5, rtol=1e-5)
            ids = torch.tensor(alone.ids)[None]
            plain = reference(ids).last_hidden_state[0, alone.first]
            torch.testing.assert_close(vectors, plain, atol=1e-5, rtol=1e-5)


SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
ENCODERS = {
    "bert": BertConfig(**SIZES, initializer_range=0.5),
    "roberta": RobertaConfig(**SIZES, initializer_range=0.5, type_vocab_size=1),
    "electra": ElectraConfig(**SIZES, initializer_range=0.5, embedding_size=16),
    "distilbert": DistilBertConfig(vocab_size=50, dim=32, n_heads=2, n_layers=2, hidden_dim=64, initializer_range=0.5),
}


@pytest.mark.parametrize("family", ENCODERS)
def test_without_padding_every_encoder_gives_what_it_gives_for_a_window_alone(family: str, tmp_path: Path) -> None:
    """BERT and RoBERTa by our forward pass, any other by its own over groups of similar length."""
    torch.manual_seed(0)
    AutoModel.from_config(ENCODERS[family]).save_pretrained(tmp_path)
    reference = AutoModel.from_pretrained(tmp_path).eval()
    encoder = Encoder(encoder_info(str(tmp_path))).eval()
    assert isinstance(encoder.backbone, Bert) == (family in ("bert", "roberta"))
    windows = [3, 9, 1, 9, 40, 2, 8]
    ids = [torch.randint(2, 50, (n,)) for n in windows]
    weight = torch.randn(sum(windows), 32)
    (found,), _ = encoder._states(encoder._look_up(torch.cat(ids).numpy()), windows)
    expected = torch.cat([reference(i[None]).last_hidden_state[0] for i in ids])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    pairs = [(p.grad, reference.get_parameter(n).grad) for n, p in encoder.backbone.named_parameters()]
    assert all((one is None) == (other is None) for one, other in pairs)
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    difference = torch.stack([(one - other).norm() for one, other in both]).norm()
    assert difference < 1e-5 * torch.stack([other.norm() for _, other in both]).norm()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_longest_window_is_the_last_one_with_a_place(family: str, tmp_path: Path) -> None:
    AutoModel.from_config(ENCODERS[family]).save_pretrained(tmp_path)
    encoder = Encoder(encoder_info(str(tmp_path))).eval()
    longest = encoder.info.longest
    assert longest is not None
    assert encoder._states(encoder._look_up(np.ones(longest, dtype=int)), [longest])[0][0].isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        encoder._states(encoder._look_up(np.ones(longest + 1, dtype=int)), [longest + 1])


@pytest.mark.parametrize("family", ENCODERS)
def test_layers_and_attentions_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    AutoModel.from_config(ENCODERS[family]).save_pretrained(tmp_path)
    reference = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    encoder = Encoder(encoder_info(str(tmp_path))).eval()
    sentences = [torch.randint(2, 50, (n,)).numpy() for n in (3, 9, 1, 20, 4)]
    batch = [Tokens(ids.astype(np.int32), (len(ids),), np.arange(len(ids), dtype=np.int32)) for ids in sentences]
    with torch.no_grad():
        found = encoder.encode(batch, layers=True, attentions=True)
        expected = [
            reference(torch.from_numpy(ids)[None], output_hidden_states=True, output_attentions=True)
            for ids in sentences
        ]
        assert torch.equal(found.words, found.layers[-1])
        torch.testing.assert_close(found.words, encoder(batch), rtol=1e-4, atol=1e-5)
    assert len(found.layers) == 3
    for number, states in enumerate(found.layers):
        torch.testing.assert_close(
            states, torch.cat([e.hidden_states[number][0] for e in expected]), rtol=1e-4, atol=1e-5
        )
    assert [len(maps) for maps in found.attentions] == [5, 5]
    for number, maps in enumerate(found.attentions):
        for ours, theirs in zip(maps, expected, strict=True):
            torch.testing.assert_close(ours, theirs.attentions[number][0], rtol=1e-4, atol=1e-5)


class Lora(nn.Module):
    """A low-rank adapter around a linear layer or a table, which still shows their weights, as PEFT's do."""

    def __init__(self, base: nn.Linear | nn.Embedding) -> None:
        super().__init__()
        rows, columns = base.weight.shape
        self.base = base
        self.down, self.up = nn.Parameter(torch.randn(columns, 2)), nn.Parameter(torch.randn(rows, 2))

    def __getattr__(self, name: str) -> Any:
        return getattr(super().__getattr__("base"), name) if name in ("weight", "bias") else super().__getattr__(name)

    def forward(self, inputs: Tensor) -> Tensor:
        change = (
            self.up[inputs] @ self.down.T if isinstance(self.base, nn.Embedding) else inputs @ self.down @ self.up.T
        )
        return self.base(inputs) + change


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    AutoModel.from_config(ENCODERS["bert"]).save_pretrained(folder)
    return folder


def states_and_gradients(model: Any, ids: Tensor, change: Callable[[Any], None]) -> list[Tensor]:
    """The last hidden states of a changed encoder (ours, or that of transformers), and all gradients."""
    torch.manual_seed(1)
    change(model.backbone if isinstance(model, Encoder) else model)
    if isinstance(model, Encoder):
        model.restrict_embeddings([Tokens(ids.numpy(), (len(ids),), ids.numpy())])
        (states,), _ = model._states(model._look_up(ids.numpy()), [len(ids)])
    else:
        states = model(ids[None]).last_hidden_state[0]
    states.square().sum().backward()
    backbone = model.backbone if isinstance(model, Encoder) else model
    table = "embeddings.word_embeddings."  # of which ours shows the rows in use
    named = {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None and not n.startswith(table)}
    assert len(named) > 30
    return [states, *(named[name] for name in sorted(named))]


LAYER = "encoder.layer.0"
WRAPPED = [f"{LAYER}.attention.self.{part}" for part in ("query", "key", "value")]
WRAPPED += [f"{LAYER}.{part}.dense" for part in ("attention.output", "intermediate", "output")]
WRAPPED += [f"embeddings.{part}_embeddings" for part in ("position", "token_type")]
HOOKED = [*WRAPPED, LAYER, "embeddings", "embeddings.word_embeddings", "embeddings.LayerNorm"]
HOOKED += [f"{LAYER}.{part}" for part in ("attention", "attention.self", "attention.output", "intermediate", "output")]


@pytest.mark.parametrize("place", WRAPPED)
def test_an_adapter_takes_effect_and_learns_wherever_it_is_put(place: str, tiny_bert: Path) -> None:
    def adapt(backbone: nn.Module) -> None:
        backbone.set_submodule(place, Lora(backbone.get_submodule(place)))

    compare_with_transformers(tiny_bert, adapt)


@pytest.mark.slow
@pytest.mark.parametrize("place", HOOKED)
def test_a_hook_takes_effect_wherever_it_is_put(place: str, tiny_bert: Path) -> None:
    def double(module: nn.Module, inputs: Any, output: Any) -> Any:
        return (2 * output[0], *output[1:]) if isinstance(output, tuple) else 2 * output

    compare_with_transformers(tiny_bert, lambda backbone: backbone.get_submodule(place).register_forward_hook(double))


def compare_with_transformers(folder: Path, change: Callable[[Any], Any]) -> None:
    """A ``change`` affects an encoder of ours as it affects one of transformers, and it has an effect."""
    ids = torch.tensor([2, 7, 7, 31, 12, 4], dtype=torch.int32)
    unchanged, *_ = states_and_gradients(AutoModel.from_pretrained(folder).eval(), ids, lambda _: None)
    found = states_and_gradients(Encoder(encoder_info(str(folder))).eval(), ids, change)
    expected = states_and_gradients(AutoModel.from_pretrained(folder).eval(), ids, change)
    assert not torch.allclose(found[0], unchanged, atol=1e-2)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


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
    BertModel.from_pretrained(tmp_path, dtype=torch.float16).save_pretrained(tmp_path)
    assert {p.dtype for p in Encoder(encoder_info(str(tmp_path))).parameters()} == {torch.float32}
