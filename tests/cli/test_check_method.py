"""`bench check-method` and `bench init-method`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_ner_bench.cli.main import main

LIAR = """
CARD = {"liar": {"class": "Liar", "architecture": "token", "first_step": "base"}}

from cl_ner_bench.learning.learner import TagLearner


class Liar(TagLearner):
    def losses(self, batch, output, teacher):
        return {"ce": 2 * super().losses(batch, output, teacher)["ce"]}
"""


@pytest.mark.slow
@pytest.mark.parametrize("span", [[], ["--span"]])
def test_a_new_method_passes_the_suite(
    span: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init-method", "my-method", *span]) == 0
    assert (tmp_path / "my_method.py").exists()
    assert "bench check-method my_method.py" in capsys.readouterr().out
    assert main(["check-method", "my_method.py"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"my-method ({'span' if span else 'token'}, memory-free)\n  ok     card")
    assert "FAULT" not in out
    assert out.splitlines()[-1].split()[:3] == ["my-method", "17", "0"]


@pytest.mark.slow
def test_a_fault_is_shown_with_what_to_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "liar.py").write_text(LIAR)
    assert main(["check-method", str(tmp_path / "liar.py")]) == 1
    out = capsys.readouterr().out
    assert "FAULT  first-step" in out
    assert 'write "own"' in " ".join(out.split())
    assert out.splitlines()[-1].split()[2] == "1"


def test_one_mistake_is_one_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "liar.py").write_text(LIAR.replace('return {"ce": 2 *', 'return {"ce": self.settings["wieght"] *'))
    assert main(["check-method", str(tmp_path / "liar.py")]) == 1
    out = capsys.readouterr().out
    assert " ".join(out.split()).count("no setting 'wieght' in the card's settings") == 1
    assert out.splitlines()[-1].split()[1:3] == ["1", "1"]
    assert "\n  FAULT  losses " in out
    assert "It ends the checks: all others (15) would run the same code." in out


def test_a_file_that_cannot_be_run_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "liar.py").write_text(LIAR.replace("\nclass Liar", "\n1 / 0\n\nclass Liar"))
    assert main(["check-method", str(tmp_path / "liar.py")]) == 1
    assert "the file of liar cannot be imported: ZeroDivisionError: division by zero, in " in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check-method", "spankll"], "Did you mean 'spankl'?"),
        (["check-method", "none.py"], "there is no file none.py"),
        (["check-method"], "METHOD"),
        (["init-method", "a/b"], "a method's name holds letters"),
        (["init-method", "spankl"], "already exists (bench list methods spankl)"),
        (["init-method", "mine", f"{__file__}/mine.py"], "cannot be written"),
        (["init-method", "mine", "--span", "--plug-in"], "not allowed with"),
    ],
)
def test_wrong_use(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_new_plug_in_passes_the_suite_and_goes_on_a_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "folder" / "smooth.py"
    assert main(["init-method", "smooth", str(file), "--plug-in"]) == 0
    assert f"bench run --methods {file}+extendner,extendner" in capsys.readouterr().out
    assert main(["check-method", f"{file}:smooth-token", f"{file}+extendner"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        "smooth-token",
        "smooth+extendner",
    ]


def test_a_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text("mine")
    assert main(["init-method", "mine", str(file)]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert file.read_text() == "mine"
