"""`bench report`: write tables, figures and the page from stored results."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from cl_ner_bench.cli.output import show
from cl_ner_bench.cli.parsing import add_command
from cl_ner_bench.cli.results import show_results
from cl_ner_bench.errors import UserError


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "report",
        _execute,
        "write tables, figures and report.html from stored results",
        description="Write tables, figures and report.html from stored results, without training.",
        epilog="examples:\n  bench report results/synthetic-split results/more --out both\n"
        "  bench report results/synthetic-split --style slides --format png,svg",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="RESULTS_DIR", help="results of `bench run`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: the first RESULTS_DIR)")
    texts = parser.add_argument_group("the corpus' text")
    texts.add_argument(
        "--examples",
        action="store_true",
        help="show sentences that went from right to wrong, in report.html and examples.md, which then quote the "
        "corpus",
    )
    texts.add_argument(
        "--texts",
        action="store_true",
        help="write texts/RUN.jsonl.gz: every test sentence with its words, gold mentions and predicted mentions",
    )
    texts.add_argument(
        "--data", type=Path, metavar="PATH", help="where the corpus is now (default: where it was during training)"
    )
    texts.add_argument(
        "--examples-per-type", type=int, default=3, metavar="N", help="at most N examples of a type (default: 3)"
    )
    parser.add_argument(
        "--methods",
        metavar="LIST",
        help="methods to show, or patterns like '*-token', in this order within their groups; the CSV files of tables "
        "keep all methods (default: all, the best first)",
    )
    figures = parser.add_argument_group("figures")
    figures.add_argument(
        "--style",
        default="paper",
        metavar="paper|slides",
        help="paper: title and notes in a .txt beside the figure; slides: 16:9, both in the figure (default: paper)",
    )
    figures.add_argument(
        "--format", default="pdf,png", metavar="LIST", help="file formats: pdf, png, svg (default: pdf,png)"
    )
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--measures",
        default="micro,task,forgetting,learning,gap",
        metavar="LIST",
        help="columns of main tables: micro, type, task, forgetting, bwt, learning, gap, or of summary.csv "
        "(default: %(default)s)",
    )
    tables.add_argument(
        "--decimals", type=int, choices=range(5), default=1, metavar="N", help="decimals, 0 to 4 (default: 1)"
    )
    tables.add_argument(
        "--columns",
        type=int,
        choices=(1, 2),
        default=2,
        metavar="1|2",
        help="columns of a page that a LaTeX table takes (default: 2)",
    )
    tables.add_argument(
        "--form",
        choices=("wide", "long"),
        default="wide",
        metavar="wide|long",
        help="long: one number per row (default: wide)",
    )
    tables.add_argument(
        "--caption",
        action="append",
        default=[],
        metavar="TABLE=TEXT",
        help="own caption for tables whose names begin with TABLE (main, steps-all); may be repeated",
    )
    tables.add_argument(
        "--label-prefix", default="tab:", metavar="TEXT", help="prefix of the names in \\label (default: tab:)"
    )


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.analysis.figures.style import formats_of, style_of

    style, formats = style_of(parsed.style).name, formats_of(parsed.format)  # before results are read

    from cl_ner_bench.analysis.data.choosing import choose
    from cl_ner_bench.analysis.report.files import finished_results, write_files
    from cl_ner_bench.analysis.scores.names import measure_key
    from cl_ner_bench.analysis.tables.text import TableLayout

    for caption in parsed.caption:
        if not re.match("[^=]+=.", caption):
            raise UserError(
                f"--caption {caption!r}: expected TABLE=TEXT, such as --caption 'main=Scores of all methods'"
            )
    captions = dict(caption.partition("=")[::2] for caption in parsed.caption)
    measures = tuple(dict.fromkeys(map(measure_key, _words(parsed.measures))))
    layout = TableLayout(parsed.columns, parsed.form, captions, parsed.label_prefix, parsed.decimals, measures)
    out = parsed.out or parsed.folders[0]
    results = finished_results(parsed.folders)
    if parsed.methods:
        results = choose(results, _words(parsed.methods))
    quotes = None
    if parsed.examples:  # first: a missing corpus is an error before the long report
        from cl_ner_bench.running.report_examples import quote_examples, write_examples

        quotes = quote_examples(results, parsed.data, parsed.examples_per_type)
        show(f"{write_examples(quotes, out)}\n")
    if parsed.texts:
        from cl_ner_bench.running.report_texts import write_texts

        show(f"{write_texts(results, out, parsed.data)}\n")
    show_results(results, write_files(results, out, style, formats, layout, quotes), layout=layout)
    return 0


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
