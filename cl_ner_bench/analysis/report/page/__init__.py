"""``report.html``: one file that opens from disk without a network; most of it needs no script."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from cl_ner_bench.analysis.comparison.compare import Comparison, learning_order
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.figure import ReportFigure
from cl_ner_bench.analysis.figures.style import Appearance
from cl_ner_bench.analysis.literature.settings import SHAPE
from cl_ner_bench.analysis.report.page.data import page_data
from cl_ner_bench.analysis.scores.measures import MEASURES
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import Cell, Table
from cl_ner_bench.analysis.tables.text import cell_text
from cl_ner_bench.storage.run_record import RUN, EncoderIdentity, RunRecord, Task

HERE = Path(__file__).parent
EMBEDDED = 64 * 1024  # bytes: larger files are links to the folders beside the page
IMAGES = 4 * 1024 * 1024  # bytes of figures inside the page, likewise
ROWS = 400  # of a table; longer ones are in their files only
SECTIONS = {
    "scores": "Scores",
    "steps": "Step by step",
    "types": "Types",
    "errors": "Errors",
    "cost": "Cost",
    "published": "Published numbers",
    "figures": "Figures",
}
_NUMBER = re.compile(r"[-−–\d.,±%()\s]*")
MIME = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex", "pdf": "application/pdf"}
MIME |= {"svg": "image/svg+xml", "png": "image/png", "zip": "application/zip"}


@dataclass(frozen=True)
class ComparisonReport:
    """A comparison with its answer, notes, tables and figures, the latter two by their section of the page."""

    comparison: Comparison
    answer: Sequence[str]
    notes: Sequence[str]
    tables: Sequence[tuple[str, Table]]
    figures: Sequence[tuple[str, ReportFigure]]


def render_page(
    results: Results,
    blocks: Sequence[ComparisonReport],
    appearances: Mapping[tuple[str, str], Appearance],
    files: Mapping[str, bytes],
) -> str:
    """Return the page's text. ``files``: the report's other files by relative path; the page holds small ones."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = [_page_part(block, files) for block in blocks]
    room = IMAGES
    for figure in (f for part in parts for name in SECTIONS for f in part["figures"][name]):
        room -= figure["size"]  # in the order of the page, as long as there is room
        figure["embedded"] = room >= 0
    environments = _environments(results)
    return environment.get_template("report.html.j2").render(
        results=results,
        parts=parts,
        sections=SECTIONS,
        configurations=_configurations(results),
        environments=environments,
        environment_of={run_id: i for i, (*_, ids) in enumerate(environments, 1) for run_id in ids},
        archive=_data_url("tables.zip", _zip(files)),
        beside=sorted(name for name, content in files.items() if len(content) > EMBEDDED),
        data=page_data(results, [block.comparison for block in blocks], appearances),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=(HERE / "report.js").read_text(encoding="utf-8"),
        cell_text=cell_text,
        is_number=_NUMBER.fullmatch,
        json=lambda value: json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False),
        folder=lambda run: f"runs/{results.folders[run.run_id].path.name}",
        run_columns=RUN[1:],
    )


def _page_part(block: ComparisonReport, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the template's values of a comparison."""
    c = block.comparison
    tables = [(section, _page_table(c, table, files)) for section, table in block.tables]
    figures = [(section, _page_figure(figure, files)) for section, figure in block.figures]
    return {
        "c": c,
        "answer": block.answer,
        "notes": block.notes,
        "tables": {name: [table for of, table in tables if of == name] for name in SECTIONS},
        "figures": {name: [figure for of, figure in figures if of == name] for name in SECTIONS},
        "orders": _orders(c),
        "facts": _facts(c),
    }


def _page_table(c: Comparison, table: Table, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the template's values of a table; heads and rows name their row, measure or step, from which the script
    looks up the runs of a value."""
    kind, view = table.name.split("-")[:2]
    # Published rows may have our labels: no value of theirs leads to a run of ours.
    rows = {} if kind == "published" else {row.label: i for i, row in enumerate(c.rows)}
    measures = {NAMES[key].title: key for key in MEASURES}

    def head(text: str) -> dict[str, Any]:
        step = re.fullmatch(r"S(\d+)", text)
        own = {"row": rows.get(text), "measure": measures.get(text), "step": step and step[1]}
        return {"text": text, "of": {key: value for key, value in own.items() if value is not None}}

    sections = []
    for title, lines in table.sections:
        measure = measures.get(title.split(":")[0])
        sections.append(
            (title, {"measure": measure} if measure else {}, [(_first(line[0], rows), line) for line in lines])
        )
    return {
        "name": table.name,
        "kind": kind,
        "view": view,
        "caption": table.caption,
        "notes": table.notes,
        "header": [head(text) | {"words": _is_of_words(table, i)} for i, text in enumerate(table.header)],
        "sections": sections,
        "n_rows": sum(len(lines) for _, lines in table.sections),
        "shown": sum(len(lines) for _, lines in table.sections) <= ROWS,
        "downloads": [_download(f"tables/{table.name}.{suffix}", files) for suffix in ("csv", "md", "tex")],
    }


def _is_of_words(table: Table, column: int) -> bool:
    cells = [line[column] for _, lines in table.sections for line in lines]
    return any(isinstance(cell, str) and not _NUMBER.fullmatch(cell) for cell in cells)


def _first(cell: str | Cell, rows: Mapping[str, int]) -> dict[str, Any]:
    if isinstance(cell, Cell):
        return {}
    return {"row": rows[cell]} if cell in rows else {"type": cell}


def _page_figure(drawn: ReportFigure, files: Mapping[str, bytes]) -> dict[str, Any]:
    name = f"figures/{drawn.name}"
    image = files.get(f"{name}.png") or drawn.to_bytes("png")
    return {
        "name": drawn.name,
        "view": drawn.name.split("-")[1],
        "caption": drawn.caption,
        "width": int(drawn.figure.get_figwidth() * 130),
        "size": len(image) * 4 // 3,
        "source": _data_url("x.png", image),
        "downloads": [
            _download(path, files) for suffix in ("pdf", "svg", "csv") if (path := f"{name}.{suffix}") in files
        ],
    }


def _download(path: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Return a link to a file: its content where it is small, else the file in the folder beside the page."""
    content = files[path]
    inside = len(content) <= EMBEDDED
    return {
        "text": path.rsplit(".", 1)[1].upper(),
        "name": path.rsplit("/", 1)[1],
        "href": _data_url(path, content) if inside else path,
        "title": "inside this page" if inside else f"the file {path} beside this page",
    }


def _data_url(name: str, content: bytes) -> str:
    return f"data:{MIME[name.rsplit('.', 1)[1]]};base64,{base64.b64encode(content).decode()}"


def _zip(files: Mapping[str, bytes]) -> bytes:
    """Return all tables in one archive; equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(name for name in files if name.startswith("tables/")):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _orders(c: Comparison) -> list[tuple[int, list[dict[str, Any]]]]:
    """Return for each order its tasks as they are learned, with test mentions (after the last step, all sentences)."""
    final = c.counts[(c.counts["view"] == "all") & (c.counts["step"] == c.n_steps)]
    gold = (final["tp"] + final["fn"]).groupby([final["run_id"], final["task"]]).sum()

    def task_row(run: RunRecord, task: Task) -> dict[str, Any]:
        return msgspec.to_builtins(task) | {"mentions": gold.get((run.run_id, task.name), math.nan)}

    firsts = {run.order: run for run in reversed(c.runs)}
    return [(order, [task_row(run, task) for task in learning_order(run)]) for order, run in sorted(firsts.items())]


def _facts(c: Comparison) -> list[tuple[str, str]]:
    """Return names and values of data and protocol, as far as the records hold them."""

    def values(of: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in of if value not in (None, "", {}, [])))

    def number(value: float) -> str:
        return f"{value:g}"

    runs = c.runs
    facts = {
        "Dataset": c.dataset,
        "Scenario": c.scenario,
        "Encoder": c.encoder + (" (uncased)" if any(run.uncased for run in runs) else ""),
        "Encoder's origin and shape": values(_identity(run.encoder_identity) for run in runs if run.encoder_identity),
        "Tasks, types": f"{c.n_steps} steps, {c.counts['type'].nunique()} types",
        "Methods, runs": f"{len(c.rows)} methods, {len(runs)} runs: {len(c.orders)} order(s), "
        f"{len({run.seed for run in runs})} seed(s); {len(c.pairs)} (order, seed) pair(s) finished by all methods",
        "Task split seed": values(run.settings.get("split_seed") for run in runs),
        "Sample of training sentences": values(run.settings.get("max_sentences") for run in runs),
        "Recipe": values(run.settings.get("recipe") for run in runs),
        "Training labels": values(run.data for run in runs),
        "Protocol beyond the plain one": values(
            ", ".join(f"{k} = {v}" for k, v in sorted(run.protocol.items())) for run in runs
        ),
        "Mentions of types in no task (train, dev, test)": values(_without_task(run) for run in runs),
        "Test mentions dropped by a limit": values(run.lost_mentions or None for run in runs),
        "Highest possible recall": values(
            number(run.recall_ceiling) for run in runs if run.recall_ceiling not in (None, 1)
        ),
        **{
            f"Fingerprint of the {what}": values(run.fingerprints.get(what) for run in runs)
            for what in ("data", "encoder")
        },
    }
    return [(name, value) for name, value in facts.items() if value]


def _identity(encoder: EncoderIdentity) -> str:
    """Return an encoder's origin and shape in words."""
    origin = " ".join(filter(None, (encoder.source, encoder.repository, encoder.revision)))
    sizes = {word: getattr(encoder, key) for key, word in SHAPE.items()}
    shape = (f"{size:,} {word}" for word, size in sizes.items() if size is not None)
    return f"{origin}: {', '.join(shape)}, {'cased' if encoder.cased else 'uncased'}"


def _without_task(run: RunRecord) -> str:
    """Return the mentions of each type that no task learns, of train, dev and test."""
    found = run.corpus.without_task if run.corpus else {}
    return "; ".join(f"{type_} {n.train:,}, {n.dev:,}, {n.test:,}" for type_, n in found.items())


def _configurations(results: Results) -> list[tuple[RunRecord, int]]:
    """Return the first run of each method and config, and how many runs share its settings."""
    found: dict[tuple[str, str, str, str], list[RunRecord]] = {}
    for run in results.runs:
        found.setdefault((run.dataset, run.scenario, run.method, run.config), []).append(run)
    return [(runs[0], len(runs)) for _, runs in sorted(found.items(), key=lambda item: item[0])]


def _environments(results: Results) -> list[tuple[Any, Any, list[str]]]:
    """Return versions and machine, and the runs computed there."""
    found: dict[str, tuple[Any, Any, list[str]]] = {}
    for run in results.runs:
        versions, machine = run.versions, run.machine
        key = json.dumps([versions, machine], sort_keys=True)
        found.setdefault(key, (versions, machine, []))[2].append(run.run_id)
    return list(found.values())
