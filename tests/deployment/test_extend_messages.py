"""Messages of `bench extend` and ``load_model``: by what the data label, by phase, and where a model is not usable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cl_ner_bench import load_model
from cl_ner_bench.cli.extend import _Line, as_progress
from cl_ner_bench.cli.main import main
from cl_ner_bench.deployment.extending import extend_model
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.transformers_form import UnfitError
from cl_ner_bench.testing.learned import learned
from cl_ner_bench.testing.results import write_run
from cl_ner_bench.testing.tiny import tiny_encoder

TRAIN = [(["in", "1990", "."], [[1, 2, "DATE"]]), (["until", "1991"], [[1, 2, "DATE"]])]
DEV = [(["anna", "went", "in", "1992"], [[3, 4, "DATE"]])]
TEST = [(["anna", "went", "in", "1992"], [[0, 1, "PER"], [3, 4, "DATE"]])]
COUNTS = {1: {"PER": [8, 2, 2]}, 2: {"PER": [8, 2, 2], "LOC": [1, 1, 1]}}


@pytest.fixture(autouse=True, scope="module")
def no_taggers() -> Iterator[None]:
    """Models become no taggers of transformers, whose import takes seconds and changes no message."""

    def unfit(*_: Any) -> NoReturn:
        raise UnfitError("none is")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cl_ner_bench.deployment.exporting.write_tagger", unfit)
        yield


@pytest.fixture(scope="module")
def home(no_taggers: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model`` (it knows PER) and ``joint``, and data: ``new-type``, whose test part labels PER, too."""
    folder = tmp_path_factory.mktemp("home")
    tiny_encoder(folder / "encoder")
    for name, method in (("model", "extendner"), ("joint", "joint-token")):
        learned(method, folder / "encoder", steps=1, epochs=1).export(folder / name)
    parts: dict[str, Sequence[Any]] = {"train": TRAIN, "dev": DEV, "test": TEST}
    (folder / "new-type").mkdir()
    for part, rows in parts.items():
        lines = [json.dumps({"words": words, "mentions": mentions}) for words, mentions in rows]
        (folder / "new-type" / f"{part}.jsonl").write_text("\n".join(lines))
    return folder


def test_the_text_says_by_part_whether_labels_of_old_types_are_there(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.use_deterministic_algorithms", None)  # imports torch's compiler; a CPU repeats without
    words = ["extend", str(home / "model"), "--data", str(home / "new-type"), "--epochs", "1"]
    assert main([*words, "--method", "lwf", "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    text = " ".join(out.split())
    assert "F1 by the labels of new-type part" in text
    assert "Labels of all old types are in test, where the F1 above says what is right." in text
    assert "Labels of old types are missing in train and dev." in text
    assert [line for line in err.splitlines() if "reads" in line or "learns" in line] == [
        *(f"the old model reads {part}" for part in ("train (5 words)", "dev (4 words)", "test (4 words)")),
        *(
            f"the old model, by its own method, reads {part}"
            for part in ("train (5 words)", "dev (4 words)", "test (4 words)")
        ),
        "lwf learns the step",
        *(f"the new model reads {part}" for part in ("train (5 words)", "dev (4 words)", "test (4 words)")),
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "not scored" not in card
    assert "On the labels of `new-type`" in card


def test_a_line_of_progress_names_phase_total_and_time_left() -> None:
    read: dict[str, Any] = {"phase": "the old model reads test", "words": 1000}
    assert as_progress(read, 0.0) == "the old model reads test (1,000 words)"
    assert as_progress(read | {"predicted_words": 250}, 3.0).endswith(": 250 of 1,000 words, about 9 s left")
    learn = {"phase": "lwf learns the step", "epoch": 1, "epochs": 2, "update": 5, "updates": 20, "loss": 0.5}
    assert as_progress(learn, 2.0).endswith(": epoch 1 of 2, update 5 of 20, loss 0.5, about 6 s left")
    assert as_progress({"phase": "lwf learns the step", "predicted_words": 7}, 2.0).endswith(": score on dev")


def test_on_a_terminal_progress_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    line = _Line()
    line({"phase": "a", "words": 10})
    line({"phase": "a", "words": 10, "predicted_words": 5})  # sooner than EVERY
    line({"phase": "b"})
    assert capsys.readouterr().err == "\r\x1b[Ka (10 words)\r\x1b[Kb"


def test_a_joint_model_needs_another_method(home: Path) -> None:
    with pytest.raises(UserError, match=r"^the model is of joint-token: .* all steps.*; pass --method extendner, or"):
        extend_model(str(home / "joint"), str(home / "new-type"))
    assert extend_model(str(home / "joint"), str(home / "new-type"), method="extendner", epochs=1).model.step == 2


def test_messages_name_the_flag_that_was_given(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)

    def refused(*words: str) -> str:
        assert main([*words]) == 2
        return capsys.readouterr().err

    extend = ["extend", "model", "--out", "out", "--data"]
    assert "--method: no method is called 'extendr'. Did you mean 'extendner'?" in refused(
        *extend, "new-type", "--method", "extendr"
    )
    assert "error: --data: 'new-typ' is no dataset, card or folder. Did you mean 'new-type'?" in refused(
        *extend, "new-typ"
    )
    assert "modell: there is no such folder. Did you mean 'model'?" in refused(
        "extend", "modell", "--out", "out", "--data", "new-type"
    )
    assert "modell: there is no such folder. Did you mean 'model'?" in refused("predict", "modell", "--text", "a")
    assert "Did you mean 'new-type'?" in refused("predict", "new-typ/runs/x", "--text", "a")
    with pytest.raises(UserError, match=r"^`method`: no method is called 'extendr'"):
        load_model("model", method="extendr")
    with pytest.raises(UserError, match="is a file; expected the folder"):
        load_model("new-type/train.jsonl")


def test_a_results_folder_in_place_of_a_run_lists_runs(tmp_path: Path) -> None:
    runs = [str(write_run(tmp_path, seed=seed)) for seed in range(7)]
    with pytest.raises(UserError, match=r"expected the folder of a run, .*results folder with 7 runs:") as error:
        load_model(tmp_path)
    assert str(error.value).split("\n  ")[1:] == [*sorted(runs)[:5], "..."]


@pytest.mark.parametrize(
    ("status", "said"), [("running", "wait until it has"), ("interrupted", "repeat the `bench run`")]
)
def test_a_run_that_is_not_done_says_so(
    tmp_path: Path, status: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, counts=COUNTS, status=status)
    for words in (["export", str(run), "--out", str(tmp_path / "x")], ["predict", str(run), "--text", "a"]):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert f"the run has not finished step 2 (status {status}): {said}" in told
        assert f"`bench status {tmp_path}`" in told
