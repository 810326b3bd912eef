"""BERT's weights without transformers: those that transformers reads, whatever a checkpoint looks like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.bert import read_bert
from cl_ner_bench.models.encoders.info import encoder_info

pytestmark = pytest.mark.slow  # the import of transformers takes seconds

SIZE = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize("model", [BertModel, BertForMaskedLM, RobertaModel, RobertaForMaskedLM])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_are_those_that_transformers_reads(model: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    config = model.config_class(**SIZE, layer_norm_eps=1e-5, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)
    model(config).to(dtype).save_pretrained(tmp_path)
    found = read_bert(encoder_info(str(tmp_path)))
    expected = AutoModel.from_pretrained(tmp_path, dtype=torch.float32, add_pooling_layer=False)
    assert found is not None
    weights = found.state_dict()
    assert weights.keys() == expected.state_dict().keys()
    for name, values in expected.state_dict().items():
        assert weights[name].dtype == torch.float32
        assert torch.equal(weights[name], values)
    assert all(p.requires_grad for p in found.parameters())
    described = {name: repr(module) for name, module in expected.named_modules() if not [*module.children()]}
    for name, module in found.named_modules():
        if not [*module.children()]:
            # A padding's position is never looked up, and transformers has a class of its own for GELU.
            assert repr(module) == described[name] or "position" in name or "GELU" in described[name]
    assert found.embeddings.first_position == (0 if config.model_type == "bert" else config.pad_token_id + 1)


def test_the_oldest_names_of_layer_norms_are_known(tmp_path: Path) -> None:
    BertModel(BertConfig(**SIZE)).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    for name in list(weights):
        if "LayerNorm" in name:
            weights[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(".bias", ".beta")] = weights.pop(name)
    expected = weights["encoder.layer.1.output.LayerNorm.beta"].fill_(3.0)
    safetensors.torch.save_file(weights, file, {"format": "pt"})
    found = read_bert(encoder_info(str(tmp_path)))
    assert found is not None
    assert torch.equal(found.state_dict()["encoder.layer.1.output.LayerNorm.bias"], expected)


def test_an_encoder_that_is_read_again_shares_nothing_with_the_first(tmp_path: Path) -> None:
    BertModel(BertConfig(**SIZE)).save_pretrained(tmp_path)
    changed, expected = read_bert(encoder_info(str(tmp_path))), read_bert(encoder_info(str(tmp_path)))
    assert changed is not None
    assert expected is not None
    dense = changed.encoder.layer[0].output.dense
    dense.register_forward_hook(lambda *_: None)
    with torch.no_grad():
        dense.weight.zero_()
    dense.requires_grad_(False)
    changed.encoder.layer[1].output.dense = torch.nn.Identity()
    changed.embeddings.dropout.p = 0.9
    changed.eval().register_buffer("more", torch.zeros(1))
    for found in (expected, read_bert(encoder_info(str(tmp_path)))):
        assert found is not None
        assert repr(found) == repr(expected) != repr(changed)
        assert found.training
        assert not any(module._forward_hooks for module in found.modules())
        assert all(p.requires_grad and p.any() for name, p in found.named_parameters() if name.endswith("dense.weight"))
        assert [*found.state_dict()] == [*expected.state_dict()]


@pytest.mark.parametrize(
    "change", [{"position_embedding_type": "relative_key"}, {"hidden_act": "relu"}, {"is_decoder": True}]
)
def test_other_kinds_are_left_to_transformers(change: dict[str, Any], tmp_path: Path) -> None:
    BertModel(BertConfig(**SIZE)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    assert read_bert(encoder_info(str(tmp_path))) is not None
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    encoder_info.cache_clear()
    assert read_bert(encoder_info(str(tmp_path))) is None


def test_weights_that_do_not_fit_their_configuration_are_told(tmp_path: Path) -> None:
    BertModel(BertConfig(**SIZE)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_size": 51}))
    with pytest.raises(UserError, match=r"embeddings.weight has the shape \(50, 8\), but by config.json \(51, 8\)"):
        read_bert(encoder_info(str(tmp_path)))


def test_other_encoders_and_half_checkpoints_are_left_to_transformers(tmp_path: Path) -> None:
    DistilBertModel(DistilBertConfig(vocab_size=50, dim=8, n_layers=1, n_heads=2, hidden_dim=8)).save_pretrained(
        tmp_path / "distil"
    )
    path = tmp_path / "distil" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 8}))
    assert read_bert(encoder_info(str(tmp_path / "distil"))) is None
    RobertaModel(RobertaConfig(**SIZE)).save_pretrained(tmp_path / "half")
    file = tmp_path / "half" / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    del weights["encoder.layer.1.output.dense.weight"]
    safetensors.torch.save_file(weights, file, {"format": "pt"})
    assert read_bert(encoder_info(str(tmp_path / "half"))) is None


def test_weights_need_no_transformers() -> None:
    code = (
        "import sys\nfrom cl_ner_bench.models.encoders.bert import read_bert\n"
        "from cl_ner_bench.models.encoders.info import encoder_info\nassert read_bert(encoder_info('minilm'))\n"
        "sys.exit(any(name in sys.modules for name in ('transformers', 'torch._dynamo', 'sympy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
