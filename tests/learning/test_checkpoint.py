"""A step that was stopped goes on from its checkpoint to the bit, and a file that is not whole is never taken up.

The conformance suite checks it of every method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import recipe
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.evaluation import ProgressCallback
from cl_ner_bench.learning.learner import Learner, Output, TagLearner
from cl_ner_bench.learning.step_training import StepTraining
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.encoders.token_cache import token_store
from cl_ner_bench.running import checkpoint
from cl_ner_bench.running.checkpoint import CheckpointFile
from cl_ner_bench.scenarios.task import StepData, Task, TaskSplit
from cl_ner_bench.storage import layout
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CORPUS = tiny_corpus()
TRAIN = CORPUS.parts["train"]
EPOCHS = 3
TASKS = (
    Task("PER", ("PER",), tuple(range(8)), tuple(range(4))),
    Task("LOC", ("LOC",), (*range(8, 16),), (*range(4, 8),)),
)
SPLIT = TaskSplit("tiny", CORPUS.fingerprint, "split", 0, TASKS, tuple(range(12)))

Make = Callable[[], Trainer]


class Restless(TagLearner):
    """Has state of every kind: a buffer, one that grows, noise of torch's stream, frozen weights."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("mean", torch.zeros(()))
        self.carried["history"] = torch.zeros(0)

    def begin_epoch(self, epoch: int) -> None:
        if epoch == 2:
            self.encoder.backbone.embeddings.requires_grad_(False)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        ce = super().losses(batch, output, teacher)["ce"]
        self.mean.lerp_(ce.detach(), 0.1)
        self.carried["history"] *= 0.9
        self.carried["history"] = torch.cat([self.carried["history"], self.mean[None]])
        return {"ce": ce * (1 + self.mean), "noise": (output.logits * torch.randn(output.logits.shape)).mean()}


def maker(
    learner: type[Learner], settings: Mapping[str, Any], encoder: str, precision: str = "fp32", **more: Any
) -> Make:
    values = RECIPE | {"epochs": EPOCHS, "lr": 3e-3} | more
    words = (sentence.words for part in CORPUS.parts.values() for sentence in part)
    tokens = token_store(words, encoder_info(encoder), RECIPE["max_length"])
    return lambda: Trainer(
        learner, settings, values, encoder, seed=0, precision=precision, tokens=tokens, recall=TRAIN.__getitem__
    )


def method_maker(method: str, encoder: str, precision: str = "fp32") -> Make:
    card = registry.methods()[method]
    freezes = {"warmup_epochs": 1} if "warmup_epochs" in card.settings else {}  # inside step 1, not behind it
    return maker(method_code.load_class(card), {**card.settings, **freezes}, encoder, precision)


def file_in(home: Path, step: int = 1) -> Path:
    """Return the place of a step's state in a results folder."""
    return home / layout.STORE / f"key-{step}.checkpoint"


def opened(file: Path, every: float = 60.0, kind: type[CheckpointFile] = CheckpointFile) -> CheckpointFile:
    return kind(ResultsFolder(file.parents[1]).checkpoints, file.stem, every)


class Stopped(Exception):  # noqa: N818  a stop is no error
    pass


class StopsAfterSaving(CheckpointFile):
    """Stops behind the first epoch that it is given."""

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().save(tensors, facts)
        raise Stopped


def stop_at(update: int) -> ProgressCallback:
    def progress(state: dict[str, Any]) -> None:
        if state.get("update") == update:
            raise Stopped

    return progress


class Outcome(NamedTuple):
    """All of a step that must not depend on where it was stopped."""

    weights: dict[str, Tensor]
    predictions: list[Any]
    record: dict[str, Any]


def outcome(trainer: Trainer, record: dict[str, Any]) -> Outcome:
    weights = {name: value.clone() for name, value in trainer.learner.state_dict().items()}
    predictions = trainer.predict([s.only(()) for s in CORPUS.parts["test"]])
    return Outcome(
        weights, predictions, {name: value for name, value in record.items() if not name.endswith("seconds")}
    )


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """Names of the weights that are not the same to the bit, and whether predictions or record differ."""
    names = found.weights.keys() ^ expected.weights.keys()
    names |= {n for n, value in found.weights.items() if not torch.equal(value, expected.weights.get(n, value))}
    others = ("predictions", "record")
    return sorted(names) + [name for name in others if getattr(found, name) != getattr(expected, name)]


def started(make: Make, model: Path | None) -> Trainer:
    """A new trainer that holds the previous step's model, as a new process makes it."""
    trainer = make()
    if model is not None:
        trainer.load(model)
    return trainer


class Step(NamedTuple):
    """A step that was learned without a stop: its data, the model it began with, and its outcome."""

    data: StepData
    model: Path | None
    outcome: Outcome


def two_steps(make: Make, folder: Path, cumulative: bool = False, from_scratch: bool = False) -> Iterator[Step]:
    trainer, model = make(), None
    for number in (1, 2):
        data = SPLIT.step_data(CORPUS, number, cumulative=cumulative, from_scratch=from_scratch)
        trainer = make() if from_scratch else trainer
        yield Step(data, model, outcome(trainer, trainer.learn(data)))
        if not from_scratch:
            model = folder / f"model-{number}"
            model.mkdir()
            trainer.save(model)


def stopped_in_each_epoch(make: Make, step: Step, file: Path) -> Outcome:
    """Of a step that was stopped inside each of its epochs and behind it, and went on in a new trainer each time."""
    per_epoch = math.ceil(len(step.data.train) / RECIPE["batch_size"])
    for epoch in range(step.outcome.record["epochs"]):
        with pytest.raises(Stopped):
            started(make, step.model).learn(step.data, stop_at(epoch * per_epoch + 1), opened(file, 0))
        with pytest.raises(Stopped):
            started(make, step.model).learn(step.data, checkpoint=opened(file, 0, StopsAfterSaving))
    trainer = started(make, step.model)
    # Where it began anew, it would be stopped.
    return outcome(trainer, trainer.learn(step.data, stop_at(1), opened(file)))


@pytest.mark.parametrize("method", ["spankl", "seqstar", "joint-token"])
def test_a_step_that_is_stopped_in_each_epoch_ends_as_if_it_had_not_been(
    method: str, encoder: str, tmp_path: Path
) -> None:
    make, card = method_maker(method, encoder), registry.methods()[method]
    for step in two_steps(make, tmp_path, card.is_cumulative, card.start == "pretrained"):
        found = stopped_in_each_epoch(make, step, file_in(tmp_path, step.data.step))
        assert differences(found, step.outcome) == []


@pytest.mark.parametrize("method", ["spankl", "seqstar"])
def test_it_does_in_bf16_too(method: str, encoder: str, tmp_path: Path) -> None:
    make = method_maker(method, encoder, "bf16")
    for step in two_steps(make, tmp_path):
        found = stopped_in_each_epoch(make, step, file_in(tmp_path, step.data.step))
        assert differences(found, step.outcome) == []


def test_it_does_by_the_recipe_of_cfner(encoder: str, tmp_path: Path) -> None:
    values = recipe(Card("x", "X"), "cfner", "token") | {"epochs": EPOCHS, "batch_size": 4, "first_lr_epochs": 2}
    card = registry.methods()["extendner"]
    make = maker(method_code.load_class(card), card.settings, encoder, **values)
    for step in two_steps(make, tmp_path):
        found = stopped_in_each_epoch(make, step, file_in(tmp_path, step.data.step))
        assert differences(found, step.outcome) == []


def test_it_does_with_state_of_the_methods_own(encoder: str, tmp_path: Path) -> None:
    make = maker(Restless, {}, encoder)
    for step in two_steps(make, tmp_path):
        found = stopped_in_each_epoch(make, step, file_in(tmp_path, step.data.step))
        assert differences(found, step.outcome) == []
        assert len(found.weights["carried.history"]) >= 2 * step.outcome.record["selected_epoch"]


class Forgetful(TagLearner):
    """Keeps what it needs in attributes, which live for an epoch, or from ``begin_step`` to ``end_step``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.updates, self.weight, self.means, self.first = 0, 1.0, {}, None

    def begin_step(self, data: StepData) -> None:
        self.weight += data.step
        self.means = {"loss": torch.zeros(())}

    def begin_epoch(self, epoch: int) -> None:
        if epoch == 1:
            self.first = torch.ones(())

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        ce = super().losses(batch, output, teacher)["ce"]
        self.updates += 1
        self.means["loss"] += ce.detach()
        return {"ce": ce * (self.weight + self.updates + self.means["loss"] + (self.first is not None))}

    def end_step(self, data: StepData) -> None:
        self.carried["told"] = torch.tensor([self.updates, self.weight, self.means["loss"]])
        self.weight = 100.0


def test_attributes_do_not_outlive_in_one_process_what_they_do_not_outlive_in_two(encoder: str, tmp_path: Path) -> None:
    make, told = maker(Forgetful, {}, encoder), []
    for step in two_steps(make, tmp_path):
        found = stopped_in_each_epoch(make, step, file_in(tmp_path, step.data.step))
        assert differences(found, step.outcome) == []
        told.append(found.weights["carried.told"].tolist())
        again = started(make, step.model)
        assert differences(outcome(again, again.learn(step.data)), step.outcome) == []
    assert told == [[0.0, 2.0, 0.0], [0.0, 3.0, 0.0]], "as begin_step left them, from what __init__ made"


# The comparison can fail: what a checkpoint forgets is found.


def change(tensors: dict[str, Tensor], facts: dict[str, Any], part: str) -> None:
    """Lose or spoil a part of a state."""
    match part:
        case "moments" | "best":
            for name in [name for name in tensors if name.startswith(f"{part}/")]:
                del tensors[name]
        case "numbers of updates":
            tensors |= {name: 0 * value for name, value in tensors.items() if name.endswith(".updates")}
        case "weights":
            tensors |= {name: 0 * value for name, value in tensors.items() if name.startswith("weights/encoder")}
        case "buffer":
            tensors["weights/mean"].zero_()
        case "stream":
            tensors["random/cpu"] = torch.Generator().manual_seed(0).get_state()
        case "frozen":
            facts["frozen"] = []
        case "dropout":
            facts["dropout"] = [1, 2, 3, 4]
        case "updates" | "best_score":
            facts[part] = 0
        case "dev_scores" | "losses":
            facts[part].clear()


PARTS = ["moments", "best", "numbers of updates", "weights", "buffer", "stream", "frozen", "dropout", "updates"]
PARTS += ["best_score", "dev_scores", "losses"]


@pytest.mark.parametrize("part", ["nothing", *PARTS])
def test_a_checkpoint_that_forgets_anything_leads_elsewhere(
    part: str, encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgets(CheckpointFile):
        def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
            kept = super().load()
            assert kept is not None
            change(*kept, part)
            return kept

    class Stops(CheckpointFile):
        def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
            super().save(tensors, facts)
            if facts["epoch"] == EPOCHS - 1:
                raise Stopped

    scores = itertools.cycle([80, 10, 20] if part in ("best", "best_score") else [10, 20, 80])
    monkeypatch.setattr(StepTraining, "_dev_score", lambda *_: next(scores))
    make, data, file = maker(Restless, {}, encoder), SPLIT.step_data(CORPUS, 1), file_in(tmp_path)
    whole, stopped, resumed = make(), make(), make()
    expected = outcome(whole, whole.learn(data))
    with pytest.raises(Stopped):
        stopped.learn(data, checkpoint=opened(file, 0, Stops))
    found = outcome(resumed, resumed.learn(data, checkpoint=opened(file, kind=Forgets)))
    assert (differences(found, expected) == []) == (part == "nothing")


# The file

TENSORS = {
    "a/b": torch.arange(6.0).view(2, 3).T,
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "one": torch.tensor(3.0),
    "none": torch.zeros(0, 4),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
}
FACTS = {
    "score": -math.inf,
    "scores": [None, 1 / 3],
    "losses": {"ü": [1e-300]},
    "dropout": [2**64 - 1],
    "training": True,
}


def written(file: Path) -> bytes:
    opened(file).save(TENSORS, FACTS)
    return file.read_bytes()


def test_a_file_gives_back_what_it_was_given(tmp_path: Path) -> None:
    file = file_in(tmp_path / "new")
    written(file)
    kept = opened(file).load()
    assert kept is not None
    tensors, facts = kept
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    assert all(t.dtype == tensors[n].dtype and torch.equal(t, tensors[n]) for n, t in TENSORS.items())
    opened(file).save({}, {"epoch": 2})
    assert opened(file).load() == ({}, {"epoch": 2})
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_file_is_removed_and_never_taken_up(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    whole = written(file)
    damaged = [whole[: len(whole) * share // 100] for share in range(0, 100, 5)]
    damaged += [whole[:-1], whole[1:], whole + b"\0", bytes(len(whole)), whole[:-64] + bytes(64)]
    for at, bit in itertools.product(range(len(whole)), range(8)):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    assert len(damaged) > 4000
    for content in damaged:
        file.write_bytes(content)
        assert opened(file).load() is None
        assert not file.exists()
    file.write_bytes(whole)
    assert opened(file).load() is not None


def test_a_file_of_another_version_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_in(tmp_path)
    written(file)
    monkeypatch.setattr(checkpoint, "SCHEMA", checkpoint.SCHEMA + 1)
    assert opened(file).load() is None
    assert not file.exists()


def test_without_a_file_there_is_nothing_to_load_or_to_drop(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    kept = opened(file)
    assert kept.load() is None
    kept.drop()
    written(file)
    kept.drop()
    assert not file.exists()
    file.mkdir()
    assert kept.load() is None


def test_a_state_is_due_some_time_after_the_start_and_after_each_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    kept = opened(file_in(tmp_path), every=60)
    due = []
    for now in (100, 159.9, 160, 200):  # noqa: B007  the clock
        due.append(kept.due())
    kept.save({}, {})
    for now in (200, 259.9, 260):  # noqa: B007
        due.append(kept.due())
    assert due == [False, False, True, True, False, False, True]


def test_a_step_saves_only_when_it_is_due(encoder: str, tmp_path: Path) -> None:
    file = file_in(tmp_path)
    method_maker("spankl", encoder)().learn(SPLIT.step_data(CORPUS, 1), checkpoint=opened(file, every=math.inf))
    assert not file.exists()


def test_seconds_add_up(encoder: str, tmp_path: Path) -> None:
    make, data, file = method_maker("spankl", encoder), SPLIT.step_data(CORPUS, 1), file_in(tmp_path)
    make().learn(data, checkpoint=opened(file, 0))
    state = opened(file).load()
    assert state is not None
    assert state[1]["seconds"] > 0
    opened(file).save(state[0], state[1] | {"seconds": 1e6, "teacher_seconds": 1e4, "dev_seconds": 1e5})
    record = make().learn(data, checkpoint=opened(file))
    assert record["seconds"] > 1e6
    assert (record["teacher_seconds"], record["dev_seconds"] >= 1e5) == (1e4, True)


@pytest.mark.parametrize("method", ["spankl", "podnet"])  # logits that are kept, and a model that computes again
def test_the_teacher_and_dev_scores_take_a_part_of_the_seconds(encoder: str, method: str) -> None:
    trainer = method_maker(method, encoder)()
    first, second = (trainer.learn(SPLIT.step_data(CORPUS, k)) for k in (1, 2))
    assert first["teacher_seconds"] == 0 < second["teacher_seconds"]
    for record in (first, second):
        assert 0 < record["dev_seconds"] < record["seconds"] - record["teacher_seconds"]
