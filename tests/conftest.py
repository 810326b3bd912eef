"""Options, hooks and fixtures that several test files share."""

from __future__ import annotations

import gc
import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus, Mention, Sentence

# Before torch and numpy are imported: tiny tensors need one thread, and several test processes share the cores.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Cases are checked, not timed: machines differ.
settings.register_profile("suite", deadline=None)
settings.register_profile("quick lane", deadline=None, max_examples=25)


# Which tests run, and what is reported

QUICK = "not slow"  # the quick lane
SLOW_FILE = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="faults at the counts of docs/reliability.md: hours")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("quick lane" if config.option.markexpr == QUICK else "suite")


def pytest_collection() -> None:
    gc.disable()  # what is imported stays


def pytest_collection_finish() -> None:
    """Let no garbage collection walk through torch, pandas and all tests again: one takes a third of a second."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of slow tests alone in the quick lane: each process would, for nothing."""
    if config.option.markexpr != QUICK or collection_path.suffix != ".py":
        return None
    return True if SLOW_FILE.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``full`` unless ``--full`` is given; start the files that take longest first."""
    if not config.getoption("--full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name != "system"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI everything that a test needs is present: report a skipped test as failed, with its reason."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr[2]}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures that tests measured."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"{report.nodeid}: {value} ({report.duration:.0f} s)")


@pytest.fixture
def full(pytestconfig: pytest.Config) -> bool:
    """True if tests run at their full count."""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A function that reports a measured figure at the end of the session."""
    return lambda text: record_property("figure", text)


# What tests run in, and on


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests write no cache but their own."""
    os.environ["CL_NER_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def real_data() -> Path:
    """The folder of real corpora."""
    folder = os.environ.get("CL_NER_BENCH_DATA")
    if not folder:
        pytest.skip("CL_NER_BENCH_DATA names no folder of real corpora (fewnerd, ontonotes, wnut17)")
    return Path(folder)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the tiny encoder, which no test changes."""
    from cl_ner_bench.testing.tiny import tiny_encoder

    return str(tiny_encoder(tmp_path_factory.mktemp("tiny-bert")))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch, as in a worker."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def forked_runs() -> Iterator[None]:
    """Grids that the test itself runs learn in forks: no run imports torch again."""
    from cl_ner_bench.testing import forks

    with forks.forked_runs():
        yield


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that the test itself makes draw no figures, which take longer than all the rest."""
    monkeypatch.setattr("cl_ner_bench.analysis.figures.draw.drawings", lambda *_: [])


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn, with their captions and numbers, and their image files stay empty."""
    monkeypatch.setattr("cl_ner_bench.analysis.figures.figure.ReportFigure.to_bytes", lambda *_: b"")


@pytest.fixture
def make_corpus() -> Callable[..., Corpus]:
    """A corpus from types: sentence i of each part has one one-word mention for each type in ``rows[i]``."""

    def make(rows: list[str], tasks: dict[str, tuple[str, ...]], orders: tuple[tuple[int, ...], ...] = ()) -> Corpus:
        sentences = []
        for i, row in enumerate(rows):
            types = row.split()
            words = tuple(f"w{i}.{k}" for k in range(len(types))) or ("none",)
            sentences.append(Sentence(i, words, tuple(Mention(k, k + 1, t) for k, t in enumerate(types))))
        card = Card("toy", "Toy", tasks, orders)
        return Corpus(card, dict.fromkeys(("train", "dev", "test"), tuple(sentences)), "made up")

    return make


# LaTeX and a browser

DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[textwidth=455pt,textheight=690pt,columnsep=17pt]{geometry}
\usepackage{booktabs,siunitx,longtable}
\begin{document}%s\end{document}"""


@pytest.fixture
def compiled() -> Callable[..., tuple[str, str]]:
    """A function that returns the log and the text of a two-column document with all tables that it is given."""
    if not shutil.which("pdflatex") or subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True).returncode:
        pytest.skip("no pdflatex with siunitx (Debian: texlive-latex-extra, texlive-science)")
    from cl_ner_bench.analysis.tables.latex import to_latex

    def run(folder: Path, tables: list[Any], layout: Any) -> tuple[str, str]:
        inputs = ""
        for i, table in enumerate(tables):
            text = to_latex(table, layout)
            (folder / f"table{i}.tex").write_text(text, encoding="utf-8")
            inputs += rf"\{'onecolumn' if 'longtable}' in text else 'twocolumn'}\input{{table{i}}}\clearpage" + "\n"
        (folder / "all.tex").write_text(DOCUMENT % inputs)
        pipes: dict[str, Any] = {"cwd": folder, "capture_output": True, "text": True, "errors": "replace"}
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(command, timeout=240, **pipes)
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout, subprocess.run(["pdftotext", "-layout", "all.pdf", "-"], **pipes).stdout

    return run


QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
HELPERS = """
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const one = (selector, from = document) => from.querySelector(selector);
const wait = () => new Promise((done) => setTimeout(done, 150));
const choose = async (select, value) => { select.value = value; select.dispatchEvent(new Event("change")); await wait(); };
const tip = (chart) => Object.fromEntries(all(".tip div", chart).map((row) => all("span", row).map((s) => s.textContent)));
const hover = async (chart, share) => {
  const box = one("svg", chart).getBoundingClientRect();
  const where = {clientX: box.left + share * box.width, clientY: box.top + 50, bubbles: true};
  one("svg", chart).dispatchEvent(new PointerEvent("pointermove", where));
  await wait();
};
const names = (table) => all("tbody tr:not(.section)", table).filter((row) => row.checkVisibility()).map((row) => row.cells[0].textContent);
const [main, steps, types] = ["main", "steps", "types"].map((kind) => one(`figure.table[data-kind=${kind}][data-view=all]`));
const [main_filter, differences, runs] = ["main][data-view=filter", "differences", "runs"].map((kind) => one(`figure.table[data-kind=${kind}]`));
const curves = one(".for-steps .chart"), ofType = one(".for-types .chart");
"""  # noqa: E501


@pytest.fixture
def browse() -> Callable[..., Any]:
    """A function that opens a page in a headless browser and returns what ``script`` returns in it.

    ``fragment``: of the page's address. Anything on the browser's console fails, as does a script that does not end.
    """
    browser = shutil.which("chromium")
    if not browser:
        pytest.skip("no chromium")

    def run(
        page: str,
        folder: Path,
        script: str = "",
        size: str = "1280,900",
        dark: bool = False,
        fragment: str = "",
        **more: str,
    ) -> Any:
        end = (
            f"<pre id=found></pre><script type=module>{HELPERS}\nconst found = await (async () => {{ {script} }})();\n"
        )
        end += "document.getElementById('found').textContent = JSON.stringify(found ?? null);</script>"
        file = folder / "page.html"
        file.write_text(page.replace("</body>", end + "</body>"), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *QUIET]
        command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={size}", "--virtual-time-budget=15000"]
        command += ["--blink-settings=preferredColorScheme=0"] if dark else []
        command += [f"--{name.replace('_', '-')}={value}" for name, value in more.items()] or ["--dump-dom"]
        done = subprocess.run([*command, file.as_uri() + fragment], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr, done.stderr
        if more:
            return None
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found is not None, done.stderr
        assert found[1], done.stderr
        return json.loads(html.unescape(found[1]))

    return run
