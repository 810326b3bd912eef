"""Everything that is derived from stored runs, written as files: CSV, tables, figures and one HTML page."""

from __future__ import annotations

import base64
import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from cl_ner_bench.analysis.compare import GROUPS, Comparison, comparisons
from cl_ner_bench.analysis.figures import figures
from cl_ner_bench.analysis.frames import Results, load_results
from cl_ner_bench.analysis.notes import FEW, notes_of, undertrained
from cl_ner_bench.analysis.render import number, plain, to_csv, to_latex, to_markdown
from cl_ner_bench.analysis.tables import tables
from cl_ner_bench.errors import UserError


def write_report(dirs: Sequence[Path], out: Path) -> list[Path]:
    """Write ``counts.csv``, ``scores.csv``, ``summary.csv``, ``tables/``, ``figures/`` and ``report.html``.

    Reads the results folders ``dirs`` and nothing else, writes below ``out`` (often one of them) and returns
    the written paths. Each file appears whole or not at all; the same runs give the same bytes. Raises
    UserError where no run is finished, and what ``load_results`` raises.
    """
    results = load_results(*dirs)
    if not results.finished:
        states = "; ".join(f"{r['run_id']}: {r['status']} {r.get('reason') or ''}".strip() for r in results.runs)
        raise UserError(
            f"no finished run in {', '.join(map(str, dirs))} ({states or 'no runs at all'}): "
            "the same `bench run` command again resumes what is left"
        )
    files = report_files(results)
    for name, content in files.items():
        _write(out / name, content)
    return [out / name for name in files]


def report_files(results: Results) -> dict[str, bytes]:
    """The content of each file of a report by its relative path; ``report.html`` last."""
    files: dict[str, bytes] = {}
    for name in ("counts", "scores", "summary"):
        frame = getattr(results, name)
        files[f"{name}.csv"] = frame.to_csv(index=False, lineterminator="\n").encode()
    all_tables, all_figures = tables(results), figures(results)
    for table in all_tables:
        for suffix, convert in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            files[f"tables/{table.name}.{suffix}"] = convert(table).encode()
    images = {}
    for picture in all_figures:
        for suffix in ("pdf", "png"):
            files[f"figures/{picture.name}.{suffix}"] = picture.to_bytes(suffix)
        files[f"figures/{picture.name}.csv"] = picture.frame.to_csv(index=False, lineterminator="\n").encode()
        images[picture.name] = base64.b64encode(files[f"figures/{picture.name}.png"]).decode()
    blocks = [
        {
            "c": c,
            "answer": answer(c),
            "notes": notes_of(c),
            "tables": [t for t in all_tables if t.name.endswith(f"-{c.slug}")],
            "figures": [f for f in all_figures if f.name.endswith(f"-{c.slug}")],
            "tasks": _tasks(c),
        }
        for c in comparisons(results)
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    page = template.render(results=results, blocks=blocks, images=images, plain=plain, json=_json)
    files["report.html"] = page.encode()
    return files


def answer(c: Comparison) -> str:
    """What these runs say, in a sentence or two, and no more than they can say."""
    if undertrained(c):
        return "Undertrained: do not compare these runs. Train longer or on more sentences first."
    if not c.matched or len(c.pairs) < FEW:
        n = f"n = {len(c.pairs)} matched run(s)" if c.matched else "no matched runs"
        return f"With {n} there is no claim about differences between methods: the scores are shown, not ranked."
    frame = c.measures[c.measures["view"] == "all"]
    sentences = []
    for group, rows in c.groups:
        ranked = [(row.of(frame)["task_macro_f1"].mean(), row) for row in rows]
        ranked = sorted((r for r in ranked if not math.isnan(r[0])), key=lambda r: -r[0])
        if group != "reference" and ranked:
            mean, row = ranked[0]
            own = row.of(frame)
            gap = own["gap"].mean()
            behind = "" if math.isnan(gap) else f", {number(gap, 1)} below joint training of its architecture"
            spread = number(own["task_macro_f1"].std(ddof=1), 1)
            sentences.append(
                f"{GROUPS.get(group, group)}: {row.label} has the highest mean, "
                f"{number(mean, 1)} ± {spread} macro-F1 over tasks{behind}."
            )
    return " ".join(
        [
            *sentences,
            f"Means over {len(c.pairs)} matched (order, seed) runs; differences are not tested here.",
        ]
    )


def _tasks(c: Comparison) -> list[tuple[int, list[dict[str, Any]]]]:
    """The tasks in learning order, for each order."""
    by_order = {run["order"]: sorted(run["tasks"], key=lambda t: t["learned_at"]) for run in c.runs}
    return sorted(by_order.items())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
