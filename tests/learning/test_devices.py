"""Methods learn and predict on a device other than the CPU, and compute there what they compute on the CPU.

The conformance suite checks it of every method."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel

from cl_ner_bench import method_code, registry
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output, TagLearner
from cl_ner_bench.learning.teacher import Teacher
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.scenarios.task import Task, TaskSplit
from cl_ner_bench.testing.pretended_device import DEVICE, Elsewhere, PretendedDevice
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter"),  # true of "meta", not of what stands in
]

CORPUS = tiny_corpus()
TASKS = (Task("PER", ("PER",), (0, 1, 2, 3, 4, 5), (0, 1, 2)), Task("LOC", ("LOC",), (6, 7, 8, 9, 10, 11), (3, 4, 5)))
SPLIT = TaskSplit("tiny", CORPUS.fingerprint, "split", 0, TASKS, tuple(range(12)))
WINDOW = 6  # sub-tokens of a window: sentences of seven words have two
FROZEN = {"warmup_epochs": 1}  # the encoder is frozen inside step 1


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """BERT, which runs unpadded, with and without dropout, and ELECTRA, which brings its own forward pass."""
    small: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"intermediate_size": 64, "vocab_size": 30522}
    none = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    torch.manual_seed(0)
    made: dict[str, Any] = {
        "bert": BertModel(BertConfig(**small, **none), add_pooling_layer=False),
        "dropping": BertModel(BertConfig(**small), add_pooling_layer=False),
        "electra": ElectraModel(ElectraConfig(**small, **none, embedding_size=16)),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, model in made.items():
        model.save_pretrained(folders[name])
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(encoder_info("minilm").folder / file, folders[name] / file)
    return {name: str(folder) for name, folder in folders.items()}


@pytest.fixture
def device() -> Iterator[PretendedDevice]:
    with PretendedDevice() as device:
        yield device


def learned(
    learner: type[Learner], settings: Mapping[str, Any], encoder: str, device: str, data: str = "task", **recipe: Any
) -> list[dict[str, Any]]:
    """Learn two steps, predict, and return the records of both."""
    # At small rates, so that what is noise does not grow; teachers in float32, so that there is less of it.
    recipe = RECIPE | {"dropout": 0.0, "max_length": WINDOW, "lr": 1e-4, "head_lr": 1e-3, "exact": True} | recipe
    trainer = Trainer(learner, settings, recipe, encoder, seed=0, device=device)
    records = [trainer.learn(SPLIT.step_data(CORPUS, step, data == "union")) for step in (1, 2)]
    assert {value.device.type for value in trainer.learner.state_dict().values()} == {device}
    assert len(trainer.predict([s.only(()) for s in CORPUS.used("test")])) == 12
    return records


def assert_same_on_both(method: str, encoder: str) -> list[dict[str, Any]]:
    """Learn and predict on both devices; return what was recorded."""
    card = registry.methods()[method]
    settings = {**card.settings, **{key: value for key, value in FROZEN.items() if key in card.settings}}
    expected = learned(method_code.load_class(card), settings, encoder, "cpu", card.data)
    with PretendedDevice() as device:
        found = learned(method_code.load_class(card), settings, encoder, DEVICE, card.data)
    assert device.operations > 1000
    assert [record["teacher"] for record in found] == [record["teacher"] for record in expected]
    assert_same_losses(found, expected, 1e-2)
    return found


def assert_same_losses(found: list[dict[str, Any]], expected: list[dict[str, Any]], close: float) -> None:
    """The losses of step 2 hang on all that step 1 changed; kernels add in another order."""
    for one, other in zip(found, expected, strict=True):
        assert one["losses"] == {
            name: pytest.approx(means, rel=close, abs=1e-6) for name, means in other["losses"].items()
        }


@pytest.mark.parametrize(
    ("method", "teacher"),
    [("spankl", "bytes kept"), ("extendner", "bytes kept"), ("lucir", "computed again"), ("ewc-token", "none")],
)
def test_a_method_learns_and_predicts_there(method: str, teacher: str, encoders: Mapping[str, str]) -> None:
    records = assert_same_on_both(method, encoders["bert"])
    assert teacher in records[1]["teacher"]


@pytest.mark.parametrize(
    ("rule", "value", "method"),
    [
        ("learning.teacher.STORED_BYTES", 0, "spankl"),  # the teacher is asked for each batch
        ("learning.teacher.STORED_BYTES", 0, "extendner"),
        ("learning.step_training.VECTORS_BYTES", 0, "seqstar"),  # a frozen encoder computes each batch
        (
            "models.encoders.encoder._MICRO_BATCH",
            30,
            "spankl",
        ),  # batches in pieces that are computed again in the backward pass
    ],
)
def test_nothing_is_left_behind_on_the_other_side_of_a_rule_on_sizes(
    rule: str, value: int, method: str, encoders: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"cl_ner_bench.{rule}", value)
    assert_same_on_both(method, encoders["bert"])


@pytest.mark.parametrize("method", ["spankl", "seqstar"])
def test_an_encoder_with_its_own_forward_pass(method: str, encoders: Mapping[str, str]) -> None:
    assert_same_on_both(method, encoders["electra"])


def test_dropout_is_drawn_there(encoders: Mapping[str, str], device: PretendedDevice) -> None:
    card = registry.methods()["extendner"]
    learned(method_code.load_class(card), card.settings, encoders["dropping"], DEVICE, dropout=0.1, exact=False)


def test_the_method_of_the_documentation(encoders: Mapping[str, str], device: PretendedDevice, tmp_path: Path) -> None:
    text = (registry.HOME / "docs" / "methods.md").read_text()
    file = tmp_path / "selftrain.py"
    file.write_text(text.split("```python\n")[1].split("```")[0])
    (variant,) = registry.resolve([str(file)])
    learned(method_code.load_class(variant.card), variant.card.settings, encoders["bert"], DEVICE)


# The device is one: what is left on the CPU is found.


class LeavesTargets(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return super().losses(Batch(batch.examples), output, teacher)


class LeavesState(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": super().losses(batch, output, teacher)["ce"] + (output.words * torch.ones(32)).mean()}


@pytest.mark.parametrize("method", [LeavesTargets, LeavesState])
def test_a_method_that_leaves_something_behind_raises(
    method: type[Learner], encoders: Mapping[str, str], device: PretendedDevice
) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        learned(method, {}, encoders["bert"], DEVICE)


@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_a_teacher_that_stays_behind_raises(
    method: str, encoders: Mapping[str, str], device: PretendedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Teacher.__call__
    monkeypatch.setattr(Teacher, "__call__", lambda self, batch: Output(there(self, batch).logits.cpu()))
    card = registry.methods()[method]
    with pytest.raises(RuntimeError, match="same device"):
        learned(method_code.load_class(card), card.settings, encoders["bert"], DEVICE)


def test_the_device_computes_what_the_cpu_does_and_mixes_with_nothing(device: PretendedDevice) -> None:
    one, other = torch.arange(6.0).view(2, 3), torch.arange(3.0)
    assert isinstance(one.to(DEVICE), Elsewhere)
    found = torch.mm(one.to(DEVICE), other.to(DEVICE)[:, None])
    assert found.device.type == DEVICE
    assert torch.equal(found.cpu(), torch.mm(one, other[:, None]))
    for mixed in (lambda: one.to(DEVICE) + other, lambda: one.to(DEVICE).index_select(0, torch.tensor([1]))):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    with pytest.raises((RuntimeError, TypeError)):
        one.to(DEVICE).numpy()
