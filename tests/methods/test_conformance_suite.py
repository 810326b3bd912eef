"""The conformance suite finds what it is there to find, and says what to change."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from cl_ner_bench import registry
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output, SpanLearner, Step, TagLearner
from cl_ner_bench.testing.conformance import learning, predictions, stopping, suite, tasks
from cl_ner_bench.testing.conformance.faults import Check
from cl_ner_bench.testing.conformance.inputs import CORPUS, NAMES, TWO, poisoned_corpus
from cl_ner_bench.testing.conformance.lab import Lab
from cl_ner_bench.testing.conformance.suite import run_check

pytestmark = pytest.mark.slow


def lab(learner: type[Learner] = TagLearner, **card: Any) -> Lab:
    """A lab of a class, with a card of fine-tuning but for what is given."""
    fine_tune = registry.methods()[f"finetune-{learner.architecture}"]
    return Lab(replace(fine_tune, **({"first_step": "own"} | card)), learner)


def fault(check: Check, learner: type[Learner] = TagLearner, **card: Any) -> str:
    return run_check(check, lab(learner, **card)).fault


def test_checks_have_names_and_a_line_each() -> None:
    for check in suite.QUICK + suite.FULL:
        assert suite.about(check)
        assert len(suite.about(check)) < 80


class Remembers(TagLearner):
    needs = frozenset({"memory"})

    def keep(self, step: Step) -> Iterable[int]:
        return [step.train[0].id]


class RemembersForeign(Remembers):
    def keep(self, step: Step) -> Iterable[int]:
        return [39]


class Frozen(TagLearner):
    def begin_step(self, step: Step) -> None:
        if step.step > 1:
            self.freeze_encoder()


class CarriesSentences(TagLearner):
    def end_step(self, step: Step) -> None:
        self.carried["lengths"] = torch.tensor([len(s.words) for s in step.train])


@pytest.mark.parametrize(
    ("learner", "card", "words"),
    [
        (Remembers, {}, 'write "group": "exemplar"'),
        (TagLearner, {"group": "exemplar"}, "it remembers no sentence"),
        (TagLearner, {"group": "closed-form"}, "self.freeze_encoder()"),
        (Frozen, {}, 'write "closed-form"'),
    ],
)
def test_a_false_group_is_found(learner: type[Learner], card: dict[str, Any], words: str) -> None:
    assert words in fault(learning.card, learner, **card)


class Untrained(Frozen):
    trains = False


def test_a_search_that_changes_nothing_is_found() -> None:
    said = fault(learning.card, Untrained, group="closed-form", search={"lr": None})
    assert '"search": {"batch_size": None, "epochs": None, "head_lr": None} into the card' in said
    nothing = dict.fromkeys(("lr", "head_lr", "epochs", "batch_size"))
    assert "bench tune" not in fault(learning.card, Untrained, group="closed-form", search=nothing)


def test_true_groups_pass() -> None:
    assert not fault(learning.card, Remembers, group="exemplar")
    assert not fault(learning.card, Frozen, group="closed-form")
    assert not fault(learning.card)


def test_what_is_kept_between_steps_is_counted() -> None:
    assert "carried.lengths" in fault(learning.memory, CarriesSentences)
    assert not fault(learning.memory, CarriesSentences, group="exemplar")
    assert "no id of a train sentence" in fault(learning.memory, RemembersForeign, group="exemplar")


class LearnsNothing(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"none": output.logits.square().mean()}


class LearnsBackwards(SpanLearner):
    def bce(self, *args: Any) -> Tensor:
        return 0.001 * super().bce(*args)

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> Any:
        return super().parameter_groups(0.0, 0.0, weight_decay)


class Loses(TagLearner):
    def end_step(self, step: Step) -> None:
        self.seen = len(step.train)


class LosesEntries(TagLearner):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.means: dict[str, Tensor] = {"O": torch.zeros(2)}

    def end_step(self, step: Step) -> None:
        self.means["O"] += 1


class Keeps(LosesEntries):
    def begin_step(self, step: Step) -> None:
        self.scratch = [step.step]

    def end_step(self, step: Step) -> None:
        self.carried["seen"] = torch.tensor(len(step.train) + self.scratch[0])


def test_attributes_that_the_next_step_would_lack_are_found() -> None:
    assert "self.seen, set in end_step, is lost when the step ends" in fault(learning.memory, Loses)
    assert "self.means, set in end_step, is lost" in fault(learning.memory, LosesEntries)
    assert not fault(learning.memory, Keeps)


class CountsUpdates(TagLearner):
    """Its count begins anew in each epoch."""

    updates = 0

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        self.updates += 1
        return {"ce": super().losses(batch, output, teacher)["ce"] / self.updates}


class EndsWithEpochs(TagLearner):
    """It takes from an epoch what only the step's beginning gave."""

    def begin_step(self, step: Step) -> None:
        self.last = [0]

    def begin_epoch(self, epoch: int) -> None:
        self.last.append(epoch)

    def end_step(self, step: Step) -> None:
        self.carried["last"] = torch.tensor(self.last)


class Scribbles(TagLearner):
    """A method whose attributes of an epoch are made anew before they are read."""

    def begin_step(self, step: Step) -> None:
        self.batch = step.batch([0, 1])

    def begin_epoch(self, epoch: int) -> None:
        self.factor = 1 / epoch

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        self.batch, self.mean = batch, output.logits.mean()
        return {"ce": self.factor * super().losses(batch, output, teacher)["ce"]}


def test_attributes_that_the_next_epoch_would_lack_are_found() -> None:
    assert "self.updates: what an epoch makes of it is gone before the next" in fault(learning.memory, CountsUpdates)
    assert "self.last: what an epoch makes of it" in fault(learning.memory, EndsWithEpochs)
    assert not fault(learning.memory, Scribbles)


@pytest.mark.parametrize("learner", [LearnsNothing, LearnsBackwards])
def test_a_method_that_does_not_learn_is_found(learner: type[Learner]) -> None:
    assert "must reach 0.9" in fault(learning.learns, learner)


def test_the_longer_way_to_learn_is_taken_where_the_shorter_one_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    shorter, longer = learning.LEARNING
    taken: list[Any] = []

    def f1(lab: Lab, recipe: Any) -> float:
        taken.append(recipe)
        return 0.89 if recipe is shorter else 0.9

    monkeypatch.setattr(learning, "_f1_learned", f1)
    assert not fault(learning.learns, LearnsNothing)
    assert taken == [shorter, longer]


class Decides(TagLearner):
    """Learns as the base learner, and carries something."""

    def end_step(self, step: Step) -> None:
        self.carried["seen"] = torch.tensor(len(step.train))


def test_what_learns_the_same_bits_is_not_learned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "_f1_of_one_task", lambda lab: 0.5)
    monkeypatch.setattr(learning, "_f1_of_base", lambda architecture: 0.99)
    assert not fault(learning.learns, Decides)
    assert "is 0.50" in fault(learning.learns, LearnsNothing)


class OtherFirstStep(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": 1.01 * super().losses(batch, output, teacher)["ce"]}


def test_a_false_first_step_is_found() -> None:
    assert "differs from the base learner's in losses" in fault(learning.first_step, OtherFirstStep)
    assert not fault(learning.first_step)


class DoublesAtZero(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": (1 if self.settings["weight"] else 2) * super().losses(batch, output, teacher)["ce"]}


def test_a_first_step_that_hangs_on_a_setting_of_0_is_found() -> None:
    found = fault(learning.first_step, DoublesAtZero, settings={"weight": 1.0})
    assert "differs from the base learner's in losses" in found
    assert "(with weight = 0.0)" in found


class ForgetsNeed(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        return losses if teacher is None else losses | {"kd": output.logits.square().mean()}


class HasNeed(ForgetsNeed):
    needs = frozenset({"teacher"})


class NeedsInVain(TagLearner):
    """Its use of the teacher may change nothing in two short steps."""

    needs = frozenset({"teacher"})


def test_a_missing_need_is_found() -> None:
    found = fault(learning.card, ForgetsNeed)
    assert 'it equals finetune-token in every step: is a need missing, e.g. needs = frozenset({"teacher"})?' in found
    assert not fault(learning.card, HasNeed)
    assert not fault(learning.card, NeedsInVain)


class Penalised(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        return losses | {"penalty": self.settings["weight"] * output.logits.square().mean()}


def test_an_identity_that_does_not_hold_is_found() -> None:
    settings = {"settings": {"weight": 1.0}}
    assert not fault(learning.identities, Penalised, **settings, identities={"base": {"weight": 0.0}})
    assert not fault(learning.identities, Penalised, **settings, identities={"finetune": {"weight": 0.0}})
    wrong = fault(learning.identities, Penalised, **settings, identities={"finetune-token": {"weight": 1e-2}})
    assert "with weight = 0.01 it should equal finetune-token, but after step 1" in wrong
    assert "which is no method" in fault(learning.identities, identities={"nothing": {}})


class Peeps(TagLearner):
    """Reads labels past the data layer, from the memory's recall."""

    def begin_step(self, step: Step) -> None:
        with torch.no_grad():
            next(self.head.parameters()).add_(1e-3 * sum(len(s.mentions) for s in PEEPED()))


def PEEPED() -> Any:  # noqa: N802
    raise NotImplementedError


def test_a_method_that_sees_hidden_labels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = lab(Peeps)
    chain = made.chain

    def peeped(split: Any, corpus: Any = lambda step: CORPUS, **how: Any) -> Any:
        monkeypatch.setitem(globals(), "PEEPED", lambda: corpus(1).parts["train"])
        return chain(split, corpus, **how)

    monkeypatch.setattr(made, "chain", peeped)
    assert "labels that are hidden" in run_check(learning.hidden_labels, made).fault
    assert not fault(learning.hidden_labels)


def test_poison_hides_no_label_that_a_step_may_see() -> None:
    for step, types in ((1, {"PER", "LOC"}), (2, {"DATE"})):
        tasks = TWO.tasks[:step]
        poisoned = poisoned_corpus(tasks, cumulative=False)
        for part in ("train", "dev"):
            for i in getattr(tasks[-1], part):
                one, other = poisoned.parts[part][i], CORPUS.parts[part][i]
                assert one.only(types) == other.only(types)
                assert {m.type for m in one.mentions} >= {*NAMES} - types
        assert any(one != other for one, other in zip(poisoned.parts["test"], CORPUS.parts["test"], strict=True))


class MovesTeacher(TagLearner):
    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is not None:
            self.kept(0).mul_(1.01)
        return super().losses(batch, output, teacher)

    def begin_step(self, step: Step) -> None:
        if step.teacher is not None:
            self.kept = step.teacher.stored.__getitem__  # type: ignore[attr-defined]


class MovesFrozen(Frozen):
    def after_backward(self) -> None:
        if self.encoder_frozen:
            with torch.no_grad():
                self.encoder.backbone.embeddings.LayerNorm.weight.mul_(1.01)


class ShiftsHead(TagLearner):
    def grow(self, types: Any, init: Any) -> None:
        super().grow(types, init)
        with torch.no_grad():
            self.head.blocks[0].bias.sub_(0.1)


class GrowsNothing(TagLearner):
    def grow(self, types: Any, init: Any) -> None:
        super().grow(types if not self.head.types else (), init)

    def targets(self, batch: Batch, teacher: Output | None) -> Tensor:
        return batch.tag_targets(self.head.types)


def test_what_moves_where_it_must_not_is_found() -> None:
    assert "the teacher's logits of sentence 0 change" in fault(learning.unmoved, MovesTeacher)
    assert "are frozen and change" in fault(learning.unmoved, MovesFrozen)
    assert "grow changes head.blocks.0.bias" in fault(learning.growth, ShiftsHead)
    assert "no columns came for DATE" in fault(learning.growth, GrowsNothing)
    assert not fault(learning.growth, Frozen)
    assert not fault(learning.unmoved, Frozen)


class Centred(TagLearner):
    """Its logits depend on the rest of the batch."""

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        return Output(output.logits - output.logits.mean(0), output.words)


class DecodesOne(TagLearner):
    """It finds mentions in the first sentence of a batch alone; after step 2 it predicts none, as it unlearned them."""

    def decode(self, output: Output, lengths: Any, types: Any, nested: bool) -> Any:
        return [[] if i else ps for i, ps in enumerate(super().decode(output, lengths, types, nested))]


class Open(TagLearner):
    """It still predicts old types after step 2, unlike fine-tuning."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": self.open_loss(batch, output)}


class Remembering(Open):
    """Its decoding keeps something."""

    last = 0

    def decode(self, output: Output, lengths: Any, types: Any, nested: bool) -> Any:
        found = super().decode(output, lengths, types, nested)
        Remembering.last += 1
        return [ps[Remembering.last % 2 :] for ps in found]


class Invents(Open):
    def decode(self, output: Output, lengths: Any, types: Any, nested: bool) -> Any:
        return [[p._replace(type="OTHER") for p in ps] for ps in super().decode(output, lengths, types, nested)]


def test_predictions_that_depend_on_others_are_found() -> None:
    assert "a sentence has other logits alone" in fault(predictions.predictions, Centred)
    assert "predictions depend on the batch" in fault(predictions.predictions, Remembering)
    assert "predictions depend on the batch" in fault(predictions.predictions, DecodesOne)
    assert "mentions of 'OTHER'" in fault(predictions.predictions, Invents)
    assert not fault(predictions.predictions, Open)


class Unseeded(TagLearner):
    def begin_step(self, step: Step) -> None:
        with torch.no_grad():
            self.head.blocks[0].bias.add_(random.random())


class Seeds(TagLearner):
    def grow(self, types: Any, init: Any) -> None:
        super().grow(types, lambda name: torch.Generator().manual_seed(7))

    def begin_step(self, step: Step) -> None:
        self.encoder.dropout.seed(7)
        self.freeze_encoder()


class SeedsAndLearnsAtOnce(Seeds):
    trains = False


def test_randomness_of_its_own_is_found() -> None:
    assert "the same seed gives other values in step 1" in fault(learning.seeds, Unseeded)
    for check in (learning.hidden_labels, stopping.resumes, stopping.device):  # no other reason is given
        assert "the same seed gives other values in step 1" in fault(check, Unseeded)
    assert "another seed gives the same model" in fault(learning.seeds, SeedsAndLearnsAtOnce)
    assert not fault(learning.seeds, SeedsAndLearnsAtOnce, group="closed-form")


TOTAL = [0]


class KeepsOutside(TagLearner):
    """Counts updates in a module, which no snapshot holds."""

    def begin_step(self, step: Step) -> None:
        TOTAL[0] = 0

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        TOTAL[0] += 1
        return {"ce": super().losses(batch, output, teacher)["ce"] * (1 + TOTAL[0])}


def test_state_that_no_snapshot_holds_is_found() -> None:
    found = fault(stopping.resumes, KeepsOutside)
    assert "stopped behind epoch 1 of step 1 and resumed in a new learner" in found
    assert "self.carried" in found


def test_a_snapshot_is_resumed_more_than_once() -> None:
    made = lab()
    assert [run_check(stopping.resumes, made).fault for _ in range(2)] == ["", ""]


class Divides(TagLearner):
    """Means over labelled words, of which there may be none."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        target = self.targets(batch, teacher)
        return {"ce": nn.functional.cross_entropy(output.logits[target > 0], target[target > 0])}


class DividesByOthers(TagLearner):
    """A mean over words without a label, of which there may be none."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        others = self.targets(batch, teacher) == 0
        return super().losses(batch, output, teacher) | {"size": output.logits[others].square().mean()}


class NeedsTwo(TagLearner):
    def begin_step(self, step: Step) -> None:
        self.spread = [len(s.words) for s in step.train]
        if len(self.spread) == 1:
            raise ValueError("one sentence only")


class WantsTwoMentions(TagLearner):
    def begin_step(self, step: Step) -> None:
        for type in step.labelled:
            assert sum(m.type == type for s in step.train for m in s.mentions) != 1, "two labelled words"


class WantsNewTypes(TagLearner):
    def begin_step(self, step: Step) -> None:
        assert self.grown[-1], "a step without a new type"


def test_unusual_tasks_that_it_cannot_learn_are_found() -> None:
    assert "loss is nan in step 1" in fault(tasks.no_entities, Divides)
    assert "loss is nan in step 1" in fault(tasks.no_other_words, DividesByOthers)
    found = fault(tasks.one_sentence, NeedsTwo)
    assert found.startswith("ValueError: one sentence only")
    assert found.endswith("one sentence only")
    assert "a step without a new type" in fault(tasks.returning_type, WantsNewTypes)
    assert "two labelled words" in fault(tasks.one_mention, WantsTwoMentions)


class LeavesState(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        assert output.words is not None
        return {"ce": super().losses(batch, output, teacher)["ce"] + (output.words * torch.ones(32)).mean()}


class ComputesOtherwise(TagLearner):
    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return {"ce": super().losses(batch, output, teacher)["ce"] * (1 + (batch.device.type != "cpu"))}


def test_what_stays_on_the_cpu_is_found() -> None:
    found = fault(stopping.device, LeavesState)
    assert "a tensor stays on the CPU at " in found
    assert "loss 'ce' of step 1" in fault(stopping.device, ComputesOtherwise)
    assert not fault(stopping.device)


def test_what_another_process_computes_differently_is_found(tmp_path: Path) -> None:
    file = tmp_path / "hashes.py"
    file.write_text(
        'CARD = {"hashes": {"class": "Hashes", "architecture": "token"}}\n'
        "from cl_ner_bench.learning.learner import TagLearner\n"
        "class Hashes(TagLearner):\n"
        "    def losses(self, batch, output, teacher):\n"
        "        share = hash('a text has another hash in each process') % 1009 / 1009\n"
        "        return {name: (1 + share) * value for name, value in super().losses(batch, output, teacher).items()}\n"
    )
    (variant,) = registry.resolve([str(file)])
    result = suite.run_check(stopping.process, Lab(variant.card))
    assert "stopped behind epoch 1 of step 1 and resumed in another process" in result.fault
