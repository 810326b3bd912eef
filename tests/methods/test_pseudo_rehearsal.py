"""Pseudo-rehearsal: what it reads, how it labels it, what it learns from it, and that the text is part of the key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cl_ner_bench.methods.pseudo_rehearsal import LINE_BYTES, PseudoRehearsal, read

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Output, Step
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.running.runs import Plan
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.testing.chain import CORPUS, chain, step_data, trainer
from cl_ner_bench.testing.grids import write_inputs
from cl_ner_bench.testing.toy import NO_TOKENS

TEXT = [" ".join(s.words) for s in CORPUS.parts["test"][:6]]


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Return a file of sentences."""
    file = tmp_path / "text.txt"
    file.write_text("\n".join(TEXT), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_labels_are_the_predictions_of_the_previous_model(
    architecture: str, encoder: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, tuple[Example, ...]] = {}
    plain = PseudoRehearsal.begin_step

    def watched(learner: PseudoRehearsal, step: Step) -> None:
        plain(learner, step)
        seen[step.step] = getattr(learner, "rehearsed", ())

    monkeypatch.setattr(PseudoRehearsal, "begin_step", watched)
    made = trainer(f"pseudo-rehearsal-{architecture}", encoder, {"epochs": 3, "lr": 4e-3}, rehearsal_text=text)
    made.nested = True
    made.learn(step_data(1))
    assert seen == {1: ()}
    for step, types in ((2, ("PER",)), (3, ("PER", "LOC"))):
        expected = made.predict([Sentence(i, tuple(line.split())) for i, line in enumerate(TEXT)])
        record = made.learn(step_data(step))
        found = {e.index: e for e in seen[step]}
        assert [found[i].sentence.words for i in range(6)] == [tuple(line.split()) for line in TEXT]
        assert [list(found[i].sentence.mentions) for i in range(6)] == [[p[:3] for p in ps] for ps in expected]
        assert any(expected)
        assert {e.labelled for e in seen[step]} == {types}
        assert {"rehearsal", "open"} == {*record["losses"]}
        assert made.learner.carried["rehearsal_text"].nbytes == len("\n".join(TEXT).encode())
        Path(text).unlink(missing_ok=True)  # the model carries it


def log_share(logits: list[float], chosen: list[int]) -> float:
    return math.log(sum(map(math.exp, logits))) - math.log(sum(math.exp(logits[i]) for i in chosen))


@pytest.mark.parametrize("architecture", ["token", "span"])
def test_only_old_types_are_learned_from_the_text(architecture: str, encoder: str) -> None:
    learner: Any = trainer(f"pseudo-rehearsal-{architecture}", encoder, rehearsal_weight=2.0).learner
    for type in "XZ":
        learner.grow((type,), lambda _: torch.Generator())
    learner.n_old, learner.labelled = 1, ("Z",)
    learner.rehearsed = (Example(0, Sentence(0, ("a", "b"), (Mention(0, 1, "X"),)), NO_TOKENS, labelled=("X",)),)
    rows = [[0.3, 1.0, -1.0, 2.0, 0.5], [0.1, 0.2, 0.3, 1.5, -0.5]]
    spans = [[1.0, 5.0], [-1.0, 5.0], [0.5, 5.0]]  # a, a b, b
    logits = torch.tensor(rows if architecture == "token" else spans)
    learner.forward = lambda batch: Output(logits)
    new = Batch((Example(0, Sentence(0, ("a", "b"), (Mention(0, 1, "Z"),)), NO_TOKENS),))
    found = learner.losses(new, Output(torch.zeros_like(logits)), None)["rehearsal"].item()
    if architecture == "token":
        expected = (log_share(rows[0], [1]) + log_share(rows[1], [0, 3, 4])) / 2
    else:
        expected = math.log1p(math.exp(-1)) + math.log1p(math.exp(-1)) + math.log1p(math.exp(0.5))
    assert found == pytest.approx(2 * expected, abs=1e-6)


def test_as_many_sentences_as_the_batch_has_in_the_draw_of_torch(encoder: str, text: str) -> None:
    losses = [chain("pseudo-rehearsal-token", encoder, 1, rehearsal_text=text).learn(step_data(2)) for _ in range(2)]
    assert losses[0]["losses"] == losses[1]["losses"]
    learner: Any = chain("pseudo-rehearsal-token", encoder, 1, rehearsal_text=text).learner
    learner.enter(step_data(2))
    learner.grow(("LOC",), lambda _: torch.Generator())
    sizes: list[int] = []
    learner.open_loss = lambda batch, output: sizes.append(len(batch.examples)) or torch.zeros(())
    for size in (2, 4, 9):  # the text has six
        batch = Batch(learner.rehearsed[:1] * size)
        learner.losses(batch, learner(batch), None)
    assert sizes[1::2] == [2, 4, 6]


@pytest.mark.parametrize(
    ("content", "count", "message"),
    [
        (None, 5, r"expected a file with one sentence"),
        (b"\n \n", 5, r"holds no sentence"),
        (b"a b\n\xff\xfe\n", 5, r"text\.txt:2: no UTF-8"),
        (b"a\n" + b"b" * (LINE_BYTES + 1), 5, r"text\.txt:2: more than 65,536 bytes"),
        (b"a b\n", 0, r"rehearsal_sentences is 0"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes | None, count: int, message: str) -> None:
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(str(tmp_path / "text.txt"), count)


def test_the_first_sentences_are_read(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes("\ufeffÉ  b\tc\r\n\n\u2028d\ne".encode())
    assert read(str(tmp_path / "text.txt"), 2) == ["É b c", "d"]
    assert read(str(tmp_path / "text.txt"), 9) == ["É b c", "d", "e"]


def test_a_sentence_too_long_for_spans_is_refused(tmp_path: Path, encoder: str) -> None:
    (tmp_path / "text.txt").write_text("a " * 2001)
    made = chain("pseudo-rehearsal-span", encoder, 1, rehearsal_text=str(tmp_path / "text.txt"))
    with pytest.raises(UserError, match=r"\(rehearsal_text\) has 2,001 words"):
        made.learn(step_data(2))


def plan(folder: Path, methods: str, **files: Path | str) -> Plan:
    """Return the plan of a grid on the tiny inputs."""
    if not (folder / "inputs").exists():
        write_inputs(folder / "inputs")
    options: dict[str, Any] = {"methods": methods, "bounds": "none", "recipe": "minilm"}
    options |= {"dataset": str(folder / "inputs" / "corpus"), "encoder": str(folder / "inputs" / "encoder")}
    options["set"] = [f"{label}.rehearsal_text={file}" for label, file in files.items()]
    return make_plan(layer(options)[0], ResultsFolder.open(folder / "out"))


def test_no_grid_starts_without_the_text(tmp_path: Path) -> None:
    flag = r"--set pseudo-rehearsal-token\.rehearsal_text=FILE"
    with pytest.raises(UserError, match=flag):
        plan(tmp_path, "pseudo-rehearsal-token")
    with pytest.raises(UserError, match=r"--set p\.rehearsal_text=.*absent: no such file"):
        plan(tmp_path, "p=pseudo-rehearsal-token", p=tmp_path / "absent")
    with pytest.raises(UserError, match="no such file"):
        plan(tmp_path, "p=pseudo-rehearsal-token", p="/dev/zero")


@pytest.mark.parametrize("method", ["pseudo-rehearsal-token", "pseudo-rehearsal+extendner"])
def test_the_content_of_the_text_is_part_of_every_steps_key(
    tmp_path: Path, text: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(text).parent)
    first = plan(tmp_path, f"p={method}", p="text.txt").runs[0].record
    assert first.settings["method"]["rehearsal_text"] == text
    (tmp_path / "copy.txt").write_text(Path(text).read_text(encoding="utf-8"), encoding="utf-8")
    same = plan(tmp_path, f"p={method}", p=tmp_path / "copy.txt").runs[0].record
    assert same.step_keys == first.step_keys
    Path(text).write_text("other words", encoding="utf-8")
    other = plan(tmp_path, f"p={method}", p=text).runs[0].record
    assert not {*first.step_keys.values()} & {*other.step_keys.values()}
    assert method_code.files_fingerprint(registry.resolve([method])[0].card, other.settings["method"]) == {
        "files": other.fingerprints["files"]
    }
