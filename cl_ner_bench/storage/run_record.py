"""The record of a run in ``run.json``. docs/results.md describes each key."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from cl_ner_bench.storage.checks import DamagedError, learn_again
from cl_ner_bench.untrusted import is_name
from cl_ner_bench.validation import MisfitError, convert, fits

StoredCount = Annotated[int, Meta(ge=0, lt=1 << 53, description="a whole number of at least 0")]
_FINITE = 1.7976931348623157e308
Number = Annotated[
    Annotated[int, Meta(ge=0, lt=1 << 53)] | Annotated[float, Meta(ge=-_FINITE, le=_FINITE)],
    Meta(description="a finite number"),
]

IDENTITY = ("method", "dataset", "scenario", "order", "seed", "encoder")
"""Keys that identify a run in a results folder. Each identity has one setting there."""
RUN = ["run_id", *IDENTITY, "config"]
"""Keys that name a run in tables."""
WITHOUT_NUMBERS = ("recipe", "joint_steps", "training_check")
"""Keys of ``settings`` that change no number of a step."""
NEWCOMER = "newcomer"
"""``order_of`` of runs whose order names the one type that is learned last."""
TEST = "test"
"""The name of the test set if there is only one."""
DEV_ZERO = "dev score 0 in every epoch: the first epoch is kept"
"""The remark on a step without a choice of epoch."""
_NULL = ("recall_ceiling",)  # keys that may be null; all other keys are left out instead


class Task(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A task as a run learns it. ``domain`` is set if the corpus has several test sets."""

    domain: str = ""
    learned_at: StoredCount
    name: str
    types: list[str]


class ByPart(Struct, frozen=True):
    """The numbers of mentions in each part of a corpus."""

    train: StoredCount
    dev: StoredCount
    test: StoredCount


class CorpusRecord(Struct, frozen=True, omit_defaults=True):
    """Differences of a corpus from its published counts, and its numbers of mentions.

    ``test_copies``: the number of test sentences of several words that also stand in train; None in earlier records.
    """

    differences: list[str]
    accepted: list[str]
    n_mentions: ByPart
    without_task: dict[str, ByPart]
    test_copies: StoredCount | None = None


class EncoderIdentity(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Origin and shape of an encoder. A size is None if the configuration lacks it."""

    source: str
    repository: str | None = None
    revision: str | None = None
    layers: StoredCount | None
    width: StoredCount | None
    heads: StoredCount | None
    vocabulary: StoredCount | None
    cased: bool

    def __post_init__(self) -> None:
        if self.source == "hub" and None in (self.repository, self.revision):
            raise MisfitError("source", "repository and revision beside it", "'hub' alone")


class TrainingCheck(Struct, frozen=True):
    """Result of step 1 of a joint run with twice the epochs. Earlier versions recorded fewer keys."""

    micro_f1: Number
    epochs: StoredCount = 0
    updates: StoredCount = 0
    schema: int = 1


class _Memory(Struct, frozen=True):
    """Numbers of sentences in the memory after a step, of their labelled mentions, and of the bytes of their text."""

    sentences: StoredCount
    mentions: StoredCount
    bytes: StoredCount


class _Learned(Struct, frozen=True):
    """A row of ``learned``. Later versions and plug-ins may add keys; earlier versions lack some."""

    step: StoredCount
    updates: StoredCount = 0
    warmup_updates: StoredCount = 0
    epochs: StoredCount = 0
    selected_epoch: StoredCount = 0
    examples: StoredCount = 0
    parameters: StoredCount = 0
    carried_bytes: StoredCount = 0
    predicted: StoredCount = 0
    peak_memory_bytes: StoredCount = 0
    seconds: Number = 0
    teacher_seconds: Number = 0  # part of ``seconds``
    dev_seconds: Number = 0  # part of ``seconds``
    predict_seconds: Number = 0
    dev_scores: list[Number | None] = []
    losses: dict[str, list[Number]] = {}
    memory: _Memory | None = None
    remarks: list[str] = []


class ImportedFile(Struct, frozen=True):
    """A file of predictions that other code made: its name, digest and day of import."""

    name: str
    sha256: str
    date: str


class Trial(Struct, frozen=True):
    """A trial of `bench tune`: a run with ``values`` from ``space``, scored on the dev part.

    ``method`` is the label in the command, ``number`` counts from 1. ``study`` is the digest of everything that the
    trials of a search share, ``seed`` the seed of the sampler.
    """

    method: str
    number: Annotated[int, Meta(ge=1, lt=1 << 53, description="a whole number of at least 1")]
    values: dict[str, Any]
    space: dict[str, dict[str, Any]]
    objective: Annotated[str, Meta(pattern=r"\A(all|label-free)\Z", description="all or label-free")]
    seed: StoredCount
    study: str


class RunRecord(Struct, frozen=True, kw_only=True):
    """The settings of a run, its status, and the records of its steps.

    Records of earlier versions lack some of the keys with a default. This version ignores unknown keys.
    """

    schema: int = 1
    run_id: str
    method: str
    registry_name: str
    label: str
    dataset: str
    scenario: str
    order: StoredCount
    seed: StoredCount
    encoder: str
    config: str  # digest of everything besides order and seed that decides the run's numbers
    architecture: str
    group: str
    data: str = ""
    status: str
    reason: str = ""
    n_steps: StoredCount
    steps: list[StoredCount]
    tasks: list[Task]
    sizes: list[StoredCount] = []
    words: list[list[StoredCount]] = []
    order_of: str = ""
    documents: list[StoredCount] = []
    lost_mentions: StoredCount = 0
    corpus: CorpusRecord | None = None
    protocol: dict[str, Any] = {}
    setting: str  # digest of everything that comparable runs share
    settings: dict[str, Any]  # all resolved settings, those of the method under ``method``
    by_hand: dict[str, Any] = {}
    recall_ceiling: Number | None = None
    uncased: bool = False
    encoder_identity: EncoderIdentity | None = None
    undertrained_below: Number = 0
    learned: list[dict[str, Any]] = []
    shared: dict[str, str] = {}
    fingerprints: dict[str, str] = {}
    versions: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    times: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    step_keys: dict[str, str] = {}
    command: Any = None
    code: Any = None
    step1_reference: TrainingCheck | None = None
    trial: Trial | None = None  # set by `bench tune`
    imported: dict[str, ImportedFile] | None = None  # by step; None if the suite learned the run
    seal: str | None = None

    def __post_init__(self) -> None:
        """Raise MisfitError if keys contradict each other, or name something outside the folder."""
        if not is_name(self.run_id):
            raise MisfitError("run_id", "the name of a folder", reprlib.repr(self.run_id))
        for step, run_id in self.shared.items():
            if not is_name(run_id):
                raise MisfitError(f"shared.{step}", "the name of a run's folder", reprlib.repr(run_id))
        for step, key in self.step_keys.items():
            if not step.isdecimal() or not re.fullmatch("[0-9a-f]+", key):
                raise MisfitError("step_keys", "hexadecimal digits by step", reprlib.repr({step: key}))
        if not self.steps or not all(1 <= step <= self.n_steps for step in self.steps):
            raise MisfitError("steps", f"numbers of 1 to {self.n_steps}", reprlib.repr(self.steps))
        if self.status == "done" and self.n_steps not in self.steps:
            raise MisfitError("steps", "the last step of a run that is 'done'", reprlib.repr(self.steps))
        if self.step_keys and not {*map(str, self.steps)} <= self.step_keys.keys():
            raise MisfitError("step_keys", "a key for each of the steps", reprlib.repr(self.step_keys))
        order = [task.learned_at for task in self.tasks]
        if len(order) != self.n_steps or order != [*range(1, len(order) + 1)]:
            raise MisfitError("tasks", f"tasks that are learned in steps 1 to {self.n_steps}")

    @property
    def identity(self) -> tuple[str | int, ...]:
        """The values of ``IDENTITY``."""
        return (self.method, self.dataset, self.scenario, self.order, self.seed, self.encoder)

    @property
    def is_sealed(self) -> bool:
        """False for the records of early versions."""
        return self.seal is not None

    def key(self, step: int) -> str | None:
        """Return the key of a step, or None for records of early versions."""
        return self.step_keys.get(str(step))

    def learned_by(self, step: int) -> str:
        """Return the id of the run that learns a step: this run, or the run that shares the step with it."""
        return self.shared.get(str(step), self.run_id)

    def is_shared(self, step: int) -> bool:
        """Return True if another run learns the step."""
        return str(step) in self.shared

    def is_complete(self) -> bool:
        """Return True if the run has a step for each task. Joint models may be trained at the last step only."""
        return self.steps == [*range(1, self.n_steps + 1)]

    def to_builtins(self) -> dict[str, Any]:
        """Return the record as plain JSON values, without its seal."""
        record: dict[str, Any] = msgspec.to_builtins(self)
        return {key: value for key, value in record.items() if key != "seal" and (value is not None or key in _NULL)}


def to_training_check(value: Any) -> TrainingCheck | None:
    """Return the result in ``value``, or None if it holds none."""
    return msgspec.convert(value, TrainingCheck) if fits(value, TrainingCheck) else None


def parse_record(value: Mapping[str, Any], file: Path) -> RunRecord:
    """Return the record of a run from the content of ``file``.

    Others may have written the results folder. So check that no name in the record leads elsewhere, and that all
    numbers are finite.

    Raises:
        DamagedError: the record is not as docs/results.md says. The message names the key and the expected value.
    """

    def refuse(problem: str) -> DamagedError:
        wrong = f"is not as docs/results.md says ({problem.rstrip('.')})"
        return DamagedError(file, wrong, f"remove the run's folder, then {learn_again(file)}")

    record = convert(value, RunRecord, fail=refuse)
    for place, row in enumerate(record.learned):
        convert(row, _Learned, key=f"learned[{place}]", fail=refuse)
    if record.run_id != file.parent.name:
        wrong = f"is of the run {record.run_id!a}"
        raise DamagedError(file, wrong, "give its folder that name again, or remove the folder")
    return record
