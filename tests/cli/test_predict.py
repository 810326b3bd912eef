"""`bench predict`: what it reads, what it writes, and what it says; the model is a stand-in that finds known words."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.cli import main
from cl_ner_bench.cli import predict as command
from cl_ner_bench.cli.predict import _write
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.deployment import model as model_module
from cl_ner_bench.deployment import predicting, text_input
from cl_ner_bench.deployment.text_input import TextInput
from cl_ner_bench.errors import UserError
from cl_ner_bench.models.decoding import Prediction
from tests.corpora.reading import read

TYPES = {"Anna": "PER", "Berg": "PER", "Oslo": "LOC"}
FOUND = [
    {"start": 0, "end": 9, "start_word": 0, "end_word": 2, "type": "PER", "score": 0.1235, "text": "Anna Berg"},
    {"start": 18, "end": 22, "start_word": 4, "end_word": 5, "type": "LOC", "score": 0.1235, "text": "Oslo"},
]
TEXT = "Anna Berg went to Oslo. Nobody came."
CONLL = "Anna\tB-PER\nBerg\tI-PER\nwent\tO\nto\tO\nOslo\tB-LOC\n.\tO\n\n"


class Finder:
    """A trainer whose model finds the words of TYPES; names side by side are one mention."""

    nested = False
    calls = 0

    def predict(self, sentences: Sequence[Sentence]) -> list[list[Prediction]]:
        self.calls += 1
        return [self._mentions(s.words) for s in sentences]

    def _mentions(self, words: Sequence[str]) -> list[Prediction]:
        found: list[Prediction] = []
        for i, word in enumerate(words):
            if found and found[-1][1:3] == (i, TYPES.get(word)):
                found[-1] = found[-1]._replace(end=i + 1)
            elif word in TYPES:
                found.append(Prediction(i, i + 1, TYPES[word], 0.123456))
        return found


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Finder:
    finder = Finder()
    model = SimpleNamespace(trainer=finder, types=("PER", "LOC"))
    monkeypatch.setattr(model_module, "open_model", lambda *_, **__: model)
    return finder


@pytest.fixture
def bench(finder: Finder, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        # As a process has them: the bytes of standard output are written to its buffer.
        with contextlib.redirect_stdout(io.TextIOWrapper(open(1, "wb", closefd=False))):
            code = main.main(["predict", "model", *map(str, words)])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


Run = Callable[..., tuple[int, str, str]]


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_texts_become_objects(bench: Run) -> None:
    code, out, err = bench("--text", TEXT, "--text", "Nobody")
    assert (code, err) == (0, "")
    assert rows(out) == [{"text": TEXT, "mentions": FOUND}, {"text": "Nobody", "mentions": []}]


def test_a_file_has_a_text_a_line(bench: Run, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    content = f"\ufeff{TEXT}\r\n\n\u00dcber Oslo\u2028Anna"
    file.write_bytes(content.encode())
    code, out, err = bench("--file", file)
    assert code == 0
    assert [row["text"] for row in rows(out)] == [TEXT, "", "\u00dcber Oslo\u2028Anna"]
    assert [[m["text"] for m in row["mentions"]] for row in rows(out)] == [["Anna Berg", "Oslo"], [], ["Oslo", "Anna"]]
    assert re.fullmatch(r"3 texts, 12 words, 4 mentions in \d+ s \([\d,]+ words a second\)\n", err)
    (tmp_path / "texts.gz").write_bytes(gzip.compress(content.encode()))
    assert bench("--file", tmp_path / "texts.gz", "--quiet") == (0, out, "")
    file.write_bytes(b"")
    assert bench("--file", file, "-q") == (0, "", "")


def test_json_lines_keep_ids_and_words(bench: Run, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    given = [{"id": 7, "text": TEXT, "x": 1}, {"tokens": ["in", "Oslo"]}, {"words": [], "id": None}, {"text": ""}]
    file.write_text("\n\n".join(map(json.dumps, given)))
    code, out, _ = bench("--file", file)
    in_list = {"start": 1, "end": 2, "start_word": 1, "end_word": 2, "type": "LOC", "score": 0.1235, "text": "Oslo"}
    assert code == 0
    assert rows(out) == [
        {"id": 7, "text": TEXT, "mentions": FOUND},
        {"tokens": ["in", "Oslo"], "mentions": [in_list]},
        {"id": None, "tokens": [], "mentions": []},
        {"text": "", "mentions": []},
    ]
    code, out, _ = bench("--file", file, "--input", "text")
    assert [row["text"] for row in rows(out)] == file.read_text().split("\n")


MALFORMED = {
    b"\xff\xfea": "not UTF-8 (byte 1 of the line)",
    b"{": "not JSON (",
    b"[" * 100_000: "not JSON (",
    b'"Anna"': """expected an object as {"text": "Anna ..."}, found 'Anna'""",
    b'{"txt": "Anna"}': """no "text" and no "tokens", found 'txt'""",
    b"{}": 'no "text" and no "tokens", found no key',
    b'{"text": 3}': '"text" is 3, expected a string',
    b'{"tokens": ["Anna", " "]}': '"tokens" is no list of words, none of them blank',
    b'{"tokens": "Anna"}': '"tokens" is no list of words',
    b'{"text": "\\ud83d"}': "half of a surrogate pair",
    b'{"text": "a", "id": "\\ud83d"}': "half of a surrogate pair",
    b'{"text": "a", "id": NaN}': '"id" holds NaN or an infinite number',
    b'{"text": "a", "id": [1e999]}': '"id" holds NaN or an infinite number',
}


@pytest.mark.parametrize(("line", "said"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_a_malformed_line_is_named_and_skipped_on_demand(bench: Run, tmp_path: Path, line: bytes, said: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_bytes(b'{"text": "Oslo"}\n' + line + b'\n{"text": "Anna"}\n')
    code, out, err = bench("--file", file)
    assert code == 2
    assert [row["text"] for row in rows(out)] == ["Oslo"]  # what came before is not lost
    assert f"error: {file}:2: {said}" in err
    assert "--skip-malformed" in err
    code, out, err = bench("--file", file, "--skip-malformed", "--quiet")
    assert code == 0
    assert [row["text"] for row in rows(out)] == ["Oslo", "Anna"]
    assert f"{file}:2: {said}" in err
    assert "1 malformed line skipped" in err


def test_of_many_malformed_lines_the_first_are_named(
    bench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_input, "NAMED", 3)
    file = tmp_path / "texts.jsonl"
    file.write_text("?\n" * 9)
    code, _, err = bench("--file", file, "--skip-malformed")
    assert (code, err.count(": skipped\n")) == (0, 3)
    assert "further malformed lines are counted, not named" in err
    assert "9 malformed lines skipped" in err


def test_columns_have_sentences(bench: Run, tmp_path: Path) -> None:
    code, out, _ = bench("--text", TEXT, "--format", "conll")
    assert code == 0
    rest = "# sent_id = 1.2\nNobody\tO\ncame\tO\n.\tO\n\n"
    assert out == f"# sent_id = 1.1\n{CONLL}{rest}"
    assert bench("--text", TEXT, "--format", "conll", "--no-split")[1].count("# sent_id") == 1
    file = tmp_path / "texts.jsonl"
    file.write_text('{"tokens": ["Anna\\tBerg", "went"]}')
    code, _, err = bench("--file", file, "--format", "conll")
    assert code == 2
    assert f"{file}:1: --format conll cannot hold a word that holds a tab" in err


def test_brat_has_two_files_a_text(bench: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = tmp_path / "texts.jsonl"
    given = [{"text": TEXT}, {"text": "by Anna\r\nBerg"}, {"tokens": ["in", "Oslo", "Anna", "Berg"]}]
    file.write_text("\n".join(map(json.dumps, given)))
    assert bench("--file", file, "--format", "brat", "--out", out, "--no-split", "-q") == (0, "", "")
    content = {path.name: path.read_bytes().decode() for path in out.iterdir()}
    assert content == {
        "000001.txt": TEXT,
        "000001.ann": "T1\tPER 0 9\tAnna Berg\nT2\tLOC 18 22\tOslo\n",
        "000002.txt": "by Anna\r\nBerg",
        "000002.ann": "T1\tPER 3 7;9 13\tAnna Berg\n",
        "000003.txt": "in Oslo Anna Berg",
        "000003.ann": "T1\tLOC 3 7\tOslo\nT2\tPER 8 17\tAnna Berg\n",
    }
    code, _, err = bench("--text", TEXT, "--format", "brat", "--out", out)
    assert code == 2
    assert "expected a new or empty folder" in err


@pytest.mark.parametrize("format", ["jsonl", "conll", "brat"])
def test_the_suites_own_readers_read_what_was_written(bench: Run, tmp_path: Path, format: str) -> None:
    out = tmp_path / ("train" if format == "brat" else f"train.{format}")
    file = tmp_path / "texts.txt"
    file.write_text(f"{TEXT}\n \n")
    assert bench("--file", file, "--no-split", "--format", format, "--out", out)[0] == 0
    path = out / "000001.txt" if format == "brat" else out
    assert read(path) == [("Anna|Berg|went|to|Oslo|.|Nobody|came|.", [(0, 2, "PER"), (4, 5, "LOC")])]


def test_an_output_file_appears_when_it_is_complete(bench: Run, tmp_path: Path, finder: Finder) -> None:
    file, out = tmp_path / "texts.jsonl", tmp_path / "deep" / "found.jsonl"
    file.write_text('{"text": "Oslo"}\n{"txt": "Oslo"}\n')
    code, shown, err = bench("--file", file, "--out", out)
    assert (code, shown, out.exists()) == (2, "", False)
    partial = out.with_name("found.jsonl.partial")
    assert f"what was found so far is in {partial}" in err
    assert [row["text"] for row in rows(partial.read_text())] == ["Oslo"]
    assert bench("--file", file, "--out", out, "--skip-malformed")[0] == 0
    assert [path.name for path in out.parent.iterdir()] == ["found.jsonl"]
    file.write_text("?")
    assert bench("--file", file, "--out", out)[0] == 2
    code, _, err = bench("--text", TEXT, "--out", file / "found.jsonl")
    assert (code, err) == (2, f"error: --out {file / 'found.jsonl'}: cannot be written (Not a directory)\n")
    code, _, err = bench("--text", TEXT, "--out", tmp_path)
    assert (code, err) == (2, f"error: --out {tmp_path}: expected a file, found a folder\n")
    assert [path.name for path in out.parent.iterdir()] == ["found.jsonl"]  # nothing was found: the old one stays


def test_a_link_at_the_output_stays_one(bench: Run, tmp_path: Path) -> None:
    link, target = tmp_path / "link.jsonl", tmp_path / "deep" / "target.jsonl"
    link.symlink_to(target)
    expected = bench("--text", TEXT)[1]
    for before in (None, "old"):
        if before:
            target.write_text(before)
        assert bench("--text", TEXT, "--out", link)[0] == 0
        assert link.is_symlink()
        assert target.read_text() == expected
        assert [*target.parent.iterdir()] == [target]
    (tmp_path / "round").symlink_to(tmp_path / "round")
    code, _, err = bench("--text", TEXT, "--out", tmp_path / "round")
    assert (code, "cannot be written" in err, (tmp_path / "round").is_symlink()) == (2, True, True)


def test_a_named_pipe_at_the_output_is_written_to(bench: Run, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    expected = bench("--text", TEXT)[1]
    for out in (pipe, link):
        with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as reader:
            assert bench("--text", TEXT, "--out", out)[:2] == (0, "")
            assert reader.read() == expected
        assert (pipe.is_fifo(), link.is_symlink()) == (True, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_standard_output_by_its_name_is_not_replaced(finder: Finder, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as file, contextlib.redirect_stdout(file):
        assert main.main(["predict", "model", "--text", TEXT, "--out", f"/dev/fd/{file.fileno()}"]) == 0
        assert os.path.samestat(os.fstat(file.fileno()), log.stat())
    first, *found = log.read_text().splitlines()
    assert (first, rows("\n".join(found))) == ("before", [{"text": TEXT, "mentions": FOUND}])


def test_the_texts_are_not_written_over(bench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "texts.txt"
    file.write_text(TEXT)
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "hard").hardlink_to(file)
    for out in (file, tmp_path / "link", tmp_path / "hard", tmp_path / "." / "link"):
        code, shown, err = bench("--file", file, "--out", out)
        assert (code, shown) == (2, "")
        assert err == f"error: --out {out}: would replace the input {file}; pass another --out\n"
    with file.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert "would replace the input standard input" in bench("-", "--out", file)[2]
    partial = file.rename(tmp_path / "found.jsonl.partial")
    assert bench("--file", partial, "--out", tmp_path / "found.jsonl")[0] == 2
    assert partial.read_text() == TEXT


@pytest.mark.parametrize("words", [["-", "--format", "conll"], ["--format", "conll", "-"], ["-q", "-", "--no-split"]])
def test_the_dash_stands_anywhere(bench: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    code, out, _ = bench(*words)
    assert (code, "Oslo" in out) == (0, True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_message() -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(UserError, match="cannot be written"),
    ):
        _write(full, [b"{}\n"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], 'expected one of --text "...", --file F, or -'),
        (["-", "--text", "a"], "--text and - exclude each other: expected one of"),
        (["--file", "texts.txt", "-"], "--file and - exclude each other: expected one of"),
        (["a.txt"], "'a.txt': expected - for standard input"),
        (["--text", " "], "--text is empty"),
        (["--text", "\udcff"], "expected UTF-8"),
        (["--file", "none.txt"], "none.txt: cannot be read (No such file or directory)"),
        (["--text", "a", "--format", "brat"], "name a folder for them with --out DIR"),
        (["--text", "a", "--format", "xml"], "invalid choice: 'xml'"),
        (["--text", "a", "--threads", "0"], "--threads 0: expected 1 or more"),
        (["--text", "a", "--step", "two"], "--step 'two': expected a whole number"),
    ],
)
def test_wrong_use_is_one_message(bench: Run, words: list[str], said: str) -> None:
    code, out, err = bench(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_columns_refuse_what_they_cannot_hold(bench: Run, finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "nested", True)
    code, _, err = bench("--text", TEXT, "--format", "conll")
    assert code == 2
    assert "mentions inside other mentions" in err


def test_a_gzip_file_cut_short_is_named(bench: Run, tmp_path: Path) -> None:
    file = tmp_path / "texts.gz"
    file.write_bytes(gzip.compress(b"Oslo\n" * 50, compresslevel=0)[:-100])
    code, out, err = bench("--file", file)
    assert code == 2
    assert {row["text"] for row in rows(out)} == {"Oslo"}
    assert f"error: {file}: cannot be read behind line {len(rows(out))} (" in err


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=12).filter(lambda line: not line.startswith(b"\xef\xbb\xbf")),
            st.sampled_from([b'{"text": "a"}', b"", b'{"tokens": ["a"]}']),
        )
    )
)
def test_every_line_is_a_text_or_counted(lines: list[bytes]) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    for is_jsonl in (False, True):
        texts = TextInput(io.BytesIO(b"".join(line + b"\n" for line in lines)), "name", is_jsonl, skip=True)
        numbers = [text.about.number for text in texts if text is not None]
        blank = sum(not line.decode(errors="replace").strip() for line in lines) if is_jsonl else 0
        assert len(numbers) + texts.skipped == len(lines) - blank
        assert sorted({*numbers}) == numbers
        assert not texts.fault


def test_a_terminal_shows_progress_unless_results_go_there(
    finder: Finder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    (tmp_path / "texts.txt").write_text(f"{TEXT}\n" * 3)
    found, file = ["--out", str(tmp_path / "found.jsonl")], str(tmp_path / "texts.txt")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"{TEXT}\n".encode() * 3)))
    for where, bar in (
        (["--file", file, *found], "100 %"),
        (["--file", file, "--format", "conll"], ""),
        (["-", *found], "\x1b"),
    ):
        screen, process = os.openpty()
        with open(process, "w") as terminal, contextlib.redirect_stderr(terminal), contextlib.redirect_stdout(terminal):
            assert main.main(["predict", "model", *where]) == 0
            terminal.flush()
            shown = ""
            while select.select([screen], [], [], 0)[0]:
                shown += os.read(screen, 1 << 16).decode()
        os.close(screen)
        assert re.search(r"3 texts, 27 words, 6 mentions in \d+ s \([\d,]+ words a second\)\r\n$", shown)
        assert bar in shown
        assert bar or "\x1b" not in shown


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The end of standard input that is written to."""
    reader, writer = os.pipe()
    with open(reader) as source, open(writer, "wb", buffering=0) as sink:
        monkeypatch.setattr(sys, "stdin", source)
        yield sink


@pytest.mark.parametrize("named", [False, True])
def test_a_pipe_is_answered_as_texts_come(pipe: Any, bench: Run, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second text is written only when the answer to the first one has been."""
    answered = threading.Event()
    write = command._write

    def written(file: Any, lines: Any) -> None:
        write(file, lines)
        answered.set()

    monkeypatch.setattr(command, "_write", written)

    def ask() -> None:
        pipe.write(b"in Oslo\n")
        assert answered.wait(20)
        pipe.write(b"by An")
        pipe.write(b"na")
        pipe.close()

    asking = threading.Thread(target=ask)
    asking.start()
    code, out, _ = bench(*(["--file", f"/dev/fd/{sys.stdin.fileno()}"] if named else ["-"]))
    asking.join()
    assert code == 0
    assert [[m["text"] for m in row["mentions"]] for row in rows(out)] == [["Oslo"], ["Anna"]]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C stops Python, also where tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_stopped_leaves_whole_lines(
    bench: Run, tmp_path: Path, finder: Finder, monkeypatch: pytest.MonkeyPatch, number: int, expected: int
) -> None:
    """The signal comes while a line is being written."""
    monkeypatch.setattr(predicting, "GROUP_WORDS", 8)
    file, out = tmp_path / "texts.txt", tmp_path / "found.jsonl"
    file.write_text(f"{TEXT}\n" * 50)
    lines, after = iter(range(50)), [*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))]
    write = command._write

    class Slow:
        def __init__(self, file: Any) -> None:
            self.file, self.flush = file, file.flush

        def write(self, data: bytes) -> None:
            self.file.write(data[:10])
            if next(lines) == 3:
                signal.raise_signal(number)
            self.file.write(data[10:])

    monkeypatch.setattr(command, "_write", lambda file, some: write(Slow(file), some))
    try:
        code = bench("--file", file, "--out", out)[0]
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == expected
    found = (tmp_path / "found.jsonl.partial").read_text()
    assert found.endswith("\n")
    assert 0 < len(rows(found)) < 50
    assert not out.exists()
    assert [*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))] == after
