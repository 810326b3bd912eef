"""``report.html``: one file that opens from disk without a network; most of it needs no script."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from cl_ner_bench.analysis.comparison.compare import Comparison
from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.analysis.figures.rendering import FigureFiles
from cl_ner_bench.analysis.figures.style import Appearance
from cl_ner_bench.analysis.report.page.data import page_data
from cl_ner_bench.analysis.report.page.provenance import configurations, environments, facts, orders
from cl_ner_bench.analysis.report.quotes import QuotedRun, Quotes
from cl_ner_bench.analysis.scores.measures import MEASURES
from cl_ner_bench.analysis.scores.names import NAMES
from cl_ner_bench.analysis.table import VIEW_TITLES, Line, Table
from cl_ner_bench.analysis.tables.text import TIED, number
from cl_ner_bench.storage.run_record import RUN

HERE = Path(__file__).parent
EMBEDDED = 64 * 1024  # bytes; larger files are links to the folders beside the page
IMAGES = 12 * 1024 * 1024  # bytes of figures inside the page; further figures are links
FORMATS = ("csv", "md", "tex")  # of tables
ROWS = 1000  # of a table; longer tables are only in their files
SECTIONS = {
    "scores": "Scores",
    "differences": "Differences and spread",
    "steps": "Step by step",
    "types": "Types",
    "errors": "Errors",
    "cost": "Cost",
    "published": "Published numbers",
    "figures": "Figures",
}
TITLES = {
    "main": "Scores after the last step",
    "new_type": "One new type",
    "steps": "Scores after each step",
    "learning": "Learning of each new task",
    "types": "F1 of each type",
    "differences": "Differences between methods",
    "gaps": "Gaps to joint training",
    "spread": "Spread over orders and seeds",
    "errors": "Errors after the last step",
    "errorsteps": "Errors after each step",
    "confusion": "Confusion of types",
    "mentions": "Recall of kinds of mentions",
    "cost": "Cost",
    "published": "Published numbers",
}
SCRIPTS = ("base", "state", "tables", "runs", "curves", "report")
FOLDED = 230  # characters of a note; the rest is folded
_NUMBER = re.compile(r"[-−–\d.,±%()\s]*")
MIME = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex", "pdf": "application/pdf"}
MIME |= {"txt": "text/plain", "svg": "image/svg+xml", "png": "image/png", "zip": "application/zip"}


@dataclass(frozen=True)
class ComparisonReport:
    """A comparison with its answer, its notes (each with its full text), and tables and figures by section."""

    comparison: Comparison
    answer: Sequence[str]
    notes: Mapping[str, str]
    tables: Sequence[tuple[str, Table]]
    figures: Sequence[tuple[str, FigureFiles]]


def render_page(
    results: Results,
    blocks: Sequence[ComparisonReport],
    appearances: Mapping[tuple[str, str], Appearance],
    files: Mapping[str, bytes],
    quotes: Quotes | None = None,
    decimals: int = 1,
    of_trials: Sequence[Table] = (),
) -> str:
    """Return the page's text. ``files``: the report's other files by relative path; the page embeds small files.
    ``decimals``: decimals of numbers in tables. ``of_trials``: the tables of `bench tune`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = [_page_part(block, files, quotes.runs if quotes else ()) for block in blocks]
    room = IMAGES
    for figure in (f for part in parts for name in SECTIONS for f in part["figures"][name]):
        room -= figure["size"]  # figures are embedded in the order of the page while there is room
        figure["embedded"] = room >= 0
    computed_on = environments(results)
    return environment.get_template("report.html.j2").render(
        results=results,
        parts=parts,
        of_trials=[(table, [_download(f"tables/{table.name}.{s}", files) for s in FORMATS]) for table in of_trials],
        sections=SECTIONS,
        views=VIEW_TITLES,
        configurations=configurations(results),
        environments=computed_on,
        environment_of={run_id: i for i, (*_, ids) in enumerate(computed_on, 1) for run_id in ids},
        archive=_data_url("tables.zip", _zip(files)),
        beside=sorted(name for name, content in files.items() if len(content) > EMBEDDED),
        data=page_data(results, [block.comparison for block in blocks], appearances),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script="\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
        quotes=quotes,
        shown=lambda part, key: part["tables"][key] or part["figures"][key] or key in ("steps", "types"),
        number=partial(number, digits=decimals),
        tied=TIED,
        is_number=_NUMBER.fullmatch,
        json=lambda value: json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False),
        folder=lambda run: f"runs/{results.folders[run.run_id].path.name}",
        run_columns=RUN[1:],
    )


def _page_part(block: ComparisonReport, files: Mapping[str, bytes], quoted: Iterable[QuotedRun]) -> dict[str, Any]:
    """Return the template's values of a comparison."""
    c = block.comparison
    all_notes = [*(table.notes for _, table in block.tables), *(figure.notes for _, figure in block.figures)]
    marks = _marks([*block.notes, *(note for notes in all_notes for note in notes)])
    tables = [(section, _page_table(c, table, files, marks)) for section, table in block.tables]
    figures = [(section, _page_figure(c, figure, files, marks)) for section, figure in block.figures]
    rows = {run.run_id: c.rows.index(c.row_of[run.run_id]) for run in c.runs}
    notes = [(mark, *_folded(block.notes.get(note, note))) for note, mark in marks.items()]
    return {
        "c": c,
        "answer": block.answer,
        "notes": notes[: len(block.notes)],
        "table_notes": notes[len(block.notes) :],
        "tables": {name: [table for of, table in tables if of == name] for name in SECTIONS},
        "figures": {name: [figure for of, figure in figures if of == name] for name in SECTIONS},
        "quoted": [(rows[item.run.run_id], item) for item in quoted if item.run.run_id in rows],
        "orders": orders(c),
        "facts": facts(c),
    }


def _caption(c: Comparison, text: str) -> str:
    """Return a caption without the comparison's title, which the page prints once above."""
    rest = text.removeprefix(f"{c.title}: ")
    return rest[:1].upper() + rest[1:]


def _marks(notes: Iterable[str]) -> dict[str, str]:
    """Return each note's mark: a to z, then aa, ab and so on."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = {}
    for i, note in enumerate(dict.fromkeys(notes)):
        found[note] = (letters[i // 26 - 1] if i >= 26 else "") + letters[i % 26]
    return found


def _ranges(notes: Iterable[str], marks: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the marks of notes as ranges, each with its first and last mark."""
    place = {mark: i for i, mark in enumerate(marks.values())}
    found: list[tuple[str, str]] = []
    for mark in sorted({marks[note] for note in notes}, key=place.__getitem__):
        if found and place[found[-1][1]] == place[mark] - 1:
            found[-1] = found[-1][0], mark
        else:
            found.append((mark, mark))
    return found


def _folded(note: str) -> tuple[str, str]:
    """Return the beginning and the rest of a note. A reader can unfold the rest of a long note."""
    if len(note) <= FOLDED:
        return note, ""
    end = max(note.rfind(mark, 0, FOLDED) for mark in ("; ", ", ", " ")) + 1
    return note[:end], note[end:].strip()


def _page_table(c: Comparison, table: Table, files: Mapping[str, bytes], marks: Mapping[str, str]) -> dict[str, Any]:
    """Return the template's values of a table. Heads and rows name their row, measure or step, by which the script
    looks up the runs behind a value."""
    kind, view = table.name.split("-")[:2]
    # A published row may have the label of ours, but its values come from no run of ours.
    rows = {} if kind == "published" else {row.label: i for i, row in enumerate(c.rows)}
    rows_of_heads = rows | {f"{label}, {when}": i for label, i in rows.items() for when in ("learned", "end")}
    measures = {NAMES[key].title: key for key in MEASURES}

    def head(text: str) -> dict[str, Any]:
        step = re.fullmatch(r"S(\d+)", text)
        own = {"row": rows_of_heads.get(text), "measure": measures.get(text), "step": step and step[1]}
        return {"text": text, "of": {key: value for key, value in own.items() if value is not None}}

    def first(line: Line) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if isinstance(line[0], str):
            own = {"row": rows[line[0]]} if line[0] in rows else {"type": line[0]}
        if kind == "differences" and line[1] in rows:
            own["other"] = rows[str(line[1])]
        return own

    def section(title: str) -> dict[str, Any]:
        own = {"measure": measures.get(title.split(":")[0]), "row": rows.get(title)}
        return {key: value for key, value in own.items() if value is not None}

    return {
        "name": table.name,
        "kind": kind,
        "view": view,
        "title": TITLES[kind],
        "marks": _ranges(table.notes, marks),
        "caption": _caption(c, table.caption),
        "header": [head(text) | {"words": _is_of_words(table, i)} for i, text in enumerate(table.header)],
        "sections": [
            (title, section(title), [(first(line), line) for line in lines]) for title, lines in table.sections
        ],
        "n_rows": sum(len(lines) for _, lines in table.sections),
        "shown": sum(len(lines) for _, lines in table.sections) <= ROWS,
        "downloads": [_download(f"tables/{table.name}.{suffix}", files) for suffix in FORMATS],
    }


def _is_of_words(table: Table, column: int) -> bool:
    cells = [line[column] for _, lines in table.sections for line in lines]
    return any(isinstance(cell, str) and not _NUMBER.fullmatch(cell) for cell in cells)


def _page_figure(
    c: Comparison, drawn: FigureFiles, files: Mapping[str, bytes], marks: Mapping[str, str]
) -> dict[str, Any]:
    name = f"figures/{drawn.name}"
    image = drawn.images["png"]
    width, height = drawn.inches
    return {
        "name": drawn.name,
        "view": drawn.name.split("-")[1],
        "caption": _caption(c, drawn.caption),
        "marks": _ranges(drawn.notes, marks),
        "width": int(width * 130),
        "height": int(height * 130),
        "size": len(image) * 4 // 3,
        "source": _data_url("x.png", image),
        "downloads": [
            _download(path, files) for suffix in ("pdf", "svg", "csv", "txt") if (path := f"{name}.{suffix}") in files
        ],
    }


def _download(path: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Return a link to a file: with its content if it is small, else to the file beside the page."""
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
    """Return all tables in one archive. Equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(name for name in files if name.startswith("tables/")):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
