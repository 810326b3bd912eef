"""The encoder gives what transformers gives, whatever is put into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, ElectraConfig, RobertaConfig

from cl_ner_bench.models.encoders.bert import Bert
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.testing.tiny import CONFIG, tiny_encoder

pytestmark = pytest.mark.slow  # the import of transformers takes seconds


def test_the_tiny_encoder_is_that_of_transformers(tmp_path: Path) -> None:
    found = safetensors.torch.load_file(tiny_encoder(tmp_path) / "model.safetensors")
    after = torch.get_rng_state()
    torch.manual_seed(0)
    expected = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).state_dict()
    assert torch.equal(torch.get_rng_state(), after)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_word_vectors_are_those_of_transformers() -> None:
    encoder = Encoder(encoder_info("minilm")).eval()
    sentences = [["one"], ["a", "sentence", "of", "several", "words"], ["the"] * 70, ["another", "one", ",", "longer"]]
    tokens = encoder.tokeniser.tokenise(sentences)
    reference = AutoModel.from_pretrained(encoder.info.folder).eval()
    with torch.no_grad():
        together = encoder(tokens).split([len(s) for s in sentences])
        for alone, vectors in zip(tokens, together, strict=True):
            plain = reference(torch.tensor(alone.ids)[None]).last_hidden_state[0, alone.first]
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
def test_the_lowest_layers_of_an_encoder_give_what_they_give_within_it(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    AutoModel.from_config(ENCODERS[family]).save_pretrained(tmp_path)
    whole = encoder_info(str(tmp_path))
    encoder = Encoder(whole.with_lowest(1)).eval()
    ids = torch.randint(2, 50, (9,))
    with torch.no_grad():
        expected = AutoModel.from_pretrained(tmp_path).eval()(ids[None], output_hidden_states=True).hidden_states[1][0]
        found, _ = encoder._states(encoder._look_up(ids.numpy()), [len(ids)])
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)
    assert (encoder.info.identity["layers"], whole.identity["layers"], whole.with_lowest(0)) == (1, 2, whole)


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
