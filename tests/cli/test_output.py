"""The output of commands: stdout, stderr and the log."""

from __future__ import annotations

import logging

import pytest

from cl_ner_bench.cli.output import duration, log_lines, table


def test_messages_are_plain_lines_on_stderr_and_quiet_leaves_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("cl_ner_bench.running.somewhere")
    for quiet, shown in ((False, "1 run\nno\\x1b[2J room\n"), (True, "no\\x1b[2J room\n")):
        with log_lines(quiet):
            log.debug("a detail")
            log.info("%d run", 1)
            log.warning("no\x1b[2J room")
        out, err = capsys.readouterr()
        assert (out, err) == ("", shown)
    log.info("nobody listens any more")
    assert capsys.readouterr().err == ""


def test_tables_align_without_decoration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers to the right; on every terminal, at every width; names of others command nothing."""
    rows = [["PER", 1234, "1"], ["日本\x1b[2J\n", 5, "x" * 120]]
    expected = [
        f"{'type':13}  {'n':>5}  text",
        f"{'PER':13}  1,234  1",
        "日本\\x1b[2J\\n      5  " + "x" * 120,  # two columns a sign
    ]
    for name, value in (("COLUMNS", "20"), ("FORCE_COLOR", "1"), ("TTY_COMPATIBLE", "1"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
        assert table(["type", "n", "text"], rows).splitlines() == expected
    assert table(["", "a"], [["x", "1.5"], ["yy", "10.25"]], right=True, gap=1).splitlines() == [
        "       a",
        "x    1.5",
        "yy 10.25",
    ]
    assert table([], [["a", "b"], ["ccc", "d"]]).splitlines() == ["a    b", "ccc  d"]


def test_long_texts_of_a_table_are_broken_and_names_are_not() -> None:
    text = table(["name", "summary"], [["a-name-without-end" * 4, "some words " * 20]], wrap=[1], width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "a-name-without-end" * 4 in text
    assert " ".join(line[74:] for line in text.splitlines()[1:]).split() == ["some", "words"] * 20


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.6, 67, 3600 * 26 + 60)] == ["0 s", "1 min 00 s", "1 min 07 s", "26 h 01 min"]
