"""The engine computes what the plain path computes: losses, gradients, updates and predictions (testing.plain).

Both start from the same weights and see the same batches, in fp32 and without dropout. What is compared is public:
the record of ``Trainer.learn``, the weights before and after it, and ``Trainer.predict``.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel, RobertaConfig, RobertaModel

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.learner import Batch, Learner, Output
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.scenarios.task import StepData
from cl_ner_bench.testing.plain import Plain, Training, predict, read, score
from cl_ner_bench.testing.tiny import RECIPE

pytestmark = pytest.mark.slow

CLOSE = 1e-5  # norm of the difference / norm
NEVER = 1e-9  # a rate at which masks are made and nothing is dropped
WORDS = (
    "anna",
    "boris",
    "went",
    "to",
    "paris",
    "1990",
    ",",
    "electroencephalograph",
    "McMahon-Smith",
    "'s",
    "of",
    "the",
)
LENGTHS = (1, 1, 2, 3, 5, 8, 13, 20, 14, 6, 4, 9)
TASKS = (("A", "B"), ("C",), ("B", "D"))  # B comes back
MAX_LENGTH = 24  # sub-tokens of a window: the longest sentences have several
METHODS = ["spankl", "extendner", "joint-span", "joint-token", "seqstar", "frozen-span", "finetune-span"]


def sentence(id: int, rng: random.Random, length: int) -> Sentence:
    """Random words; mentions of all types, some nested, some as wide as the sentence."""
    mentions = {Mention(0, length, rng.choice("ABCD"))} if rng.random() < 0.3 else set()
    for _ in range(rng.randint(0, 4)):
        start = rng.randrange(length)
        mentions.add(Mention(start, min(length, start + rng.randint(1, 3)), rng.choice("ABCD")))
    return Sentence(id, tuple(rng.choice(WORDS) for _ in range(length)), tuple(sorted(mentions)))


def sentences(seed: int, n: int = 12) -> tuple[Sentence, ...]:
    rng = random.Random(seed)
    return tuple(sentence(i, rng, LENGTHS[i % len(LENGTHS)]) for i in range(n))


def step_data(step: int, seed: int, cumulative: bool, selection: str = "last") -> StepData:
    """Sentences that are drawn anew for each step; labels are masked as the data layer does."""
    types = tuple(dict.fromkeys(t for task in TASKS[:step] for t in task))
    labelled = types if cumulative else TASKS[step - 1]
    train = tuple(s.only(labelled) for s in sentences(10 * seed + step))
    dev = tuple(s.only(labelled) for s in sentences(10 * seed + step + 5, 60))
    return StepData(step, types, labelled, train, dev, labelled, selection)


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Tiny encoders with random weights and no dropout, but for two: ``masked`` has masks that never drop anything,
    ``dropping`` real ones, which a student does not have (see ``stop_dropping``)."""
    shape: dict[str, Any] = {
        "vocab_size": 30522,
        "pad_token_id": 0,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
    }
    small: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    rates: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    never: dict[str, Any] = dict.fromkeys(rates, NEVER)
    often: dict[str, Any] = dict.fromkeys(rates, 0.3)
    torch.manual_seed(0)
    made: dict[str, torch.nn.Module] = {
        "bert": BertModel(BertConfig(**shape, **small, **rates), add_pooling_layer=False),
        "masked": BertModel(BertConfig(**shape, **small, **never), add_pooling_layer=False),
        "dropping": BertModel(BertConfig(**shape, **small, **often), add_pooling_layer=False),
        "roberta": RobertaModel(RobertaConfig(**shape, **small, **rates), add_pooling_layer=False),
        "electra": ElectraModel(ElectraConfig(**shape, **small, **rates, embedding_size=16)),
    }
    folders = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, model in made.items():
        model.save_pretrained(folders[name])  # type: ignore[operator]
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(encoder_info("minilm").folder / file, folders[name] / file)
    return folders


def stop_dropping(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = min(module.p, NEVER)


@dataclass
class Learned:
    """One step learned by the engine, and what the plain path needs to learn it too."""

    method: str
    trainer: Trainer
    data: StepData
    recipe: dict[str, Any]
    folder: Path
    teacher: Plain | None = None
    start: list[Plain] = field(default_factory=list)  # the model at the beginning of each step
    batches: list[tuple[Sentence, ...]] = field(default_factory=list)  # of the last step
    record: dict[str, Any] = field(default_factory=dict)

    def plain(self, eps: float) -> tuple[Plain, list[dict[str, float]]]:
        """The plain path's model after the same batches, and its losses."""
        model = self.start[-1]
        training = Training(model, self.recipe, len(self.batches), eps=eps)
        taught = model.types if self.method == "finetune-span" else self.data.labelled
        rows = (read(batch, self.folder, self.recipe["max_length"]) for batch in self.batches)
        return model, [training.update(batch, taught, self.teacher) for batch in rows]


def learn(
    method: str,
    folder: Path,
    step: int = 2,
    seed: int = 0,
    eps: float = 1e-8,
    selection: str = "last",
    **changes: Any,
) -> Learned:
    """Learn steps 1 to ``step``. The last begins from weights that are moved at random: else the student would still
    equal its teacher, and distillation would have no gradient."""
    card = registry.methods()[method]
    base: Any = method_code.load_class(card)

    class Recorded(base):
        def begin_step(self, data: StepData) -> None:
            super().begin_step(data)
            if data.step == step:
                noise = torch.Generator().manual_seed(seed)
                with torch.no_grad():
                    for p in self.parameters():
                        p.add_(0.1 * p.square().mean().sqrt() * torch.randn(p.shape, generator=noise))
                stop_dropping(self)
            learned.start.append(Plain(self, folder, 0.0))
            stop_dropping(learned.start[-1])
            learned.batches.clear()

        def parameter_groups(self, *rates: float) -> list[dict[str, Any]]:
            return [group | {"eps": eps} for group in super().parameter_groups(*rates)]

        def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
            learned.batches.append(tuple(example.sentence for example in batch.examples))
            found: dict[str, Tensor] = super().losses(batch, output, teacher)
            return found

    earlier = RECIPE | {"dropout": 0.0, "max_length": MAX_LENGTH, "epochs": 1, "exact": True}
    earlier |= {key: changes[key] for key in ("dropout", "exact", "max_span_width") if key in changes}
    data = [step_data(k, seed, card.is_cumulative, selection) for k in range(1, step + 1)]
    trainer = Trainer(Recorded, card.settings, earlier, str(folder), seed)
    learned = Learned(method, trainer, data[-1], earlier | changes, folder)
    for k in range(step - 1):
        trainer.learn(data[k])
    if step > 1 and "teacher" in trainer.learner.needs:
        learned.teacher = Plain(trainer.learner, folder, 0.0)
    trainer.recipe = {**trainer.recipe, **learned.recipe}
    learned.record = trainer.learn(data[-1])
    return learned


def change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert before.keys() == after.keys()
    return {name: after[name] - value for name, value in before.items()}


def weights(model: Plain | Learner) -> dict[str, Tensor]:
    """All weights of either path by the same names."""
    backbone, head = (
        (model.backbone, model.head) if isinstance(model, Plain) else (model.encoder.backbone, model.head.blocks)
    )
    parts = {"backbone": backbone.state_dict(), "head": head.state_dict()}
    return {f"{part}.{name}": v.clone() for part, values in parts.items() for name, v in values.items()}


def norm(tensors: Mapping[str, Tensor]) -> float:
    return torch.stack([v.double().norm() for v in tensors.values()]).norm().item()


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], close: float = CLOSE) -> None:
    """Each tensor on its own; one of less than a thousandth of all together is measured against that thousandth.

    The bias of a key has no gradient, since no softmax sees it: what stands there is noise.
    """
    whole = norm(expected)
    assert whole > 0
    for name, value in change(expected, found).items():
        if name.endswith("key.bias"):
            continue
        limit = close * max(expected[name].double().norm().item(), 1e-3 * whole)
        assert value.double().norm().item() <= limit, (name, value.double().norm().item() / limit)


# Learning

# The change of one update under AdamW is rate * g / (|g| + eps): with eps = 1 it shows the gradient itself, and a rate
# of 100 writes it large over the weights.
GRADIENT: dict[str, Any] = {
    "lr": 100.0,
    "head_lr": 100.0,
    "weight_decay": 0.0,
    "clip": 1e9,
    "warmup_share": 0.0,
    "batch_size": 99,
}


def assert_same_gradients(learned: Learned, close: float = CLOSE) -> None:
    before = weights(learned.start[-1])
    model, (losses,) = learned.plain(eps=1.0)
    found = {name: means[0] for name, means in learned.record["losses"].items()}
    assert found == pytest.approx(losses, rel=close)
    assert all(losses.values()), "a loss of 0 compares nothing"
    assert_close(change(before, weights(learned.trainer.learner)), change(before, weights(model)), close)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_losses_and_gradients_of_a_step(method: str, step: int, encoders: Mapping[str, Path]) -> None:
    learned = learn(method, encoders["bert"], step, seed=step, eps=1.0, **GRADIENT)
    assert max(len(batch) for batch in learned.batches) == 12
    assert_same_gradients(learned)


@pytest.mark.parametrize("kind", ["masked", "roberta", "electra"])
@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_gradients_with_other_encoders(method: str, kind: str, encoders: Mapping[str, Path]) -> None:
    changes = GRADIENT | ({"dropout": NEVER} if kind == "masked" else {})
    assert_same_gradients(learn(method, encoders[kind], eps=1.0, **changes))


@pytest.mark.parametrize("kept_bytes", [1 << 29, 0])
@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_a_teacher_never_drops(
    method: str, kept_bytes: int, encoders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cl_ner_bench.learning.teacher.STORED_BYTES", kept_bytes)
    assert_same_gradients(learn(method, encoders["dropping"], eps=1.0, **GRADIENT))


@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_a_teacher_kept_in_half_precision_changes_little(method: str, encoders: Mapping[str, Path]) -> None:
    assert_same_gradients(learn(method, encoders["bert"], eps=1.0, **GRADIENT, exact=False), close=1e-3)


@pytest.mark.parametrize(
    ("rule", "value", "method"),
    [
        ("learning.teacher.STORED_BYTES", 0, "spankl"),  # the teacher is asked for each batch
        ("learning.teacher.STORED_BYTES", 0, "extendner"),
        (
            "models.encoders.encoder._MICRO_BATCH",
            50,
            "spankl",
        ),  # a batch in pieces that are computed again in the backward pass
        ("learning.step_training.VECTORS_BYTES", 0, "seqstar"),  # a frozen encoder computes each batch
    ],
)
def test_gradients_on_either_side_of_a_rule_on_sizes(
    rule: str, value: int, method: str, encoders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"cl_ner_bench.{rule}", value)
    assert_same_gradients(learn(method, encoders["bert"], eps=1.0, **GRADIENT))


def test_gradients_of_a_random_batch_of_minilm(tmp_path: Path) -> None:
    folder = tmp_path / "minilm"
    shutil.copytree(encoder_info("minilm").folder, folder, copy_function=lambda a, b: Path(b).symlink_to(a))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    assert_same_gradients(learn("spankl", folder, eps=1.0, **GRADIENT))


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("method", ["spankl", "extendner", "joint-span", "seqstar"])
def test_weights_after_three_random_batches(method: str, step: int, encoders: Mapping[str, Path]) -> None:
    """Clipping and schedule included. eps keeps AdamW from making a whole update of a gradient that is noise."""
    changes: dict[str, Any] = {
        "lr": 1e-3,
        "head_lr": 1e-2,
        "weight_decay": 0.5,
        "clip": 0.5,
        "batch_size": 4,
        "warmup_share": 0.34,
    }
    learned = learn(method, encoders["bert"], step, eps=1e-3, **changes)
    assert [len(batch) for batch in learned.batches] == [4, 4, 4]
    assert sorted(s.id for batch in learned.batches for s in batch) == list(range(12))
    before = weights(learned.start[-1])
    model, losses = learned.plain(eps=1e-3)
    for name, means in learned.record["losses"].items():
        assert means[0] == pytest.approx(sum(found.get(name, 0.0) for found in losses) / 3, rel=CLOSE)
    after, expected = weights(learned.trainer.learner), weights(model)
    assert_close(after, expected)
    assert_close(change(before, after), change(before, expected), 1e-3)
    # Words that no sentence of the step holds: nothing but weight decay reaches them.
    (table,) = (name for name in before if name.endswith("word_embeddings.weight"))
    rows = read(learned.data.train, learned.folder, MAX_LENGTH)
    rare = torch.ones(len(before[table]), dtype=torch.bool)
    rare[sorted({i for row in rows for window in row.windows for i in window})] = False
    assert_close({"rare": after[table][rare]}, {"rare": expected[table][rare]}, 1e-6)
    moved = not torch.equal(before[table][rare], after[table][rare])
    assert moved == (method != "seqstar")  # whose encoder is frozen


# A limit on the width of spans


def test_a_limit_of_the_longest_sentence_is_no_limit(encoders: Mapping[str, Path]) -> None:
    learned = learn("spankl", encoders["bert"], eps=1.0, **GRADIENT, max_span_width=max(LENGTHS))
    learned.recipe["max_span_width"] = 0
    assert_same_gradients(learned)


@pytest.mark.parametrize("width", [1, 3, 12])
@pytest.mark.parametrize("method", ["spankl", "joint-span"])
def test_a_limit_leaves_wider_spans_out_of_the_loss(method: str, width: int, encoders: Mapping[str, Path]) -> None:
    assert_same_gradients(learn(method, encoders["bert"], 3, eps=1.0, **GRADIENT, max_span_width=width))


# Evaluation


@pytest.mark.parametrize("width", [0, 3])
@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_predictions_and_dev_scores(method: str, width: int, encoders: Mapping[str, Path]) -> None:
    """Gold that is wider than the limit cannot be found; it stays in the score."""
    # What was barely learned predicts spans at random: many, and most of them overlap.
    learned = learn(method, encoders["bert"], 3, seed=1, selection="micro", lr=0.0, head_lr=0.0, max_span_width=width)
    model = Plain(learned.trainer.learner, learned.folder)
    test = sentences(99, 150)  # more than two batches of the plain path
    rows = read(test, learned.folder, MAX_LENGTH)
    expected = predict(model, rows, width=width)
    assert 50 < sum(map(len, expected)) < 1000
    found = learned.trainer.predict([s.only(()) for s in test])
    assert [[p[:3] for p in ps] for ps in found] == expected

    dev = read(learned.data.dev, learned.folder, MAX_LENGTH)
    assert any(m.end - m.start > 3 for row in dev for m in row.sentence.mentions)
    labelled = learned.data.dev_labelled
    counts = score(dev, predict(model, dev, labelled, width=width), labelled)
    tp, fp, fn = (sum(column) for column in zip(*counts.values(), strict=True))
    assert tp > 0
    assert max(learned.record["dev_scores"]) == pytest.approx(200 * tp / (2 * tp + fp + fn))


def test_padding_does_not_reach_the_plain_path(encoders: Mapping[str, Path]) -> None:
    """The yardstick itself: a sentence's logits are those that it has alone."""
    learned = learn("spankl", encoders["bert"])
    model = learned.start[-1].eval()
    rows = read(learned.data.train, learned.folder, MAX_LENGTH)
    with torch.no_grad():
        alone = torch.cat([model.logits([row]) for row in rows])
        torch.testing.assert_close(model.logits(rows), alone, atol=1e-5, rtol=1e-5)
    assert max(len(row.windows) for row in rows) > 1
