"""The choice of remembered sentences, and how they are learned.

Values of herding and of the buffer: the code base of arXiv 2312.07887 (utils/buffer.py at cc2bf9d), which picks a
sentence again where a class has too few, and stores one for each word of a tag.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cl_ner_bench.methods.replay import herded

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Step
from cl_ner_bench.learning.memory import Memory
from cl_ner_bench.testing.chain import CORPUS, chain, step_data, trainer
from cl_ner_bench.testing.toy import NoEncoder

FEATURES = torch.tensor(
    [
        [0.9, 0.1, 0],
        [0.7, 0.6, 0.2],
        [0.2, 0.9, 0.1],
        [0.8, 0.3, 0.5],
        [0.5, 0.5, 0.7],
        [0.1, 0.2, 0.9],
        [0.3, 0.8, 0.5],
    ]
)


def test_herding() -> None:
    assert herded(FEATURES[:5], 3) == [1, 3, 2]
    assert sorted(herded(FEATURES[5:], 3)) == [0, 1], "a tie; the release picks one of them again"
    assert herded(7 * FEATURES[:5], 3) == [1, 3, 2], "vectors count by their direction"


TAGS = [[0, 1, 2, 2, 2], [0, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 2, 0]]


def of_tags(id: int, tags: list[int]) -> Sentence:
    starts = [i for i, tag in enumerate(tags) if tag == 1]
    ends = [next((i for i in range(s + 1, len(tags)) if tags[i] != 2), len(tags)) for s in starts]
    return Sentence(id, tuple(map(str, tags)), tuple(Mention(s, e, "X") for s, e in zip(starts, ends, strict=True)))


@pytest.mark.parametrize("choice", ["random", "reservoir"])
def test_a_sentence_is_stored_once_however_many_words_its_mention_has(choice: str) -> None:
    (variant,) = registry.resolve(["replay-token"])
    made = method_code.load_class(variant.card)(NoEncoder(), {"per_type": 4, "exemplar_choice": choice})
    train = tuple(of_tags(i, tags) for i, tags in enumerate(TAGS))
    assert sorted(made.keep(Step(1, ("X",), ("X",), train, (), ("X",)))) == [0, 1, 2, 3]


def remembered(made: Any) -> list[tuple[int, tuple[str, ...]]]:
    return [(exemplar.id, exemplar.labelled) for exemplar in made.learner.memory.exemplars]


@pytest.mark.parametrize("choice", ["random", "reservoir", "herding"])
@pytest.mark.parametrize("architecture", ["token", "span"])
def test_each_type_has_its_budget_and_each_sentence_its_own_labels(
    choice: str, architecture: str, encoder: str
) -> None:
    made = chain(f"replay-{architecture}", encoder, 3, per_type=3, exemplar_choice=choice)
    found = remembered(made)
    for k, type in enumerate(("PER", "LOC", "DATE")):
        ids = [id for id, labelled in found if labelled == (type,)]
        assert len(set(ids)) == 3
        assert set(ids) <= set(range(8 * k, 8 * k + 8))
        assert all(any(m.type == type for m in CORPUS.parts["train"][id].mentions) for id in ids)
    assert len(found) == 9


def test_a_reservoir_is_uniform_over_all_sentences_of_a_type() -> None:
    (variant,) = registry.resolve(["replay-token"])
    train = tuple(of_tags(i, [1, 0]) for i in range(20))
    torch.manual_seed(0)
    hits = torch.zeros(20)
    method = method_code.load_class(variant.card)
    for _ in range(600):
        made = method(NoEncoder(), {"per_type": 4, "exemplar_choice": "reservoir"})
        made.memory = Memory()
        for part in (train[:8], train[8:]):  # the type comes back
            made.memory.add(made.keep(Step(1, ("X",), ("X",), part, (), ("X",))), ("X",))
        ids = [exemplar.id for exemplar in made.memory.exemplars]
        assert len(ids) == 4
        hits[ids] += 1
    assert (hits / 600 - 0.2).abs().max() < 0.06  # 3.7 standard deviations


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_without_weight_nothing_is_drawn_and_the_loss_is_masked(architecture: str, encoder: str) -> None:
    found = chain(f"replay-{architecture}", encoder, replay_weight=0.0).learner.state_dict()
    plain = chain(f"masked-{architecture}", encoder).learner.state_dict()
    for name, values in plain.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("replay-token", {"open", "replay"}),
        ("replay-span", {"open", "replay"}),
        ("replay+extendner", {"ce", "kd", "replay"}),
        ("replay+selftrain", {"ce", "replay"}),
        ("replay+spankl", {"bce", "kd", "replay"}),
        ("derpp-token", {"open", "replay", "logits"}),
        ("derpp+spankl", {"bce", "kd", "replay", "logits"}),
        ("a-gem-span", {"open"}),
        ("a-gem+extendner", {"ce", "kd"}),
    ],
)
def test_a_method_keeps_its_own_loss_for_new_sentences(method: str, names: set[str], encoder: str) -> None:
    assert set(chain(method, encoder, 1).learn(step_data(2))["losses"]) == names


@pytest.mark.slow
def test_replay_remembers_what_fine_tuning_forgets(encoder: str) -> None:
    """On old labels of remembered sentences; the tiny encoder learns these words by heart."""
    scores = {}
    for method in ("finetune-token", "replay-token"):
        made = trainer(method, encoder, {"epochs": 12}, **({"per_type": 8} if "replay" in method else {}))
        for step in (1, 2):
            made.learn(step_data(step))
        found = made.predict([s.only(()) for s in CORPUS.parts["train"][:8]])
        scores[method] = sum(any(p[2] == "PER" for p in ps) for ps in found)
    assert scores["replay-token"] >= 7
    assert scores["finetune-token"] <= 2


def test_an_unknown_choice_is_named(encoder: str) -> None:
    with pytest.raises(UserError, match="exemplar_choice is 'rondom'; expected random, reservoir, herding"):
        chain("replay-token", encoder, 1, exemplar_choice="rondom")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["token", "span"])
@pytest.mark.parametrize("relabel", [False, True])
def test_the_previous_model_labels_what_came_later(
    relabel: bool, architecture: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(f"replay-{architecture}", encoder, {"epochs": 16}, per_type=8, relabel=relabel)
    for step in (1, 2):
        made.learn(step_data(step))
    own = [tuple(e.labelled) for e in made.learner.memory.exemplars]
    remembered = [CORPUS.parts["train"][e.id] for e in made.learner.memory.exemplars]
    found = made.predict([s.only(()) for s in remembered])
    drawn: dict[int, Any] = {}

    def draw(memory: Memory, size: int) -> Batch:
        batch = memory.batch(range(len(memory)))
        drawn.update({e.sentence.id: e for e in batch.examples})
        return batch

    monkeypatch.setattr(Memory, "draw", draw)
    made.learn(step_data(3))
    added = 0
    for sentence, labelled, predicted in zip(remembered, own, found, strict=True):
        example, later = drawn[sentence.id], ("LOC",) if relabel and labelled == ("PER",) else ()
        new = {p[:3] for p in predicted if p[2] in later}
        assert example.labelled == (*labelled, *later)
        assert {m.type for m in example.sentence.mentions} <= {*labelled, *later}
        assert {tuple(m) for m in example.sentence.mentions} == {
            tuple(m) for m in sentence.only(labelled).mentions
        } | new
        added += len(new)
    assert bool(added) is relabel
