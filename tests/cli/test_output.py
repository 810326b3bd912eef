"""What commands print, and where."""

from __future__ import annotations

import logging

import pytest

from cl_ner_bench.cli.output import log_lines


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
