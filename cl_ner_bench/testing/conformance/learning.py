"""Checks of a method's card, and of its learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cl_ner_bench import method_code
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.contract import some
from cl_ner_bench.learning.first_step import deviation
from cl_ner_bench.search_space import COMMON
from cl_ner_bench.testing.conformance.faults import Fault, as_text
from cl_ner_bench.testing.conformance.inputs import (
    CORPUS,
    LARGE,
    ONE,
    RECIPE,
    TWO,
    split,
    task,
)
from cl_ner_bench.testing.conformance.lab import BASES, Lab, Outcome, lab_of
from cl_ner_bench.testing.conformance.observing import keeping_attributes

F1 = 0.9
"""The F1 on unseen sentences that a method must reach on one task."""
LEARNING: Sequence[Mapping[str, Any]] = (
    {"epochs": 4, "batch_size": 10, "lr": 8e-3, "head_lr": 8e-2, "max_length": 64},
    {"epochs": 6, "batch_size": 5, "lr": 4e-3, "head_lr": 4e-2, "max_length": 64},
)
"""The training values of one task. The longer training is used only if the shorter one does not reach F1."""
EQUAL = 1e-6
"""The largest difference of weights, relative or absolute, between equal methods."""


def card(lab: Lab) -> str:
    """Architecture and group are what the card says."""
    method_code.check_class(lab.card)
    group, remembered = lab.card.group, [len(outcome.memory) for outcome in lab.two]
    if any(remembered) and group == "memory-free":
        raise Fault('it remembers sentences, but its group is "memory-free": write "group": "exemplar"')
    if group == "exemplar" and not all(remembered) and not lab.card.files:
        raise Fault('its group is "exemplar", but it remembers no sentence: needs must hold "memory", keep return ids')
    if group == "closed-form" and lab.observations.moved_vectors:
        raise Fault(
            'its group is "closed-form", but the encoder changes in step 2: call self.freeze_encoder() in begin_step, '
            "or change the group"
        )
    if group == "memory-free" and not lab.observations.moved_vectors:
        raise Fault('the encoder does not change in step 2, but the group is "memory-free": write "closed-form"')
    searched = sorted({*COMMON} - {key for key, values in lab.card.search.items() if values is None})
    if type(lab.last.learner).trains is False and searched:
        unsearched = ", ".join(f'"{key}": None' for key in searched)
        raise Fault(
            f"trains is False, but `bench tune` would try values of {', '.join(searched)}, which change nothing: write "
            f'"search": {{{unsearched}}} into the card'
        )
    own = lab.learner is not BASES[lab.card.architecture] and not lab.card.base  # a plug-in may change nothing here
    if own and not {"teacher", "memory"} & lab.last.learner.needs:
        pairs = zip(lab.two, _of_base_learner(lab.card.architecture), strict=True)
        if not any(set(one.differences(base)) - {"record"} for one, base in pairs):
            raise Fault(
                f"it equals finetune-{lab.card.architecture} in every step: is a need missing, e.g. needs = "
                'frozenset({"teacher"})? Without one, losses get no teacher, and the memory is empty'
            )
    return group


def first_step(lab: Lab) -> str:
    """Step 1 is the base learner's, as the card says."""
    numbers = {key: value for key, value in lab.settings.items() if type(value) in (int, float)}
    found = [_deviation(lab, 4, **{key: 3 * value for key, value in numbers.items()})]  # more epochs than 3 * 1
    for key, value in numbers.items():
        with suppress(Exception):  # the method may reject the value
            found.append(_deviation(lab, 2, **{key: type(value)(not value)}))
    if differing := [text for text in found if text]:
        raise Fault(
            f'"first_step" is "base", but step 1 differs from the base learner\'s in {differing[0]}: write "own"'
        )
    base = _of_base_learner(lab.card.architecture)[0].weights
    if far := [name for name, value in lab.two[0].weights.items() if name not in base or not value.equal(base[name])]:
        raise Fault(f'"first_step" is "base", but {some(far)} differ after step 1: write "own"')
    return ""


def _deviation(lab: Lab, epochs: int, **settings: Any) -> str:
    """Return how step 1 with ``settings`` differs from step 1 of the base learner; '' if they are equal."""
    found = deviation(lab.learner, lab.settings | settings, RECIPE | {"epochs": epochs, "max_length": 64})
    return f"{found} (with {as_text(settings)})" if found and settings else found


def _of_base_learner(architecture: str) -> list[Outcome]:
    """Return the outcomes of two steps of the base learner."""
    return lab_of(f"finetune-{architecture}").two


def memory(lab: Lab) -> str:
    """State between steps is not lost, and fits the group."""
    if lost := lab.observations.lost:
        raise Fault(
            f"self.{lost[0]}, set in end_step, is lost when the step ends: keep tensors in self.carried, or in buffers "
            "that __init__ or grow makes"
        )
    if reset := lab.observations.reset:
        repeats(lab)
        chain = lab.chain(TWO, learner=keeping_attributes(lab.learner))
        if any(kept.differences(outcome) for (_, kept), outcome in zip(chain, lab.two, strict=True)):
            raise Fault(
                f"{some([f'self.{name}' for name in dict.fromkeys(reset)])}: what an epoch makes of it is gone before "
                "the next epoch and in end_step, which need it: keep it in a buffer that __init__ or grow makes, or in "
                "self.carried"
            )
    for step, outcome in enumerate(lab.two, 1):
        seen = {i for task in TWO.tasks[:step] for i in task.train}
        if foreign := {id for id, _ in outcome.memory} - seen:
            raise Fault(f"keep returned {min(foreign)}, which is no id of a train sentence so far: return Sentence.id")
        size = sum(value.nbytes for value in outcome.weights.values())
        if outcome.record["model_bytes"] != size:
            raise Fault(
                f"it stores {size} bytes, not {outcome.record['model_bytes']} as after end_step: change nothing in keep"
            )
    if lab.card.group != "memory-free" or not _carried(lab.two[-1]):
        return ""
    few, many = (_sizes(lab, n) for n in (12, 24))
    if few != many:
        grown = some(sorted(name for name in many if many[name] != few.get(name)))
        raise Fault(
            f'the size of {grown} depends on the number of sentences, but the group is "memory-free": carry means '
            'or weights, or write "group": "exemplar"'
        )
    return ""


def _sizes(lab: Lab, sentences: int) -> dict[str, int]:
    """Return the bytes of each carried tensor after one step of ``sentences`` sentences."""
    one = split(CORPUS, task(("PER", "LOC"), range(sentences), range(8)))
    ((_, outcome),) = lab.chain(one, epochs=1)
    return _carried(outcome)


def _carried(outcome: Outcome) -> dict[str, int]:
    return {name: value.nbytes for name, value in outcome.weights.items() if name.startswith("carried.")}


def learns(lab: Lab) -> str:
    """One task is learned, as unseen sentences show."""
    if lab.card.first_step == "base" or _begins_as_base(lab):  # another check verifies first_step
        return f"F1 {_f1_of_base(lab.card.architecture):.2f} on unseen sentences, as the base learner's"
    if (f1 := _f1_of_one_task(lab)) < F1:
        raise Fault(
            f"F1 on unseen sentences is {f1:.2f} after one step of all types; it must reach {F1}: do losses use "
            "the labels? are head and encoder free in step 1? does decode find what the logits say?"
        )
    return f"F1 {f1:.2f} on unseen sentences"


def _begins_as_base(lab: Lab) -> bool:
    """Return True if step 1 equals the base learner's to the bit, apart from carried tensors and memory."""
    own, base = lab.two[0], _of_base_learner(lab.card.architecture)[0]
    more = {name for name in own.weights if name.startswith("carried.")} | {"memory", "record"}
    same_losses = own.record["losses"] == base.record["losses"]
    return lab.quick == lab.settings and same_losses and not set(own.differences(base)) - more


def _f1_of_one_task(lab: Lab) -> float:
    f1 = _f1_learned(lab, LEARNING[0])
    return f1 if f1 >= F1 else _f1_learned(lab, LEARNING[1])


def _f1_learned(lab: Lab, recipe: Mapping[str, Any]) -> float:
    train, test = LARGE.parts["train"], LARGE.parts["test"]
    memory = {"per_type": len(train)} if "per_type" in lab.settings else {}  # some learn only from memory
    settings = lab.settings | lab.sized(features=1024, sentences=24) | memory
    trainer = lab.trainer(settings=settings, **recipe)
    trainer.recall = train.__getitem__
    trainer.learn(lab.data(ONE, 1, LARGE))
    return _f1(test, trainer.predict([s.only(()) for s in test]))


@cache
def _f1_of_base(architecture: str) -> float:
    return _f1_of_one_task(lab_of(f"finetune-{architecture}"))


def _f1(gold: Sequence[Sentence], predicted: Sequence[Sequence[Any]]) -> float:
    right = {(i, *m) for i, s in enumerate(gold) for m in s.mentions}
    found = {(i, *p[:3]) for i, ps in enumerate(predicted) for p in ps}
    return 2 * len(right & found) / (len(right) + len(found))


def identities(lab: Lab) -> str:
    """With the settings that the card names, it equals the simpler method."""
    for name, settings in lab.card.identities.items():
        special, simple = Lab(lab.card, lab.learner, {**lab.settings, **settings}), lab.simpler(name)
        for step, ((trainer, _), other) in enumerate(zip(special.steps(TWO), simple.two, strict=True), 1):
            own = trainer.learner.state_dict()
            far = [n for n, value in other.weights.items() if n not in own or not _near(own[n], value)]
            # Softmax ignores the bias of a key, so its gradient is noise.
            if far := [n for n in far if not n.startswith("carried.") and not n.endswith("key.bias")]:
                raise Fault(
                    f"with {as_text(settings)} it should equal {name}, but after step {step} {some(far)} differ: "
                    'make each extra term vanish at 0, or correct "identities" in its card'
                )
    return ", ".join(lab.card.identities)


def _near(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=EQUAL, atol=EQUAL)


def hidden_labels(lab: Lab) -> str:
    """Hidden labels in train, dev and memory change nothing."""
    if change := lab.poisoned.change(lab.two):
        step, found = change
        raise Fault(
            f"step {step} depends on labels that are hidden in it ({some(found)} differ): read labels from the step's "
            "sentences and batches alone, never from a corpus"
        )
    return ""


def seeds(lab: Lab) -> str:
    """The same seed gives the same bits, another seed other bits."""
    repeats(lab)
    first = next(lab.chain(TWO, seed=1))[1]
    if lab.card.group != "closed-form" and not set(first.differences(lab.two[0])) - {"record"}:
        raise Fault("another seed gives the same model: seed nothing yourself (torch.manual_seed)")
    return ""


def repeats(lab: Lab) -> None:
    """Raise Fault unless the same seed gives the same bits."""
    if change := lab.again.change(lab.two):
        step, found = change
        raise Fault(
            f"the same seed gives other values in step {step} ({some(found)} differ): draw random numbers from "
            "torch's global stream alone, not from Python's random or NumPy, keep nothing in a module or a class, and "
            "never iterate over a set"
        )


def unmoved(lab: Lab) -> str:
    """Teacher and frozen parameters do not move."""
    seen = lab.observations
    if seen.teacher:
        raise Fault(
            f"the teacher's {some(seen.teacher)} change during a step: copy before you write (detach().clone())"
        )
    if seen.frozen:
        raise Fault(f"{some(seen.frozen)} are frozen and change in an epoch: write to no weights but in end_step")
    return ""


def growth(lab: Lab) -> str:
    """The head grows, and old columns keep their weights."""
    seen = lab.observations
    if seen.missing:
        raise Fault(f"no columns came for {some(seen.missing)}: call super().grow(types, init) in grow")
    if seen.at_growth:
        raise Fault(f"grow changes {some(seen.at_growth)}: add rows behind the old; change old values in begin_step")
    return ""
