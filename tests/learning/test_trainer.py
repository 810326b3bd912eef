"""The training loop, and each built-in method on it, with a tiny real BERT."""

from __future__ import annotations

import copy
import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example, by_length, shuffled
from cl_ner_bench.learning.carried import Carried
from cl_ner_bench.learning.evaluation import dev_score, predict
from cl_ner_bench.learning.learner import Learner, Output, Step, TagLearner
from cl_ner_bench.learning.random_streams import generator
from cl_ner_bench.learning.step_training import StepTraining
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.heads.growing import Init
from cl_ner_bench.models.losses import bernoulli_kl
from cl_ner_bench.scenarios.task import StepData
from cl_ner_bench.storage.run_record import DEV_ZERO
from cl_ner_bench.testing import tiny
from cl_ner_bench.testing.chain import CORPUS, SPLIT

RECIPE = {**tiny.RECIPE, "epochs": 1}  # tests of what epochs change have more
CONTINUAL = ["spankl", "spankl-nokd", "extendner", "extendner-paper", "finetune-span", "finetune-token"]
CONTINUAL += ["seqstar", "frozen-span"]
JOINT = ["joint-span", "joint-token", "joint-span-warm", "joint-token-warm"]


def trainer(method: str, encoder: str, settings: Mapping[str, Any] | None = None, **recipe: Any) -> Trainer:
    card = registry.methods()[method]
    return Trainer(
        method_code.load_class(card), {**card.settings, **(settings or {})}, RECIPE | recipe, encoder, seed=0
    )


def learn(trainer: Trainer, method: str, steps: int = 3, corpus: Corpus = CORPUS) -> list[dict[str, Any]]:
    cumulative = registry.methods()[method].is_cumulative
    return [trainer.learn(SPLIT.step_data(corpus, k, cumulative)) for k in range(1, steps + 1)]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.learner.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def batch_of(trainer: Trainer, sentences: tuple[Sentence, ...]) -> Batch:
    return Batch(tuple(trainer._examples(sentences, "train")))


# The loop


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spankl", "extendner", "joint-span", "joint-token"])
def test_a_tiny_set_is_learned_by_heart(method: str, encoder: str) -> None:
    t = trainer(method, encoder, epochs=25, lr=3e-3)
    step = SPLIT.step_data(CORPUS, 2, cumulative=True)
    step = replace(step, dev=step.train)
    record = t.learn(step)
    assert max(record["dev_scores"]) == 100
    found = [[p[:3] for p in ps] for ps in t.predict([s.only(()) for s in step.train])]
    assert found == [[tuple(m) for m in s.mentions] for s in step.train]


@pytest.mark.slow
def test_warm_up_is_a_tenth_of_the_updates_and_at_most_200(encoder: str) -> None:
    (record,) = learn(trainer("finetune-token", encoder, epochs=10), "finetune-token", 1)
    assert (record["updates"], record["warmup_updates"]) == (20, 2)
    (record,) = learn(trainer("finetune-token", encoder, epochs=10, warmup_updates=1), "finetune-token", 1)
    assert record["warmup_updates"] == 1


@pytest.mark.slow
def test_rates_peak_after_warm_up_and_end_at_zero(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    t, rates = trainer("spankl", encoder, epochs=10), []
    update = StepTraining._update

    def spy(training: StepTraining, batch: Batch, rate: float) -> dict[str, Tensor]:
        rates.append(rate)
        return update(training, batch, rate)

    monkeypatch.setattr(StepTraining, "_update", spy)
    learn(t, "spankl", 2)
    one, two = rates[:20], rates[20:]
    assert one == two  # a fresh optimiser and schedule for every task
    assert one[:3] == [0, 0.5, 1]
    assert one[11] == pytest.approx(0.5)  # half at the middle of the decay
    assert one[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 17 / 18)))


def test_decay_spares_biases_and_layer_norms(encoder: str) -> None:
    t = trainer("spankl", encoder)
    t._grow(("PER",))
    groups = t.learner.parameter_groups(5e-5, 1e-3, 0.01)
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(1e-3, 0.01), (1e-3, 0), (5e-5, 0.01), (5e-5, 0)]
    names = {id(p): n for n, p in t.learner.named_parameters()}
    free = {names[id(p)] for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    assert all(n.endswith("bias") or "LayerNorm" in n for n in free)
    assert sum(len(g["params"]) for g in groups) == len(names)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(encoder: str) -> None:
    one, two = trainer("spankl", encoder), trainer("spankl", encoder)
    assert learn(one, "spankl", 2)[1]["losses"] == learn(two, "spankl", 2)[1]["losses"]
    assert same(weights(one), weights(two))
    two.seed = 1
    learn(two, "spankl", 1)
    assert not same(weights(one), weights(two))


@pytest.mark.slow
def test_a_prediction_hears_a_stop(encoder: str) -> None:
    def stop(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    sentences, learned = CORPUS.used("test"), trainer("extendner", encoder)
    learn(learned, "extendner", 1)
    heard: list[dict[str, Any]] = []
    assert learned.predict(sentences, heard.append) == learned.predict(sentences)
    assert heard, "as often as there are batches"
    with pytest.raises(KeyboardInterrupt):
        learned.predict(sentences, stop)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spankl", "extendner", "seqstar", "joint-span-warm"])
def test_a_saved_chain_goes_on_to_the_bit(method: str, encoder: str, tmp_path: Path) -> None:
    whole, first, second = (trainer(method, encoder, epochs=2) for _ in range(3))
    learn(whole, method, 2)
    learn(first, method, 1)
    first.save(tmp_path)
    second.load(tmp_path)
    second.learn(SPLIT.step_data(CORPUS, 2, registry.methods()[method].is_cumulative))
    assert same(weights(whole), weights(second))


def test_the_best_epoch_is_kept_and_without_dev_mentions_the_last(encoder: str) -> None:
    t, step = trainer("finetune-token", encoder, epochs=4, lr=3e-3), SPLIT.step_data(CORPUS, 1)
    record = t.learn(step)
    best = record["dev_scores"].index(max(record["dev_scores"])) + 1
    assert record["selected_epoch"] == best
    found = predict(t.learner, t._examples(step.dev, "dev"), step.dev_labelled, False, lambda _: None)
    again = dev_score(step.dev, found, step.dev_labelled, "macro")
    assert again == max(record["dev_scores"])
    bare = replace(step, dev=tuple(s.only(()) for s in step.dev))
    record = trainer("finetune-token", encoder, epochs=4).learn(bare)
    assert record["selected_epoch"] == 4
    assert "dev holds no mention" in record["remarks"][0]


def test_a_better_span_of_an_old_type_takes_no_word_from_a_new_one_on_dev(encoder: str) -> None:
    t = trainer("spankl", encoder)
    learn(t, "spankl", 2)
    old, new = -torch.ones(3, 2), -torch.ones(3, 2)
    old[0], new[0] = torch.tensor([3.0, 1.0]), torch.tensor([-1.0, 1.0])
    for logits, types, expected in ((old, ("PER", "LOC"), "PER"), (old, ("LOC",), "LOC"), (new, ("PER", "LOC"), "LOC")):
        assert [p.type for p in t.learner.decode(Output(logits), [2], types, False)[0]] == [expected]


def dev_scores_of(
    found: list[list[tuple[int, int, str]]], dev: tuple[Sentence, ...], types: tuple[str, ...]
) -> list[float | None]:
    """Macro and micro dev score of predictions made by hand."""
    predicted = [[Prediction(*m, 1.0) for m in row] for row in found]
    return [dev_score(dev, predicted, types, rule) for rule in ("macro", "micro")]


def test_dev_scores_are_a_mean_over_types_or_pooled() -> None:
    words = ("a", "b", "c", "d")
    gold = (*(Mention(i, i + 1, "A") for i in range(3)), Mention(3, 4, "B"))
    dev = (Sentence(0, words, gold), Sentence(1, words))
    found = [[(0, 1, "A"), (1, 2, "A")], [(0, 1, "B")]]
    # A: 2 of 3 found, none wrong: 2*2/5. B: none of 1, one wrong: 0/2. C: nowhere. Pooled: 2*2/7.
    assert dev_scores_of(found, dev, ("A", "B", "C")) == pytest.approx([40, 400 / 7])
    assert dev_scores_of(found, dev, ("A",)) == pytest.approx([80, 80])
    assert dev_scores_of(found, dev, ("C",)) == [None, None]


def test_the_rule_of_selection_decides_which_epoch_is_kept(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = SPLIT.step_data(CORPUS, 2, cumulative=True)
    rules = {"macro": [80, 10, 20, 30], "micro": [10, 80, 20, 30]}
    for rule, scores in rules.items():
        t, given = trainer("joint-token", encoder, epochs=4), iter(scores)

        def score(
            gold: Any, found: Any, types: tuple[str, ...], selection: str, rule: str = rule, given: Any = given
        ) -> float:
            assert (types, selection) == (("PER",), rule)  # what dev's labels cover, not what train's do
            return next(given)

        monkeypatch.setattr("cl_ner_bench.learning.step_training.dev_score", score)
        record = t.learn(replace(step, selection=rule, dev_labelled=("PER",)))
        assert (record["selection"], record["selected_epoch"]) == (rule, scores.index(80) + 1)


@pytest.mark.parametrize(
    ("scores", "selected", "remarks"),
    [
        ([0.0, 0.0, 0.0], 1, [DEV_ZERO]),
        ([0.0, 0.0, 4.0], 3, []),
        ([4.0, 4.0, 4.0], 1, []),
    ],
)
def test_a_dev_score_of_0_in_every_epoch_is_remarked(
    scores: list[float], selected: int, remarks: list[str], encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    t, given = trainer("finetune-token", encoder, epochs=3), iter(scores)
    monkeypatch.setattr(StepTraining, "_dev_score", lambda *_: next(given))
    record = t.learn(SPLIT.step_data(CORPUS, 1))
    assert (record["selected_epoch"], record["remarks"]) == (selected, remarks)


@pytest.mark.parametrize("method", ["single-task-span", "single-task-token"])
def test_a_single_task_model_knows_its_task_alone_and_is_the_same_in_every_order(method: str, encoder: str) -> None:
    """Task PER comes first in one order and second in the other, after LOC, of which the model must not know."""
    first = SPLIT
    second = replace(first, order=1, tasks=(first.tasks[1], first.tasks[0], first.tasks[2]))
    outcomes = []
    for tasks, step in ((first, 1), (second, 2)):
        t = trainer(method, encoder, epochs=3, lr=3e-3)
        data = tasks.step_data(CORPUS, step, from_scratch=True)
        assert (data.types, data.labelled, data.dev_labelled) == (("PER",), ("PER",), ("PER",))
        t.learn(data)
        assert t.learner.head.types == ("PER",)
        outcomes.append((weights(t), t.predict([s.only(()) for s in CORPUS.used("test")])))
    assert same(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] == outcomes[1][1]
    assert any(outcomes[0][1])


def test_without_selection_the_last_epoch_is_kept_and_dev_is_never_read(encoder: str) -> None:
    step = SPLIT.step_data(CORPUS, 1)
    t, other = (trainer("finetune-token", encoder, epochs=3) for _ in range(2))
    record = t.learn(replace(step, selection="last"))
    assert (record["selection"], record["selected_epoch"], record["remarks"]) == ("last", 3, [])
    assert record["dev_scores"] == [None] * 3
    other.learn(replace(step, dev=()))
    assert same(weights(t), weights(other))


@pytest.mark.parametrize("method", ["spankl", "extendner", "seqstar"])
def test_a_step_without_sentences_changes_nothing(method: str, encoder: str) -> None:
    t = trainer(method, encoder)
    learn(t, method, 1)
    before = weights(t)
    step = replace(SPLIT.step_data(CORPUS, 2), train=(), dev=())
    record = t.learn(step)
    assert (record["updates"], record["dev_scores"]) == (0, [None] * RECIPE["epochs"])
    assert all(torch.equal(value, weights(t)[name]) for name, value in before.items())


def test_a_loss_that_is_no_number_stops_the_step(encoder: str) -> None:
    with pytest.raises(FloatingPointError, match="step 1, update"):
        learn(trainer("finetune-token", encoder, head_lr=1e38, clip=1e38), "finetune-token", 1)


# Parameters of a method's own


class ChoosesByLoss(TagLearner):
    """Chooses the epoch by its own measure of dev."""

    def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> float | None:
        return -sum(self.losses(batch, output, None)["ce"].item() * len(batch.examples) for batch, output in dev)


def test_a_method_may_choose_its_epoch_itself(encoder: str) -> None:
    t = own_trainer(ChoosesByLoss, encoder, epochs=4)
    data = SPLIT.step_data(CORPUS, 1)
    record = t.learn(data)
    scores = record["dev_scores"]
    assert record["selected_epoch"] == 1 + scores.index(max(scores))
    batch = batch_of(t, data.dev)
    with torch.no_grad():
        kept = t.learner.eval().losses(batch, t.learner(batch), None)["ce"].item() * len(data.dev)
    assert -kept == pytest.approx(max(scores), abs=1e-4)


class Adapted(TagLearner):
    """Has a layer of its own between encoder and head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.adapter = nn.Linear(self.encoder.hidden_size, self.encoder.hidden_size)

    def forward(self, batch: Batch) -> Output:
        words = self.encode(batch)
        return Output(self.head(words + self.adapter(words), batch.lengths), words)


def own_trainer(learner: type[Learner], encoder: str, seed: int = 0, **recipe: Any) -> Trainer:
    return Trainer(learner, {}, RECIPE | recipe, encoder, seed)


def test_modules_of_a_methods_own_learn_at_the_heads_rate(encoder: str) -> None:
    t = own_trainer(Adapted, encoder)
    before = weights(t)
    record = t.learn(SPLIT.step_data(CORPUS, 1))
    assert not torch.equal(before["adapter.weight"], t.learner.state_dict()["adapter.weight"])
    assert record["remarks"] == []
    groups = t.learner.parameter_groups(1e-5, 1e-3, 0.01)
    of_adapter = {id(p): p.ndim for p in t.learner.adapter.parameters()}
    found = {
        (of_adapter[id(p)], g["lr"], g["weight_decay"]) for g in groups for p in g["params"] if id(p) in of_adapter
    }
    assert found == {(2, 1e-3, 0.01), (1, 1e-3, 0.0)}


def test_modules_of_a_methods_own_begin_as_the_seed_says(encoder: str) -> None:
    one, two, other = (weights(own_trainer(Adapted, encoder, seed))["adapter.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_random_numbers_of_a_step_do_not_hang_on_what_was_drawn_before_it(encoder: str) -> None:
    class Draws(TagLearner):
        drawn: list[float] = []  # noqa: RUF012

        def begin_step(self, data: StepData) -> None:
            self.drawn.append(torch.rand(()).item())

    for _ in range(2):
        own_trainer(Draws, encoder).learn(SPLIT.step_data(CORPUS, 1))
        torch.rand(7)
    assert Draws.drawn[0] == Draws.drawn[1]


def test_what_is_frozen_at_first_may_learn_later(encoder: str) -> None:
    class Later(Adapted):
        def begin_step(self, data: StepData) -> None:
            self.adapter.requires_grad_(False)

        def begin_epoch(self, epoch: int) -> None:
            self.adapter.requires_grad_(epoch > 1)

    before, after = (weights(own_trainer(Later, encoder)), learned_weights(Later, encoder, epochs=2))
    assert not torch.equal(before["adapter.weight"], after["adapter.weight"])


def test_a_parameter_that_would_never_learn_is_named_before_training(encoder: str) -> None:
    class LeavesOut(Adapted):
        def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
            return [{"params": [*self.encoder.parameters(), *self.head.parameters()], "lr": lr}]

    class Twice(Adapted):
        def parameter_groups(self, *rates: float) -> list[dict[str, Any]]:
            return [*super().parameter_groups(*rates), {"params": [self.adapter.bias], "lr": 1.0}]

    class Stranger(Adapted):
        def parameter_groups(self, *rates: float) -> list[dict[str, Any]]:
            return [*super().parameter_groups(*rates), {"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}]

    class Late(TagLearner):
        def begin_epoch(self, epoch: int) -> None:
            if epoch == 1:
                self.late = nn.Parameter(torch.zeros(1))

    def never(_: dict[str, Any]) -> None:
        raise AssertionError("no update shall come")

    for method, why in (
        (LeavesOut, r"LeavesOut.parameter_groups leaves out adapter.weight, adapter.bias, which would never learn"),
        (Twice, r"Twice.parameter_groups returns adapter.bias twice"),
        (Stranger, r"Stranger.parameter_groups returns a parameter that is in no module"),
        (Late, r"Late.parameter_groups leaves out late"),
    ):
        with pytest.raises(UserError, match=why):
            own_trainer(method, encoder).learn(SPLIT.step_data(CORPUS, 1), never)


def test_a_parameter_that_no_gradient_reaches_is_remarked(encoder: str) -> None:
    class Unused(Adapted):
        def forward(self, batch: Batch) -> Output:
            return TagLearner.forward(self, batch)

    record = own_trainer(Unused, encoder).learn(SPLIT.step_data(CORPUS, 1))
    assert record["remarks"] == ["no gradient reached adapter.weight, adapter.bias: not learned"]


# What a method keeps


class Keeps(TagLearner):
    """Grows a layer with each step and keeps tensors of a name and shape that depend on the data."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.adapters = nn.ModuleList()

    def grow(self, types: Sequence[str], init: Init) -> None:
        super().grow(types, init)
        width = self.encoder.hidden_size
        adapter = nn.Linear(width, width)
        nn.init.normal_(adapter.weight, std=0.1, generator=init(f"adapter {len(self.adapters)}"))
        self.adapters.append(adapter)

    def forward(self, batch: Batch) -> Output:
        words = self.encode(batch)
        for adapter in self.adapters:
            words = words + adapter(words)
        return Output(self.head(words, batch.lengths), words)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        pull = sum(((self.get_parameter(n) - self.carried[n]) ** 2).sum() for n in self.carried if n != "seen")
        return super().losses(batch, output, teacher) | ({"pull": pull} if self.step > 1 else {})

    def end_step(self, data: StepData) -> None:
        for name, parameter in self.adapters.named_parameters(prefix="adapters"):
            self.carried[name] = parameter
        before = self.carried["seen"] if "seen" in self.carried else torch.zeros(0)
        self.carried["seen"] = torch.cat([before, torch.tensor([len(s.words) for s in data.train])])


def test_what_grows_and_what_is_carried_is_saved_and_loaded(encoder: str, tmp_path: Path) -> None:
    whole, first, second = (own_trainer(Keeps, encoder) for _ in range(3))
    records = [whole.learn(SPLIT.step_data(CORPUS, k)) for k in (1, 2)]
    first.learn(SPLIT.step_data(CORPUS, 1))
    first.save(tmp_path)
    second.load(tmp_path)
    assert second.predict(CORPUS.used("test")) == first.predict(CORPUS.used("test"))
    assert len(second.learner.adapters) == 1
    assert second.learn(SPLIT.step_data(CORPUS, 2))["losses"] == records[1]["losses"]
    assert same(weights(whole), weights(second))
    assert len(weights(whole)["carried.seen"]) == 16
    assert "carried.adapters.1.weight" in weights(whole)
    width = whole.learner.encoder.hidden_size
    grown = 4 * (
        2 * (width + 1) + 2 * width * (width + 1) + 8
    )  # rows of tags; a layer and its copy; words of sentences
    assert records[1]["model_bytes"] - records[0]["model_bytes"] == grown


def test_what_is_carried_is_a_copy_without_gradient(encoder: str) -> None:
    carried = Carried()
    value = nn.Parameter(torch.ones(2))
    carried["a.b"] = value
    with torch.no_grad():
        value += 1
    assert carried["a.b"].tolist() == [1, 1]
    assert not carried["a.b"].requires_grad
    assert (list(carried), list(carried.state_dict()), list(carried.parameters())) == (["a.b"], ["a.b"], [])
    other = Carried()
    other["c"] = torch.zeros(3)
    other.load_state_dict(carried.state_dict())
    carried["a.b"] += 1
    assert {name: other[name].tolist() for name in other} == {"a.b": [1, 1]}
    del other["a.b"]
    assert list(other.state_dict()) == []


def test_what_is_carried_is_that_of_the_selected_epoch(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counts(TagLearner):
        def begin_epoch(self, epoch: int) -> None:
            self.carried["epoch"] = torch.tensor(epoch)

    scores = iter([10, 80, 20])
    monkeypatch.setattr(StepTraining, "_dev_score", lambda *_: next(scores))
    assert learned_weights(Counts, encoder, epochs=3)["carried.epoch"] == 2


@pytest.mark.parametrize("hook", ["begin_step", "end_step"])
@pytest.mark.parametrize("what", ["module", "buffer", "shape"])
def test_what_a_hook_adds_and_nobody_could_load_is_named(hook: str, what: str, encoder: str) -> None:
    class Adds(Adapted):
        def change(self) -> None:
            if what == "module":
                self.other = nn.Linear(2, 2)
            elif what == "buffer":
                self.register_buffer("other", torch.zeros(2))
            else:
                self.adapter.bias = nn.Parameter(torch.zeros(1))

    def change(self: Adds, data: StepData) -> None:
        self.change()

    setattr(Adds, hook, change)
    name = {"module": "other.bias, other.weight", "buffer": "other", "shape": "adapter.bias"}[what]
    with pytest.raises(UserError, match=rf"Adds: {hook}.* added, removed or reshaped {name}: .*self.carried"):
        learned_weights(Adds, encoder)


def test_an_attribute_of_the_step_before_is_lost_in_one_process_too(encoder: str) -> None:
    class Remembers(TagLearner):
        anchor: Tensor | None = None

        def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
            return super().losses(batch, output, teacher) | ({"anchor": self.anchor.sum()} if self.step > 1 else {})

        def end_step(self, data: StepData) -> None:
            self.anchor = torch.ones(2)

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'sum'"):
        learned_weights(Remembers, encoder, 2)


# Word embeddings, of which a step holds those in use


def learned_weights(learner: type[Learner], encoder: str, steps: int = 1, **recipe: Any) -> dict[str, Tensor]:
    t = own_trainer(learner, encoder, **recipe)
    for k in range(1, steps + 1):
        t.learn(SPLIT.step_data(CORPUS, k))
    return weights(t)


def outside(learner: Learner) -> Batch:
    """A sentence of words that the corpus does not hold, and one that it does."""
    sentences = [("electroencephalographs", "of", "aardvarks"), ("anna", "went", "to", "paris", "in", "1990")]
    tokens = learner.encoder.tokeniser.tokenise(sentences)
    rows = (Example(i, Sentence(i, words, ()), t) for i, (words, t) in enumerate(zip(sentences, tokens, strict=True)))
    return Batch(tuple(rows))


def test_words_outside_of_a_step_are_embedded_as_they_will_be_behind_it(encoder: str) -> None:
    compared = []

    class Looks(TagLearner):
        def begin_epoch(self, epoch: int) -> None:
            behind = copy.deepcopy(self.encoder)
            behind.restore_embeddings()
            batch = outside(self)
            self.eval(), behind.eval()
            with torch.no_grad():
                assert torch.equal(self.encode(batch), behind(batch.tokens))
            compared.append(behind.backbone.get_input_embeddings().weight.shape[0])

    learned_weights(Looks, encoder, 2, weight_decay=0.5, epochs=2)
    assert compared == [30522] * 4


class Penalised(TagLearner):
    """Pulls all weights to where the step, or its first epoch, began."""

    begins = "step"

    def begin_step(self, data: StepData) -> None:
        self.start = {n: p.detach().clone() for n, p in self.named_parameters()}

    def begin_epoch(self, epoch: int) -> None:
        if self.begins == "epoch":
            self.begin_step(StepData(1, (), (), (), (), ()))

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        pull = sum(((p - self.start[n]) ** 2).sum() for n, p in self.named_parameters())
        return super().losses(batch, output, teacher) | {"pull": 10 * pull}


class LearnsOthers(TagLearner):
    """Pulls the vectors of other words together."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        return super().losses(batch, output, teacher) | {"pull": self.encode(outside(self)).square().sum()}


def whole(learner: type[Learner]) -> type[Learner]:
    """A method that asks for the whole table."""
    return type(learner.__name__, (learner,), {"needs": frozenset({"all_embeddings"})})


@pytest.mark.slow
def test_a_method_that_needs_the_whole_table_says_so_or_is_stopped(encoder: str) -> None:
    class OfNorms(Penalised):
        def begin_step(self, data: StepData) -> None:
            self.start = dict.fromkeys((n for n, _ in self.named_parameters()), torch.zeros(()))

    class OfEpochs(Penalised):
        begins = "epoch"

        def losses(self, *given: Any) -> dict[str, Tensor]:
            return super().losses(*given) | {"norm": sum(p.square().sum() for p in self.encoder.parameters())}

    for method in (OfNorms, OfEpochs, LearnsOthers):
        with pytest.raises(UserError, match='add "all_embeddings" to the method\'s needs'):
            learned_weights(method, encoder)
        learned_weights(whole(method), encoder)
    with pytest.raises(RuntimeError, match="size"):
        learned_weights(Penalised, encoder)
    learned_weights(whole(Penalised), encoder)


def test_other_words_learn_where_the_table_is_whole(encoder: str) -> None:
    free, pulled = (learned_weights(whole(method), encoder) for method in (TagLearner, LearnsOthers))
    table = "encoder.backbone.embeddings.word_embeddings.weight"
    learner = Trainer(TagLearner, {}, RECIPE, encoder, seed=0).learner
    row = outside(learner).examples[0].tokens.ids[1]
    assert not torch.equal(free[table][row], pulled[table][row])


def test_the_whole_table_learns_what_the_words_in_use_do(encoder: str) -> None:
    one, other = (learned_weights(m, encoder, 2, weight_decay=0.5) for m in (TagLearner, whole(TagLearner)))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5)


def test_an_unknown_need_is_named(encoder: str) -> None:
    class Typo(TagLearner):
        needs = frozenset({"teachers"})  # type: ignore[arg-type]

    with pytest.raises(UserError, match=r"Typo.needs holds 'teachers'; known are teacher, features, layers, "):
        learned_weights(Typo, encoder)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda losses: losses["ce"], "a tensor of shape ()"),
        (lambda losses: {"ce": losses["ce"].item()}, "float for 'ce'"),
        (lambda losses: losses | {"kd": losses["ce"].repeat(3)}, "a tensor of shape (3,) for 'kd'"),
        (lambda losses: {}, "an empty dict"),
        (lambda losses: None, "NoneType"),
    ],
)
def test_losses_that_are_no_named_scalars_are_refused(change: Any, found: str, encoder: str) -> None:
    class Mine(TagLearner):
        def losses(self, *args: Any) -> Any:
            return change(super().losses(*args))

    with pytest.raises(UserError) as error:
        Trainer(Mine, {}, RECIPE, encoder, 0).learn(SPLIT.step_data(CORPUS, 1))
    said = f"Mine.losses must return a dict of scalar tensors, as {{'ce': loss}}; it returned {found}"
    line = inspect.getsourcelines(Mine.losses)[1]
    assert str(error.value) == f"{__file__}:{line}: {said}"


def test_losses_that_depend_on_no_parameter_are_refused(encoder: str) -> None:
    class Mine(TagLearner):
        def losses(self, *args: Any) -> Any:
            return {name: value.detach() for name, value in super().losses(*args).items()}

    with pytest.raises(UserError, match=r"Mine\.losses: no loss depends on a parameter that learns"):
        Trainer(Mine, {}, RECIPE, encoder, 0).learn(SPLIT.step_data(CORPUS, 1))


def test_settings_that_the_card_lacks_are_named(encoder: str) -> None:
    class Mine(TagLearner):
        needs = frozenset({"memory"})

        def losses(self, *args: Any) -> dict[str, Tensor]:
            return {name: value * self.settings["weight"] for name, value in super().losses(*args).items()}

    data = SPLIT.step_data(CORPUS, 1)
    with pytest.raises(UserError, match=r"no setting 'weight' in the card's settings; it has none\. Each setting"):
        Trainer(Mine, {}, RECIPE, encoder, 0).learn(data)
    with pytest.raises(UserError, match=r"it has wieght, a\. Did you mean 'wieght'\?"):
        Trainer(Mine, {"wieght": 1.0, "a": 1}, RECIPE, encoder, 0).learn(data)
    with pytest.raises(UserError, match='Mine needs memory: add "per_type"'):
        Trainer(Mine, {"weight": 1.0}, RECIPE, encoder, 0).learn(data)


def test_the_former_name_of_needs_is_refused(encoder: str) -> None:
    class Former(TagLearner):
        needs_teacher = True

    with pytest.raises(UserError, match=r'Former.needs_teacher is not asked any more: return frozenset\({"teacher"}\)'):
        learned_weights(Former, encoder)


# Batches


def test_batches_hold_each_sentence_once(encoder: str) -> None:
    t = trainer("spankl", encoder)
    examples = t._examples(CORPUS.parts["train"], "train")
    for batches in (list(shuffled(examples, 5, generator(0, "x"))), list(by_length(examples, 20))):
        assert sorted(e.index for b in batches for e in b.examples) == list(range(24))
    assert all(sum(e.tokens.size for e in b.examples) <= 20 for b in by_length(examples, 20))
    assert [len(b.examples) for b in shuffled(examples, 5, generator(0, "x"))] == [5, 5, 5, 5, 4]


def test_tag_targets_keep_the_longest_of_nested_mentions(encoder: str) -> None:
    mentions = (Mention(0, 3, "A"), Mention(1, 2, "B"), Mention(3, 4, "B"))
    (target,) = [batch_of(trainer("extendner", encoder), (Sentence(0, ("x",) * 5, mentions),)).tag_targets("AB")]
    assert target.tolist() == [1, 2, 2, 3, 0]


# The methods


def test_spankl_loss_is_that_of_the_paper(encoder: str) -> None:
    t = trainer("spankl", encoder, dropout=0.0)
    learn(t, "spankl", 1)
    step = SPLIT.step_data(CORPUS, 2)
    t.learner.enter(step)
    teacher = t._teacher(t._examples(step.train, "train"))
    t._grow(("LOC",))
    batch = batch_of(t, step.train[:3])
    t.learner.eval()
    with torch.no_grad():
        output = t.learner(batch)
        old = teacher(batch).logits + 0.5
        losses = t.learner.losses(batch, output, Output(old))
    bce = kd = 0.0
    row = 0
    for sentence in step.train[:3]:
        n, gold = len(sentence.words), {(m.start, m.end) for m in sentence.mentions}
        for i in range(n):
            for j in range(i, n):
                z = output.logits[row, 1].item()
                bce += math.log1p(math.exp(-z)) if (i, j + 1) in gold else math.log1p(math.exp(z))
                kd += bernoulli_kl(old[row : row + 1, :1], output.logits[row : row + 1, :1]).item()
                row += 1
    assert losses["bce"].item() == pytest.approx(bce / 3, rel=1e-5)
    assert losses["kd"].item() == pytest.approx(kd / 3, rel=1e-5)


def test_bce_of_zero_logits_counts_the_spans(encoder: str) -> None:
    t = trainer("spankl", encoder)
    t.learner.head.grow(["A", "B"], t._head_stream)
    batch = batch_of(t, (Sentence(0, tuple("abcde"), (Mention(0, 1, "A"),)),))
    value = t.learner.bce(batch, Output(torch.zeros(15, 2)), ("A", "B"))
    assert value.item() == pytest.approx(15 * math.log(2), rel=1e-6)


def test_distillation_starts_at_zero_because_the_student_is_its_teacher(encoder: str) -> None:
    t = trainer("spankl", encoder)
    learn(t, "spankl", 1)
    step = SPLIT.step_data(CORPUS, 2)
    t.learner.enter(step)
    teacher = t._teacher(t._examples(step.train, "train"))
    t._grow(("LOC",))
    batch = batch_of(t, step.train)
    t.learner.eval()
    # Kept in half precision: 2**-11 of a logit.
    assert t.learner.losses(batch, t.learner(batch), teacher(batch))["kd"].item() == pytest.approx(0, abs=1e-5)


def test_extendner_learns_labels_on_new_words_and_the_teacher_on_all_others(encoder: str) -> None:
    t = trainer("extendner", encoder)
    learn(t, "extendner", 1)
    step = SPLIT.step_data(CORPUS, 2)
    t.learner.enter(step)
    t._grow(("LOC",))
    batch = batch_of(t, step.train[:4])
    target = batch.tag_targets(t.learner.head.types)
    logits, old = torch.randn(len(target), 5), torch.randn(len(target), 3)
    losses = t.learner.losses(batch, Output(logits), Output(old))
    new = (target > 0).nonzero().flatten().tolist()
    assert len(new) == 4
    log_q, p = logits.log_softmax(1), old.softmax(1)
    ce = -sum(log_q[w, target[w]].item() for w in new) / len(new)
    rest = [w for w in range(len(target)) if w not in new]
    kd = sum((p[w] * (p[w].log() - log_q[w, :3])).sum().item() for w in rest) / len(rest)
    assert losses["ce"].item() == pytest.approx(ce, rel=1e-5)
    assert losses["kd"].item() == pytest.approx(kd, rel=1e-5)


@pytest.mark.parametrize(
    ("methods", "architecture"),
    [(["spankl", "spankl-nokd", "finetune-span", "joint-span", "joint-span-warm"], "span"),
     (["extendner", "finetune-token", "joint-token", "joint-token-warm"], "token")],
)  # fmt: skip
def test_step_1_is_the_same_for_all_methods_of_an_architecture(
    methods: list[str], architecture: str, encoder: str
) -> None:
    results = []
    for method in methods:
        t = trainer(method, encoder)
        learn(t, method, 1)
        assert t.learner.architecture == architecture
        results.append(weights(t))
    assert all(same(results[0], other) for other in results[1:])


def old_gradient(method: str, encoder: str) -> float:
    """Size of the gradient on the first task's columns in step 2."""
    t = trainer(method, encoder)
    learn(t, method, 1)
    step = SPLIT.step_data(CORPUS, 2)
    t.learner.enter(step)
    t._grow(("LOC",))
    batch = batch_of(t, step.train)
    t.learner.zero_grad()
    torch.stack(list(t.learner.losses(batch, t.learner(batch), None).values())).sum().backward()
    return max(p.grad.abs().max().item() for p in t.learner.head.blocks[0].parameters() if p.grad is not None)


def test_finetuning_unlearns_old_columns_and_no_distillation_leaves_them_alone(encoder: str) -> None:
    assert old_gradient("finetune-span", encoder) > 0
    assert old_gradient("spankl-nokd", encoder) == 0


@pytest.mark.parametrize("method", ["seqstar", "frozen-span"])
def test_frozen_methods_learn_nothing_but_the_new_columns(method: str, encoder: str) -> None:
    t, step = trainer(method, encoder, {"warmup_epochs": 1}, epochs=3), SPLIT.step_data(CORPUS, 1)
    at_freezing: dict[str, Tensor] = {}
    begin = t.learner.begin_epoch

    def spy(epoch: int) -> None:
        if epoch == 2 and not at_freezing:
            at_freezing.update({n: v.clone() for n, v in t.learner.encoder.state_dict().items()})
        begin(epoch)

    t.learner.begin_epoch = spy  # type: ignore[method-assign]
    learn(t, method, 1)
    before = weights(t)
    table = "backbone.embeddings.word_embeddings.weight"
    learned = {n: v for n, v in t.learner.encoder.state_dict().items() if n != table}
    narrow = at_freezing.pop(table)  # the words in use, and a row for the decay of all others
    assert same(at_freezing, learned)
    used = sorted({i for s in (*step.train, *step.dev) for i in t._examples([s], "train")[0].tokens.ids.tolist()})
    assert torch.equal(narrow[:-1], before[f"encoder.{table}"][used])
    t.learn(SPLIT.step_data(CORPUS, 2))
    after = weights(t)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert len(after) > len(before)


@pytest.mark.slow
@pytest.mark.parametrize("method", CONTINUAL)
def test_labels_that_a_step_may_not_show_change_nothing(method: str, encoder: str) -> None:
    """Poisons, after the split is fixed, every train and dev label of a type that its task does not teach."""

    def poison(part: str) -> tuple[Sentence, ...]:
        taught = {i: task.types for task in SPLIT.tasks for i in getattr(task, part)}
        sentences = []
        for s in CORPUS.parts[part]:
            kept = [m for m in s.mentions if m.type in taught.get(s.id, ())]
            wrong = [Mention(1, 2, t) for t in ("PER", "LOC", "DATE") if t not in taught.get(s.id, ())]
            sentences.append(replace(s, mentions=tuple(sorted(kept + wrong))))
        return tuple(sentences)

    poisoned = replace(CORPUS, parts={**CORPUS.parts, "train": poison("train"), "dev": poison("dev")})
    clean, dirty = (trainer(method, encoder, epochs=2) for _ in range(2))
    records = learn(clean, method), learn(dirty, method, corpus=poisoned)
    assert same(weights(clean), weights(dirty))
    assert [r["dev_scores"] for r in records[0]] == [r["dev_scores"] for r in records[1]]


@pytest.mark.parametrize("method", JOINT)
def test_joint_models_see_all_sentences_and_labels_so_far(method: str) -> None:
    assert registry.methods()[method].is_cumulative
    step: StepData = SPLIT.step_data(CORPUS, 2, cumulative=True)
    assert [s.id for s in step.train] == list(range(16))
    assert step.labelled == step.types == ("PER", "LOC")
    assert {m.type for s in step.train for m in s.mentions} == {"PER", "LOC"}


def test_the_method_of_the_documentation_runs(encoder: str, tmp_path: Path) -> None:
    text = (registry.HOME / "docs" / "methods.md").read_text()
    file = tmp_path / "selftrain.py"
    file.write_text(text.split("```python\n")[1].split("```")[0])
    (variant,) = registry.resolve([str(file)])
    t = Trainer(method_code.load_class(variant.card), variant.card.settings, RECIPE, encoder, seed=0)
    records = [t.learn(SPLIT.step_data(CORPUS, k)) for k in (1, 2)]
    assert [list(r["losses"]) for r in records] == [["ce"], ["ce"]]


def test_the_replay_of_the_documentation_learns_from_its_memory(encoder: str) -> None:
    text = (registry.HOME / "docs" / "methods.md").read_text()
    (lines,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "memory.draw" in block)

    def losses(self: Any, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = TagLearner.losses(self, batch, output, teacher)
        exec(lines, {}, {"self": self, "batch": batch, "losses": losses})
        return losses

    method = type("Replaying", (TagLearner,), {"needs": frozenset({"memory"}), "losses": losses})
    t = Trainer(method, {"per_type": 2}, RECIPE, encoder, seed=0)
    records = [t.learn(SPLIT.step_data(CORPUS, k)) for k in (1, 2)]
    assert [list(r["losses"]) for r in records] == [["ce"], ["ce", "replay"]]


def test_golden_numbers_of_the_engine(encoder: str) -> None:
    """A change here is a change of results: raise ``learning.numerics.NUMERICS`` with it."""
    found = {m: learn(trainer(m, encoder, epochs=2), m, 2)[1]["losses"] for m in ("spankl", "extendner")}
    assert found["spankl"]["bce"] == pytest.approx([4.23011, 0.83487], rel=1e-3)
    assert found["spankl"]["kd"] == pytest.approx([0.61012, 0.50465], rel=1e-3)
    assert found["extendner"]["ce"] == pytest.approx([1.58642, 0.89678], rel=1e-3)
    assert found["extendner"]["kd"] == pytest.approx([0.49714, 0.44087], rel=1e-3)


class ClosedForm(TagLearner):
    """Sets its head from class means, without an update."""

    trains = False

    def end_step(self, step: Step) -> None:
        for batch, output in self.outputs(step.batches()):
            target = batch.tag_targets(self.head.types)
            for tag in range(1 + 2 * self.n_old, self.n_columns):
                if (target == tag).any():
                    row = tag - (1 + 2 * self.n_old)
                    self.head.blocks[-1].weight.data[row] = output.words[target == tag].mean(0)


def test_a_method_without_training_has_no_epochs(encoder: str) -> None:
    t = Trainer(ClosedForm, {}, RECIPE, encoder, seed=0)
    before = {n: p.clone() for n, p in t.learner.encoder.named_parameters()}
    records = [t.learn(SPLIT.step_data(CORPUS, k)) for k in (1, 2)]
    assert [(r["epochs"], r["updates"], r["losses"], r["remarks"]) for r in records] == [(0, 0, {}, [])] * 2
    assert all(torch.equal(p, before[n]) for n, p in t.learner.encoder.named_parameters())
    assert len(t.predict([s.only(()) for s in CORPUS.parts["test"]])) == 12


class Remembers(TagLearner):
    """Notes what its memory gives."""

    needs = frozenset({"memory"})
    seen: ClassVar[list[tuple[int, int, tuple[str, ...], frozenset[str]]]] = []

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        drawn = self.memory.draw(len(batch.examples))
        for e in drawn.examples if drawn else ():
            self.seen.append((self.step, e.sentence.id, e.labelled, frozenset(m.type for m in e.sentence.mentions)))
        return super().losses(batch, output, teacher)


def test_a_memory_shows_the_labels_of_its_step_and_no_others_also_when_it_is_loaded(
    encoder: str, tmp_path: Path
) -> None:
    Remembers.seen.clear()
    new = lambda: Trainer(  # noqa: E731
        Remembers, {"per_type": 3}, RECIPE, encoder, seed=0, recall=CORPUS.parts["train"].__getitem__
    )
    t = new()
    records = [t.learn(SPLIT.step_data(CORPUS, k)) for k in (1, 2)]
    assert [r["memory"]["sentences"] for r in records] == [3, 6]
    t.save(tmp_path)
    loaded = new()
    loaded.load(tmp_path)
    assert loaded.learner.memory.exemplars == t.learner.memory.exemplars
    loaded.learn(SPLIT.step_data(CORPUS, 3))
    assert {step for step, *_ in Remembers.seen} == {2, 3}
    for _, id, labelled, types in Remembers.seen:
        assert labelled == (("PER",) if id < 8 else ("LOC",))
        assert types <= set(labelled)  # other types are in the text and stay hidden
