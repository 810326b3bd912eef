"""The package from Python: what it shows, ``run`` and its messages, and results at a glance."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cl_ner_bench
from cl_ner_bench import extend, load_results, run, tune
from cl_ner_bench.api import as_arguments
from cl_ner_bench.cli import extend as extend_command
from cl_ner_bench.cli import tune as tune_command
from cl_ner_bench.cli.main import main
from cl_ner_bench.cli.parsing import Parser
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.options import OPTIONS
from cl_ner_bench.testing.results import METHODS, write_grid, write_run


@pytest.mark.slow
def test_the_package_lists_what_it_gives_without_loading_it() -> None:
    code = "import sys, cl_ner_bench; print(*dir(cl_ner_bench)); print({'torch', 'pandas', 'numpy'} & {*sys.modules})"
    shown, heavy = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert {"run", "load_results", "load_model", "TagLearner"} <= {*shown.split()}
    assert heavy == "set()"
    assert all(hasattr(cl_ner_bench, name) for name in cl_ner_bench.__all__)
    stub = Path(cl_ner_bench.__file__).with_suffix(".pyi").read_text()
    assert {*re.findall(r" as (\w+)$", stub, re.M)} == {*cl_ner_bench.__all__} - {"__version__"}


def test_run_has_every_option_as_an_argument_and_explains_it() -> None:
    parameters = [*inspect.signature(run).parameters]
    assert parameters == [*OPTIONS, "config", "quiet", "dry_run"]
    explained = re.findall(r"^ +(\w+): ", (run.__doc__ or "").partition("Args:")[2].partition("Returns:")[0], re.M)
    assert explained == parameters


def test_extend_has_the_options_of_its_command_and_explains_them() -> None:
    parameters = [*inspect.signature(extend).parameters]
    explained = re.findall(r"^ +(\w+): ", (extend.__doc__ or "").partition("Args:")[2].partition("Returns:")[0], re.M)
    assert {*explained} == {*parameters}
    parser = Parser()
    extend_command.add_parser(parser.add_subparsers(parser_class=Parser))
    words = ["extend", "MODEL", "--data", "DIR", "--out", "OUT"]
    options = {*vars(parser.parse_known_command(words))} - {"execute", "parser", "quiet"}
    assert options == {*parameters}


def test_tune_has_the_options_of_its_command_and_explains_them() -> None:
    parameters = [*inspect.signature(tune).parameters]
    explained = re.findall(r"^ +(\w+): ", (tune.__doc__ or "").partition("Args:")[2].partition("Returns:")[0], re.M)
    assert explained == parameters
    parser = Parser()
    tune_command.add_parser(parser.add_subparsers(parser_class=Parser))
    options = {*vars(parser.parse_known_command(["tune"]))} - {"execute", "parser", "dry_run"}
    assert options == {*parameters}


def test_a_dry_run_returns_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    text = run("spankl", epochs=3, max_sentences=50, seeds=[0, 1], out=out, dry_run=True)
    words = ["--methods", "spankl", "--epochs", "3", "--max-sentences", "50", "--seeds", "0,1", "--out", str(out)]
    assert main(["run", "--dry-run", *words]) == 0
    assert capsys.readouterr().out == f"{text}\n"
    assert not out.exists()


def test_an_argument_that_it_does_not_have_is_answered_by_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"run\(\) has no argument 'seed'. Did you mean 'seeds'\?"):
        run("spankl", seed=[0])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "spankkl"}, "`methods`: no method is called 'spankkl'"),
        ({"lr": "x"}, "`lr` 'x': expected a number"),
        ({"orders": [99]}, "`orders`: no order 99"),
        ({"seeds": 2}, "`seeds` 2: expected a list of numbers, such as [0, 1]"),
        ({"orders": 2}, "`orders` 2: expected a list of numbers, such as [0, 1]"),
        ({"set": {"spankl": {"kd": 1}}}, "`set` spankl.kd: spankl has no such setting"),
        ({"exact": True, "max_span_width": 3}, "pass `max_span_width` 0, or leave `exact` out"),
        ({"config": "none.toml"}, "`config` none.toml: cannot be read"),
    ],
)
def test_messages_speak_of_arguments(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as raised:
        run(**({"methods": "spankl", "dry_run": True} | options))  # type: ignore[arg-type]
    assert said in str(raised.value)
    assert "--" not in str(raised.value)


def test_extend_speaks_of_its_own_arguments(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^`step` 'last': expected a whole number of at least 1$"):
        extend(tmp_path, tmp_path, out=tmp_path / "out", step="last")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("pass another --out, or --keep-models none", "pass another `out`, or `keep_models` none"),
        ("--out /a--out-2: holds runs", "`out` /a--out-2: holds runs"),
        ("pass --trials 5", "pass --trials 5"),  # no argument of this function
        ("(`bench extend MODEL --out OUT` still learns it)", "(`bench extend MODEL --out OUT` still learns it)"),
    ],
)
def test_flags_become_arguments(message: str, said: str) -> None:
    assert as_arguments(message, ["out", "keep_models"]) == said


def test_results_show_their_runs_best_rows_and_frames(tmp_path: Path) -> None:
    write_grid(tmp_path, runs=((0, 0), (0, 1)))
    write_run(tmp_path, "broken", status="failed", reason="out of luck")
    results = load_results(tmp_path)
    lines = repr(results).splitlines()
    n = 2 * len(METHODS)
    assert lines[0] == f"Results of {n + 1} runs: {n} done, 1 failed"
    assert 8 <= len(lines) <= 12
    best = results.summary[results.summary["view"] == "all"].nlargest(1, "task_macro_f1_mean").iloc[0]
    assert lines[2].split(" ± ")[0].split() == [*best["label"].split(), f"{best['task_macro_f1_mean']:.1f}"]
    assert "n = 2 (toy, split, minilm)" in lines[2]
    assert f".counts ({len(results.counts):,} rows)" in lines[-2]


def test_results_without_a_finished_run_say_so(tmp_path: Path) -> None:
    write_run(tmp_path, "broken", status="failed", reason="out of luck")
    assert repr(load_results(tmp_path)).splitlines()[0] == "Results of 1 runs: 1 failed"


PAGE = (cl_ner_bench.HOME / "docs" / "api.md").read_text()


def test_the_page_of_the_api_shows_every_public_name() -> None:
    shown = {*re.findall(r"\w+", re.sub(r"^:::.*$", "", PAGE, flags=re.M))}
    assert {*cl_ner_bench.__all__} - {"__version__"} <= shown


@pytest.mark.slow
def test_the_examples_of_the_page_of_the_api_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_grid(tmp_path / "results" / "mine", ("spankl", "finetune-span"), n_steps=2)
    monkeypatch.chdir(tmp_path)
    results, _, sentences = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    scope: dict[str, object] = {}
    exec(re.sub(r"^results = run.*$", "", results, flags=re.M) + sentences, scope)
    assert [*tmp_path.glob("steps-all-*.pdf")]
