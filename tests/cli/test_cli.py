"""The command line: its output, exit codes and speed; nothing here trains."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cl_ner_bench.cli import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.options import OPTIONS


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        code = main.main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


HEAVY = {"torch", "pandas", "numpy", "transformers", "matplotlib", "scipy"}
COMMANDS = ("run", "advise", "perf", "predict", "extend", "report", "reproduce", "status", "verify", "list")
HELP = [["--help"], *([name, "--help"] for name in COMMANDS)]
LISTS = [["list", "methods"], ["list", "datasets", "--json"], ["list", "methods", "-v"], ["list", "presets"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "heavy"),
    [*((words, {*HEAVY, "rich", "urllib.request"}) for words in HELP), *((w, HEAVY) for w in [*LISTS, ["reproduce"]])],
)
def test_quick_commands_import_nothing_heavy(words: list[str], heavy: set[str]) -> None:
    code = (
        "import sys; from cl_ner_bench.cli.main import main\n"
        f"try: main({words})\n"
        "except SystemExit: pass\n"
        f"heavy = {heavy} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_command_declares_no_arguments_of_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cl_ner_bench.cli.run.add_parser", lambda _: pytest.fail("run was not asked for"))
    assert run(capsys, "list", "scenarios")[0] == 0


def test_the_table_of_methods_reads_cards_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, _ = run(capsys, "list", "methods")
    monkeypatch.setattr("cl_ner_bench.source.Program.texts", lambda *_: pytest.fail("the code of a method was read"))
    assert run(capsys, "list", "methods") == (0, whole, "")


@pytest.mark.parametrize("kind", ["methods", "datasets", "scenarios", "encoders", "presets"])
def test_lists_are_tables_and_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    _, table, _ = run(capsys, "list", kind)
    code, text, _ = run(capsys, "list", kind, "--json")
    rows = json.loads(text)
    assert code == 0
    assert rows["schema"] == 1
    table, _, _ = table.partition("\n\n")  # a remark may follow
    lines = [line for line in table.splitlines() if not line.startswith(" ")]  # the rest goes on with a summary
    names = [row.get("plug_in") or row["name"].split()[0] for row in rows[kind]]
    assert [line.split()[0] for line in lines[1:]] == (sorted(set(names)) if kind == "methods" else names)
    assert max(map(len, table.splitlines())) <= 100


@pytest.mark.slow
def test_methods_are_listed_with_paper_status_and_deviations(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a wide terminal in the table, elsewhere with -v, or of one method by its name."""
    cards = json.loads(run(capsys, "list", "methods", "--json")[1])["methods"]
    texts = {card["name"]: [card[key] for key in ("paper", "status", "deviations") if card[key]] for card in cards}
    for columns in (160, 240):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run(capsys, "list", "methods")[1].splitlines()
        assert max(map(len, lines)) <= columns
        words = {*re.split(r"[\s-]+", " ".join(lines))}  # a line may end within a word with a hyphen
        assert all({*re.split(r"[\s-]+", text)} <= words for rows in texts.values() for text in rows)
    monkeypatch.setenv("COLUMNS", "80")
    everything = " ".join(run(capsys, "list", "methods", "-v")[1].split())
    assert all(text in everything for rows in texts.values() for text in rows)
    for name, rows in [*texts.items()][::9]:  # all stand in the table and under -v
        code, shown, _ = run(capsys, "list", "methods", name)
        assert code == 0
        assert all(text in " ".join(shown.split()) for text in rows)
        assert max(map(len, shown.splitlines())) <= 100
    assert json.loads(run(capsys, "list", "methods", "spankl", "--json")[1])["methods"] == [
        card for card in cards if card["name"] == "spankl"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "Did you mean 'run'"),
        (["list", "metods"], "Did you mean 'methods'"),
        (["list", "methods", "spnkl"], "Did you mean 'spankl'"),
        (["list", "methods", "SpanKL"], "Did you mean 'spankl'"),
        (["list", "datasets", "Few-NERD"], "Did you mean 'fewnerd'"),
        (["run", "--metods", "spankl"], "Did you mean '--methods'"),
        (["data", "show", "--dataset", "x"], "Give it without the flag: `bench data show DATASET|PATH`"),
        (["run", "--methods", "spnkl"], "Did you mean 'spankl'"),
        (["run", "--epochs", "0"], "--epochs '0': expected a whole number of at least 1"),
        (["run", "--epochs", "x"], "--epochs 'x': expected a whole number of at least 1"),
        (["run", "--lr", "nan"], "--lr 'nan': expected a number of at least 0"),
        (["run", "--timeout", "inf"], "--timeout 'inf': expected a number of at least 1"),
        (["run", "--seeds", "a"], "--seeds 'a': expected a whole number of at least 0"),
        (["run", "--orders", "9"], "no order 9"),
        (["run", "--backend", "slrum"], "expected one of loky, dask, ray, slurm. Did you mean 'slurm'"),
        (
            ["run", "--scheduler", "tcp://127.0.0.1:8786"],
            "loky uses no scheduler; pass --backend dask or --backend ray",
        ),
        (
            ["run", "--backend", "slurm", "--scheduler", "here"],
            "--scheduler here: with --backend slurm, expected local or no",
        ),
        (["run", "--slurm", "partition=gpu"], "--slurm partition: pass --backend slurm with it"),
        (["run", "--slurm", "gpu"], "expected KEY=VALUE"),
        (["run", "--set", "kd_weight=0"], "--set 'kd_weight=0': expected METHOD.KEY=VALUE"),
        (["data", "check", "nowhere"], "error: 'nowhere' is no dataset, card or folder"),
        (["run", "--set", "spnkl.kd_weight=0"], "Did you mean 'spankl'"),
        (["run", "--set", "mine.kd_weight=0"], "is called 'mine'. Its methods are spankl, "),
        (["run", "--set", "spankl.kd_wight=0"], "Did you mean 'kd_weight'"),
        (["run", "--set", "spankl.strength=0"], "Its own are kd_weight; those of training are "),
        (["run", "--tasks", "person;ORG"], "Did you mean 'PERSON'"),
        (["run", "--dataset", "OntoNotes"], "Did you mean 'ontonotes'"),
        (["run", "--set", "spankl.kd_weight=much"], "expected a value like 1.0"),
        (["run", "--device", "cuda:99"], "--device cuda:99"),
        (["run", "--device", "CUDA"], "expected one of auto, cpu, cuda. Did you mean 'cuda'?"),
        (["run", "--keep-models", "some"], "--keep-models 'some': expected one of last, all, none\n"),
        (["run", "--dataset", "synthetc"], "Did you mean 'synthetic'"),
        (["run", "--dataset", "fewnerd"], "--data"),
        (["run", "--scenario", "fg8-pg3"], "does not divide 6 types; near it are fg3-pg3, fg4-pg2, fg5-pg1."),
        (["run", "--recipe", "papper"], "Did you mean 'paper'"),
        (["run", "--split", "/no/such.json"], "--split /no/such.json: cannot be read (No such file or directory)"),
        (["run", "--split", str(Path(__file__))], "not JSON"),
        (["run", "--config", "/no/such.toml"], "--config /no/such.toml: cannot be read (No such file or directory)"),
        (["report", "/no/such"], "no results folder"),
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert said in err


def test_every_option_stands_in_the_help_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "run", "--help")
    assert code == 0
    assert [name for name in OPTIONS if f"--{name.replace('_', '-')} " not in text.replace("\n", " ")] == []
    assert "default: synthetic" in text
    assert "examples:" in text
    assert "(default: )" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], ["run", "--help"], ["report", "--help"], ["list", "--help"], ["data", "--help"]),
        *(["perf", "--help"], ["status", "--help"], ["verify", "--help"], ["reproduce", "--help"]),
        *(["list", "presets"], ["export", "--help"]),
        *(["data", "show", "--help"], ["data", "split", "--help"], ["data", "show", "synthetic"]),
        ["run", "--dry-run", "--orders", "all", "--max-sentences", "90"],
    ],
)
def test_what_is_printed_fits_100_columns(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, text, _ = run(capsys, *words)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].startswith("cl-ner-bench ")


def test_a_flag_overrides_the_config_files_set_which_overrides_its_keys(tmp_path: Path) -> None:
    config = tmp_path / "grid.toml"
    config.write_text(
        'schema = 1\nepochs = 3\nlr = 0.1\nmethods = ["spankl", "mine=own.py"]\ndata = "corpus"\n'
        "[set.spankl]\nepochs = 4\nlr = 0.2\nkd_weight = 0\n"
    )
    found = layer({"lr": "0.3", "set": ["spankl.kd_weight=0.5"]}, config)[0]
    assert found.options.set == {"spankl": {"epochs": 4, "kd_weight": 0.5}}
    assert (found.options.lr, found.options.epochs) == (0.3, 3)
    assert found.options.data == str(tmp_path / "corpus")
    assert found.options.methods == ("spankl", f"mine={tmp_path / 'own.py'}")
    assert found.origins["lr"] == "flag"
    assert str(config) in found.origins["epochs"]
    assert found.origins["seeds"] == "default"
    assert found.origins["spankl.kd_weight"] == "--set"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "Did you mean 'epochs'"),
        ("epochs = 'x'", "epochs"),
        ("epochs = 2.5", "whole number"),
        ("seeds = []", "at least one whole number"),
        ("methods = 3", "methods 3: expected a,b"),
        ("nested = 1", "true or false"),
        ("schema = 2", "newer version"),
        ("schema = 1\nepochs = 1\n[[grid]]\nepochs = 2", "nothing but"),
        ("= 3", "not TOML"),
        ("set = 3", "set"),
    ],
)
def test_a_wrong_config_file_is_explained(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(UserError, match=said):
        layer({}, tmp_path / "grid.toml")


def test_a_config_file_may_hold_many_grids(tmp_path: Path) -> None:
    config = tmp_path / "grid.toml"
    config.write_text('schema = 1\n[[grid]]\nmethods = "spankl"\n[[grid]]\nmethods = "extendner"\nbatch-size = 4\n')
    grids = layer({"epochs": 1}, config)
    assert [g.options.methods for g in grids] == [("spankl",), ("extendner",)]
    assert [g.options.epochs for g in grids] == [1, 1]
    assert grids[1].options.batch_size == 4


def test_dry_run_shows_every_value_with_its_origin_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [
        "--methods",
        "spankl,soft=extendner",
        "--set",
        "soft.temperature=2",
        "--lr",
        "1e-4",
        "--max-sentences",
        "90",
        "--clip",
        "0.5",
        "--warmup-share",
        "0.3",
        "--batch-size",
        "7",
        "--epochs",
        "2",
    ]
    code, text, _ = run(capsys, "run", "--dry-run", "--out", str(out), "--orders", "all", *words)
    assert code == 0
    assert not out.exists()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "temperature 2.0 [--set]" in lines
    assert "lr 0.0001 [flag]" in lines
    assert "kd_weight 1.0 [default]" in lines
    assert "clip 0.5 [flag]" in lines
    assert "warmup_share 0.3 [flag]" in lines
    assert "bounds added: joint-span, joint-token [default]" in lines
    assert "runs (16; 16 to do, 2 at a time)" in [line.replace("1 at", "2 at") for line in lines]
    assert any(line.startswith("estimate: about") for line in lines)


@pytest.mark.slow
def test_dry_run_counts_updates_as_training_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By step, from the sentences of each task (joint training: of all so far), the batch size and the epochs."""
    options = {"max-sentences": "60", "epochs": "2", "batch-size": "7", "warmup-share": "0.5", "warmup-updates": "4"}
    options |= {"methods": "extendner,ncm", "out": str(tmp_path / "out")}
    split = prepare({key.replace("-", "_"): value for key, value in options.items()}).runs[0].split
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    sizes, whole = [len(task.train) for task in split.tasks], split.cumulative_sizes[-1]
    counts = [2 * math.ceil(size / 7) for size in sizes]
    lines = " ".join(run(capsys, "run", "--dry-run", *words)[1].split())
    warmup = ", ".join(str(min(4, count // 2)) for count in counts)
    assert f"updates {', '.join(map(str, counts))} in steps 1-3 of order 0; of them warm-up {warmup}" in lines
    assert f"updates {2 * math.ceil(whole[0] / 7)} in step 3 of order 0; of them warm-up 4" in lines
    assert "in steps 1-3 of order 0, where it learns by gradient" in lines


@pytest.mark.slow
def test_types_in_no_task_and_other_counts_are_told_before_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--tasks", "PERSON;GPE", "--max-sentences", "60"]
    for command in (["run", "--dry-run", "--out", str(tmp_path / "out")], ["data", "show", "synthetic"]):
        code, text, _ = run(capsys, *command, *words)
        assert code == 0
        assert "types in no task (train / dev / test mentions, which count as O): " in " ".join(text.split())


def test_names_of_what_lies_here_are_suggested(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_columns").mkdir()
    (tmp_path / "mymethod.py").write_text("")
    assert "Did you mean 'my_columns'?" in run(capsys, "data", "check", "my_colums")[2]
    assert "Did you mean 'my_columns'?" in run(capsys, "data", "show", "./my_colums")[2]
    assert "For the file write 'mymethod.py'." in run(capsys, "run", "--methods", "mymethod")[2]
    (tmp_path / "my_columns" / "train.txt").write_text("a B-X\n\n")
    said = run(capsys, "data", "check", "my_columns", "--data", "none")[2]
    assert said == "error: --data: none is no folder. Pass --data PATH, the corpus' folder.\n"


def test_a_dry_run_names_orders_tasks_and_what_stays_on_disk(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--methods", "spankl", "--bounds", "none", "--max-sentences", "60", "--out", str(tmp_path / "out")]
    tasks = ["--orders", "0,1", "--keep-models", "none"]
    code, text, _ = run(capsys, "run", "--dry-run", *words, *tasks)
    assert code == 0
    orders = [line.split(maxsplit=2)[2] for line in text.splitlines() if line.startswith("  order ")]
    assert len(orders) == 2
    assert orders[0] != orders[1]
    assert all("; " in order for order in orders)
    most, stay = re.findall(r"([\d,]+) MB", text.partition("estimate")[2])
    assert int(most.replace(",", "")) > 100 > int(stay)
    assert run(capsys, "run", "--dry-run", *words)[1].count("\n  order ") == 1


def test_data_show_says_that_it_is_of_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(run(capsys, "data", "show", "synthetic", "--max-sentences", "60")[1].split())
    assert "of a random sample (--max-sentences): 60 of " in text
    assert "random sample" not in run(capsys, "data", "show", "synthetic")[1]


def test_data_show_of_a_corpus_too_small_for_the_default_scenario(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for part, n in (("train", 2), ("dev", 1), ("test", 1)):
        (tmp_path / f"{part}.txt").write_text("Anna B-PER\nRome B-LOC\n\n" * n)
    code, text, err = run(capsys, "data", "show", str(tmp_path))
    assert code == 0
    assert err == (
        "1 dev sentences cannot be split among 2 tasks; give more, or fewer tasks. "
        "The steps below are those of the scenario filter.\n"
    )
    assert "scenario filter" in text
    assert run(capsys, "data", "show", str(tmp_path), "--scenario", "split")[0] == 2


@pytest.mark.slow
def test_data_show_and_data_split(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "PERSON" in run(capsys, "data", "show", "synthetic")[1]
    assert json.loads(run(capsys, "data", "show", "synthetic", "--order", "1", "--json")[1])
    file = tmp_path / "split.json"
    code, _, err = run(capsys, "data", "split", "synthetic", "--order", "2", "--out", str(file))
    assert code == 0, err
    words = ["run", "--dry-run", "--split", str(file), "--out", str(tmp_path / "out")]
    code, text, err = run(capsys, *words)
    assert code == 0, err
    assert "synthetic-split-o2-s0" in text
    assert run(capsys, *words, "--orders", "2")[0] == 0
    code, _, err = run(capsys, *words, "--orders", "1,2")
    assert code == 2
    assert "has orders 2; leave --orders out" in err


@pytest.mark.slow
def test_methods_that_are_in_no_list_are_shown_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('CARD = {"architecture": "token", "variants": {"mine": {}, "other": {"summary": "Another."}}}')
    assert run(capsys, "list", "methods", str(file))[1].count("architecture  token") == 2
    assert "Another." in run(capsys, "list", "methods", f"{file}:other")[1]
    (card,) = json.loads(run(capsys, "list", "methods", "ewc+spankl", "--json")[1])["methods"]
    assert {"kd_weight", "ewc_weight"} <= card["settings"].keys()
    shown = [line for line in run(capsys, "list", "methods", "joint")[1].splitlines() if not line.startswith(" ")]
    assert shown == ["joint-span", "", "joint-token"]
    assert "'evc' is no plug-in. Did you mean 'ewc'" in run(capsys, "list", "methods", "evc+spankl")[2]


def test_the_list_of_methods_explains_group_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    from cl_ner_bench.cli.list import METHODS_HELP, SHORT
    from cl_ner_bench.method_card import SHARING
    from cl_ner_bench.registry import methods

    listed, _, legend = run(capsys, "list", "methods")[1].partition("\n\n")
    assert legend.strip() == METHODS_HELP.strip()
    states = {card.status for card in methods().values()}
    assert all(f"{word}: " in legend for word in SHARING)
    assert all(f"{SHORT.get(status, status)}: " in legend or f"({status}): " in legend for status in states)
    assert {line.split()[3] for line in listed.splitlines()[1:] if not line.startswith(" ")} == {
        SHORT.get(status, status) for status in states
    }


def test_a_method_is_shown_with_its_settings_their_meaning_needs_and_what_it_carries(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = " ".join(run(capsys, "list", "methods", "extendner")[1].split())
    assert (
        "settings (--set extendner.KEY=VALUE) kd_weight = 1.0 weight of distillation from the previous model" in shown
    )
    assert "needs teacher" in shown
    assert "stores one copy of the model" in shown
    assert "(--set derpp-span.KEY=VALUE, --set derpp-token.KEY=VALUE)" in run(capsys, "list", "methods", "derpp")[1]


def test_a_setting_of_0_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", "methods", "spankl-nokd"]) == 0
    assert "kd_weight = 0.0" in capsys.readouterr().out
