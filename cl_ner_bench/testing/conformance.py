"""The conformance suite: what must hold of every method, checked with a tiny encoder and generated sentences.

A check is a function of a ``Lab``. It returns a remark (mostly ''), or raises ``Fault`` with what the author of the
method has to change.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from cl_ner_bench import registry
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.first_step import deviation
from cl_ner_bench.learning.learner import Learner
from cl_ner_bench.learning.trainer import Progress, Trainer
from cl_ner_bench.registry import MethodCard
from cl_ner_bench.scenarios.task import Task
from cl_ner_bench.testing.conformance_inputs import (
    CORPUS,
    LARGE,
    NAMES,
    ONE,
    RECIPE,
    SHORT,
    TWO,
    encoder,
    padding_encoder,
    split,
    task,
    with_types,
    without,
)
from cl_ner_bench.testing.conformance_lab import BASES, Lab, Outcome, batch
from cl_ner_bench.testing.pretended_device import DEVICE, PretendedDevice

F1 = 0.9
"""The F1 on unseen sentences that one task is learned to."""
LEARNING: dict[str, Any] = {"epochs": 8, "batch_size": 5, "lr": 4e-3, "head_lr": 4e-2, "max_length": 64}
CLOSE = 1e-5
EQUAL = 1e-6
STATE = (
    "Keep what must survive in parameters, buffers, self.carried or self.memory, make modules in __init__ or grow, and "
    "draw random numbers from torch's global stream."
)


class Fault(Exception):  # noqa: N818  of a method, not of the suite
    """A break of the contract; the message says what to change."""


Check = Callable[[Lab], str]


@dataclass(frozen=True)
class Result:
    """The outcome of a check: a fault with what to change, or a remark."""

    check: str
    fault: str = ""
    remark: str = ""
    seconds: float = 0.0  # of processor time


# What a card says


def card(lab: Lab) -> str:
    """Architecture and group are what the card says."""
    registry.check_class(lab.card)
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
    own = lab.learner is not BASES[lab.card.architecture] and not lab.card.base  # a plug-in may find nothing to change
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
    found = [_deviation(lab, **{key: 3 * value for key, value in numbers.items()})]
    for key, value in numbers.items():
        with suppress(Exception):  # a value that the method cannot have
            found.append(_deviation(lab, **{key: type(value)(not value)}))
    if differing := [text for text in found if text]:
        raise Fault(
            f'"first_step" is "base", but step 1 differs from the base learner\'s in {differing[0]}: write "own"'
        )
    base = _of_base_learner(lab.card.architecture)[0].weights
    if far := [name for name, value in lab.two[0].weights.items() if name not in base or not value.equal(base[name])]:
        raise Fault(f'"first_step" is "base", but {_some(far)} differ after step 1: write "own"')
    return ""


def _deviation(lab: Lab, **settings: Any) -> str:
    """Return in what step 1 with ``settings`` differs from the base learner's; '' if in nothing."""
    found = deviation(lab.learner, lab.settings | settings, RECIPE | {"epochs": 4, "max_length": 64})
    return f"{found} (with {_as_text(settings)})" if found and settings else found


@cache
def _of_base_learner(architecture: str) -> list[Outcome]:
    """Return what the base learner learns of two steps."""
    return Lab(registry.methods()[f"finetune-{architecture}"]).two


def memory(lab: Lab) -> str:
    """State between steps is not lost, and fits the group."""
    if lost := lab.observations.lost:
        raise Fault(
            f"self.{lost[0]}, set in end_step, is lost when the step ends: keep tensors in self.carried, or in buffers "
            "that __init__ or grow makes"
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
        grown = _some(sorted(name for name in many if many[name] != few.get(name)))
        raise Fault(
            f'the size of {grown} depends on the number of sentences, but the group is "memory-free": carry means '
            'or weights, or write "group": "exemplar"'
        )
    return ""


def _sizes(lab: Lab, sentences: int) -> dict[str, int]:
    """Return the bytes of each carried tensor after one step of a number of sentences."""
    one = split(CORPUS, task(("PER", "LOC"), range(sentences), range(8)))
    ((_, outcome),) = lab.chain(one, epochs=1)
    return _carried(outcome)


def _carried(outcome: Outcome) -> dict[str, int]:
    return {name: value.nbytes for name, value in outcome.weights.items() if name.startswith("carried.")}


# Learning


def learns(lab: Lab) -> str:
    """One task is learned, as unseen sentences show."""
    if lab.card.first_step == "base":  # which is checked
        return f"F1 {_f1_of_base(lab.card.architecture):.2f} on unseen sentences, as the base learner's"
    if (f1 := _f1_of_one_task(lab)) < F1:
        raise Fault(
            f"F1 on unseen sentences is {f1:.2f} after one step of all types; it must reach {F1}: do losses use "
            "the labels? are head and encoder free in step 1? does decode find what the logits say?"
        )
    return f"F1 {f1:.2f} on unseen sentences"


def _f1_of_one_task(lab: Lab) -> float:
    train, test = LARGE.parts["train"], LARGE.parts["test"]
    settings = (
        lab.settings | lab.sized(features=1024) | ({"per_type": len(train)} if "per_type" in lab.settings else {})
    )
    trainer = lab.trainer(settings=settings, **LEARNING)  # with a memory of all sentences, which some learn alone
    trainer.recall = train.__getitem__
    trainer.learn(lab.data(ONE, 1, LARGE))
    return _f1(test, trainer.predict([s.only(()) for s in test]))


@cache
def _f1_of_base(architecture: str) -> float:
    return _f1_of_one_task(Lab(registry.methods()[f"finetune-{architecture}"]))


def _f1(gold: Sequence[Sentence], predicted: Sequence[Sequence[Any]]) -> float:
    right = {(i, *m) for i, s in enumerate(gold) for m in s.mentions}
    found = {(i, *p[:3]) for i, ps in enumerate(predicted) for p in ps}
    return 2 * len(right & found) / (len(right) + len(found))


def identities(lab: Lab) -> str:
    """With the settings that the card names, it equals the simpler method."""
    for name, settings in lab.card.identities.items():
        simple = lab.simpler(name)
        special = Lab(lab.card, lab.learner, {**lab.settings, **settings})
        for step, ((_, one), (_, other)) in enumerate(zip(special.chain(TWO), simple.chain(TWO), strict=True), 1):
            far = [n for n, value in other.weights.items() if n not in one.weights or not _near(one.weights[n], value)]
            # The bias of a key has no gradient, since no softmax sees it: what moves it is noise.
            if far := [n for n in far if not n.startswith("carried.") and not n.endswith("key.bias")]:
                raise Fault(
                    f"with {_as_text(settings)} it should equal {name}, but after step {step} {_some(far)} differ: "
                    'make each extra term vanish at 0, or correct "identities" in its card'
                )
    return ", ".join(lab.card.identities)


def _near(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=EQUAL, atol=EQUAL)


def hidden_labels(lab: Lab) -> str:
    """Hidden labels in train, dev and memory change nothing."""
    poisoned = [_poisoned(TWO.tasks[:step], lab.card.data == "union") for step in (1, 2)]
    for step, (_, outcome) in enumerate(lab.chain(TWO, lambda step: poisoned[step - 1]), 1):
        if found := outcome.differences(lab.two[step - 1]):
            raise Fault(
                f"step {step} depends on labels that are hidden in it ({_some(found)} differ): read labels from the "
                "step's sentences and batches alone, never from a corpus"
            )
    return ""


def _poisoned(tasks: Sequence[Task], union: bool) -> Corpus:
    """Return the corpus with other mentions of all types that are hidden in the last of ``tasks``."""
    so_far = {type for task in tasks for type in task.types}

    def spoil(part: str, sentence: Sentence) -> Sentence:
        own = {t for task in tasks if part != "test" and sentence.id in getattr(task, part) for t in task.types}
        kept = so_far if own and union else own
        mentions = {m for m in sentence.mentions if m.type in kept} | {Mention(0, 1, t) for t in {*NAMES} - kept}
        return replace(sentence, mentions=tuple(sorted(mentions)))

    return replace(CORPUS, parts={p: tuple(spoil(p, s) for s in sentences) for p, sentences in CORPUS.parts.items()})


def seeds(lab: Lab) -> str:
    """The same seed gives the same bits, another seed other bits."""
    _repeats(lab)
    first = next(lab.chain(TWO, seed=1))[1]
    if lab.card.group != "closed-form" and not set(first.differences(lab.two[0])) - {"record"}:
        raise Fault("another seed gives the same model: seed nothing yourself (torch.manual_seed)")
    return ""


def _repeats(lab: Lab) -> None:
    """Raise Fault unless the same seed gives the same bits."""
    if lab.changes is not None:
        step, found = lab.changes
        raise Fault(
            f"the same seed gives other values in step {step} ({_some(found)} differ): draw random numbers from "
            "torch's global stream alone, not from Python's random or NumPy, keep nothing in a module or a class, and "
            "never iterate over a set"
        )


def unmoved(lab: Lab) -> str:
    """Teacher and frozen parameters do not move."""
    seen = lab.observations
    if seen.teacher:
        raise Fault(
            f"the teacher's {_some(seen.teacher)} change during a step: copy before you write (detach().clone())"
        )
    if seen.frozen:
        raise Fault(f"{_some(seen.frozen)} are frozen and change in an epoch: write to no weights but in end_step")
    return ""


def growth(lab: Lab) -> str:
    """The head grows, and old columns keep their weights."""
    seen = lab.observations
    if seen.missing:
        raise Fault(f"no columns came for {_some(seen.missing)}: call super().grow(types, init) in grow")
    if seen.at_growth:
        raise Fault(f"grow changes {_some(seen.at_growth)}: add rows behind the old; change old values in begin_step")
    return ""


# Predictions


def predictions(lab: Lab) -> str:
    """A sentence is predicted the same in any batch, in any order, with any padding."""
    learner, sentences = lab.last.learner, CORPUS.parts["test"][:8]
    together = _logits(lab.last, sentences)
    backwards = _logits(lab.last, sentences[::-1])[::-1]
    alone = [_logits(lab.last, [s])[0] for s in sentences]
    for how, others in (("alone", alone), ("in a batch of another order", backwards)):
        for one, other in zip(together, others, strict=True):
            if one.shape != other.shape or not torch.allclose(one, other, rtol=CLOSE, atol=CLOSE):
                raise Fault(f"a sentence has other logits {how}: forward must treat each sentence by itself (lengths)")
    hidden = [s.only(()) for s in sentences]
    found = _spans(lab.last.predict(hidden))
    backwards_found = _spans(lab.last.predict(hidden[::-1]))[::-1]
    alone_found = [_spans(lab.last.predict([s]))[0] for s in hidden]
    if not found == backwards_found == alone_found or not _decodes_by_sentence(learner, sentences):
        raise Fault("predictions depend on the batch: decode must treat each sentence by itself, and keep nothing")
    if wrong := {p[2] for ps in found for p in ps} - {*learner.head.types}:
        raise Fault(f"decode returns mentions of {min(wrong)!r}, which was not learned: return those of `types` alone")
    return ""


def _decodes_by_sentence(learner: Learner, sentences: Sequence[Sentence]) -> bool:
    """Return True if drawn logits are decoded the same in a batch and alone: learned ones may hold no mention."""
    lengths, types = [len(s.words) for s in sentences], learner.head.types
    ((_, output),) = learner.outputs([batch(learner, sentences)])
    drawn = torch.randn(output.logits.shape, generator=torch.Generator().manual_seed(0))
    together = learner.decode(replace(output, logits=drawn), lengths, types, False)
    words = [None] * len(lengths) if output.words is None else output.words.split(lengths)
    parts = zip(drawn.split(learner.rows(lengths)), words, lengths, strict=True)
    alone = [learner.decode(replace(output, logits=rows, words=of), [n], types, False)[0] for rows, of, n in parts]
    return _spans(together) == _spans(alone)


def _spans(predicted: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [sorted(p[:3] for p in ps) for ps in predicted]


def _logits(trainer: Trainer, sentences: Sequence[Sentence]) -> list[Tensor]:
    learner = trainer.learner
    ((_, output),) = learner.outputs([batch(learner, sentences)])
    rows = learner.rows([len(s.words) for s in sentences])
    if (shape := tuple(output.logits.shape)) != (sum(rows), learner.n_columns):
        raise Fault(f"logits are {shape}, rows and n_columns say {(sum(rows), learner.n_columns)}: make them agree")
    return list(output.logits.split(rows))


# Steps out of the ordinary


def one_sentence(lab: Lab) -> str:
    """A task of one sentence is learned, and another after it."""
    return _learns_all(lab, (("PER",), range(8)), (("DATE",), with_types(["DATE"])[:1]), (("LOC",), range(8, 16)))


def one_mention(lab: Lab) -> str:
    """A type with one mention is learned."""
    rare = with_types(["DATE"])[:1] + without("DATE")[:5]
    return _learns_all(lab, (("LOC", "DATE"), rare), (("PER",), range(8)))


def no_entities(lab: Lab) -> str:
    """A task without entities is learned, as the first and later."""
    first = _learns_all(lab, (("DATE",), without("DATE")[:6]), (("PER",), range(8)))
    return first or _learns_all(lab, (("PER",), range(8)), (("DATE",), without("DATE")[:6]), (("LOC",), range(8)))


def returning_type(lab: Lab) -> str:
    """A type that comes back is learned again, and keeps its columns."""
    tasks = (
        (("PER",), range(6)),
        (("LOC", "DATE"), range(6, 12)),
        (("DATE", "PER"), range(12, 18)),
        (("LOC",), range(18, 24)),
    )
    return _learns_all(lab, *tasks)


def _learns_all(lab: Lab, *tasks: tuple[Sequence[str], Sequence[int]]) -> str:
    """Learn tasks of types and train sentences; raise Fault where what is learned is no number, or not all types."""
    of = split(CORPUS, *(task(types, train, range(2 * k, 2 * k + 4)) for k, (types, train) in enumerate(tasks)))
    for step, (trainer, outcome) in enumerate(lab.chain(of, epochs=1), 1):
        if bad := [name for name, value in outcome.weights.items() if value.isnan().any()]:
            raise Fault(f"{_some(bad)} hold NaN after step {step}: guard means over no word, and logarithms of 0")
        if {*trainer.learner.head.types} != {*lab.data(of, step).types}:
            raise Fault(f"the model knows {trainer.learner.head.types} after step {step}: each type needs columns once")
    return ""


# Stopping, and other places


class Stopped(Exception):  # noqa: N818  a stop is no error
    """The end of a learner that is stopped on purpose."""


@dataclass
class Snapshot:
    """A checkpoint in memory that stops after it was saved in an epoch."""

    stop_after: int
    kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None

    def due(self) -> bool:
        return True

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.kept = {name: value.detach().clone() for name, value in tensors.items()}, json.loads(json.dumps(facts))
        if facts["epoch"] == self.stop_after:
            raise Stopped

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return self.kept


def resumes(lab: Lab) -> str:
    """A stopped step, resumed in a new learner, gives the same bits."""
    for step in (1, 2):
        _resumes(lab, step, 1)
    return ""


def _resumes(lab: Lab, step: int, epoch: int) -> None:
    snapshot = Snapshot(epoch)
    try:
        lab.before(step).learn(lab.data(TWO, step), checkpoint=snapshot)
    except Stopped:
        snapshot.stop_after = 0
    trainer = lab.before(step)  # without epochs, nothing is stopped: then only a new learner begins the step
    outcome = Outcome.of(trainer, trainer.learn(lab.data(TWO, step), checkpoint=snapshot))
    if found := outcome.differences(lab.two[step - 1]):
        raise Fault(
            f"stopped behind epoch {epoch} of step {step} and resumed in a new learner, {_some(found)} differ. {STATE}"
        )


def device(lab: Lab) -> str:
    """All tensors are on one device, which computes what a CPU does."""
    with warnings.catch_warnings(), PretendedDevice():
        warnings.filterwarnings(
            "ignore", ".*copying from a non-meta parameter"
        )  # true of "meta", not of what stands in
        return _same_on(DEVICE, lab)


def _same_on(device: str, lab: Lab) -> str:
    recipe: dict[str, Any] = {"dropout": 0.0, "epochs": 1, "lr": 1e-4, "head_lr": 1e-3, "folder": encoder(0.0)}
    try:
        found = [outcome for _, outcome in lab.chain(SHORT, device=device, **recipe)]
    except RuntimeError as error:
        if "same device" not in str(error):
            raise
        raise Fault(
            f"a tensor stays on the CPU at {_where(error, lab.card)}: make it with device=batch.device or "
            "self.device, or keep it in self.carried"
        ) from None
    for step, (one, (_, other)) in enumerate(zip(found, lab.chain(SHORT, **recipe), strict=True), 1):
        for name, means in other.record["losses"].items():
            there = one.record["losses"].get(name, ())
            if not all(math.isclose(a, b, rel_tol=1e-2, abs_tol=1e-4) for a, b in zip(means, there, strict=True)):
                raise Fault(f"loss {name!r} of step {step} is {there} on another device, and {means} on a CPU")
    return ""


# Longer checks


def stops(lab: Lab) -> str:
    """A step that is stopped inside and behind each of its epochs gives the same bits."""
    for step in (1, 2):
        data, record, snapshot = lab.data(TWO, step), lab.two[step - 1].record, Snapshot(0)
        for epoch in range(1, record["epochs"] + 1):
            first = record["updates"] // record["epochs"] * (epoch - 1) + 1
            for snapshot.stop_after, update in ((0, first), (epoch, 0)):  # inside the epoch, then behind it
                with suppress(Stopped):
                    lab.before(step).learn(data, _stop_at(update), snapshot)
        snapshot.stop_after = 0
        trainer = lab.before(step)
        if found := Outcome.of(trainer, trainer.learn(data, checkpoint=snapshot)).differences(lab.two[step - 1]):
            raise Fault(f"stopped inside and behind each epoch of step {step}, {_some(found)} differ. {STATE}")
    return ""


def _stop_at(update: int) -> Progress:
    def progress(state: dict[str, Any]) -> None:
        if state.get("update") == update:
            raise Stopped

    return progress


def process(lab: Lab) -> str:
    """A step that is stopped and resumed in another process gives the same bits."""
    for step in (1, 2):
        snapshot = Snapshot(1)
        with suppress(Stopped):
            lab.before(step).learn(lab.data(TWO, step), checkpoint=snapshot)
        with tempfile.TemporaryDirectory() as folder:
            tensors, facts = snapshot.kept or ({}, None)
            tensors = {name: value.contiguous() for name, value in tensors.items()}
            kept = Path(folder) / "snapshot.safetensors"
            safetensors.torch.save_file(tensors, kept, {"facts": json.dumps(facts)})
            command = [sys.executable, "-m", "cl_ner_bench.testing.conformance_process"]
            model = str(lab.model(step - 1)) if step > 1 and lab.card.start == "previous" else ""
            done = subprocess.run([*command, lab.card.spec, str(step), model, folder], capture_output=True, text=True)
            if done.returncode:
                raise Fault(f"another process cannot resume step {step}: {done.stderr.strip().splitlines()[-1]}")
            found, expected = json.loads((Path(folder) / "outcome.json").read_text()), lab.two[step - 1].digests()
        if names := sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)):
            raise Fault(
                f"stopped behind epoch 1 of step {step} and resumed in another process, {_some(names)} differ. {STATE}"
            )
    return ""


def padded(lab: Lab) -> str:
    """An encoder that pads, with its own forward pass, does as well."""
    other = Lab(lab.card, lab.learner, lab.settings, padding_encoder())
    return predictions(other) or resumes(other) or returning_type(other)


def half_precision(lab: Lab) -> str:
    """In bf16 a step gives numbers, and the same bits again."""
    for (_, one), (_, other) in zip(*(lab.chain(TWO, precision="bf16") for _ in range(2)), strict=True):
        if found := one.differences(other):
            raise Fault(f"in bf16 the same seed gives other values ({_some(found)} differ)")
        if bad := [name for name, value in one.weights.items() if value.isnan().any()]:
            raise Fault(f"in bf16 {_some(bad)} hold NaN: compute in float32 what grows (x.float())")
    return ""


def gpu(lab: Lab) -> str:
    """A GPU computes what a CPU does."""
    return _same_on("cuda", lab)


QUICK: tuple[Check, ...] = (
    card,
    seeds,
    learns,
    first_step,
    identities,
    hidden_labels,
    unmoved,
    growth,
    predictions,
    resumes,
    memory,
    one_sentence,
    one_mention,
    no_entities,
    returning_type,
    device,
)


FULL: tuple[Check, ...] = (stops, process, padded, half_precision)
"""The checks that take longer."""
COMPARING = frozenset({first_step, identities, hidden_labels, resumes, device, stops, process, half_precision, gpu})
"""Checks that compare two runs: where the same seed gives other values, that is their fault, too."""


def checks(card: MethodCard, full: bool = False) -> list[Check]:
    """Return the checks of a method: those that its card gives a reason for."""
    left_out = {first_step} if card.first_step != "base" else set()
    left_out |= {identities} if not card.identities else set()
    longer = FULL + ((gpu,) if torch.cuda.is_available() else ()) if full else ()
    return [check for check in QUICK + longer if check not in left_out]


def run_checks(card: MethodCard, full: bool = False) -> Iterator[Result]:
    """Check a method; yield the result of each check when it ends."""
    try:
        lab = Lab(card)
    except UserError as error:
        yield Result("card", str(error))
        return
    except Exception as error:
        yield Result("card", f"the file cannot be run: {_as_fault(error, card)}")
        return
    for check in checks(card, full):
        yield run_check(check, lab)


def run_check(check: Check, lab: Lab) -> Result:
    """Return the result of a check; whatever a method raises is a fault of it."""
    began, fault, remark = time.process_time(), "", ""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors
    try:
        if check in COMPARING:
            _repeats(lab)
        remark = check(lab)
    except (Fault, UserError, FloatingPointError) as error:
        fault = str(error)
    except Exception as error:
        fault = _as_fault(error, lab.card)
    finally:
        torch.set_num_threads(threads)
    return Result(title(check), fault, remark or about(check), time.process_time() - began)


def title(check: Check) -> str:
    """Return the printed name of a check."""
    return check.__name__.replace("_", "-")


def about(check: Check) -> str:
    """Return what a check is about, in a line."""
    return (check.__doc__ or "").partition("\n")[0].rstrip(".")


def _as_fault(error: Exception, card: MethodCard) -> str:
    return f"{type(error).__name__} at {_where(error, card)}: {error}"


def _where(error: BaseException, card: MethodCard) -> str:
    """Return file and line of the method's last frame in an error, else of the last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == card.file]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _as_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def _some(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
