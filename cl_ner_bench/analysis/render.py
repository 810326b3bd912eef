"""Tables as text: CSV, Markdown, LaTeX (booktabs) and plain text for a terminal."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cl_ner_bench.analysis.tables import Cell, Table

DASH = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "–": "--",
    "—": "---",
    "\u200b": "{}",
    # After a row's end these two would be read as its optional arguments.
    "[": "{[}",
    "*": "{*}",
    **{c: f"\\{c}" for c in "_%&#${}"},
}
_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi"
_CAPITAL = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
_GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψω", [*_SMALL.split(), "chi", "psi", "omega"], strict=True))
_GREEK |= dict(zip("ΓΔΘΛΞΠΣΥΦΨΩ", _CAPITAL.split(), strict=True))
# What LaTeX prints without further packages or font encodings.
_ACCENTS = {"\u0300", "\u0301", "\u0302", "\u0303", "\u0304", "\u0306", "\u0307", "\u0308"}
_ACCENTS |= {"\u030a", "\u030b", "\u030c", "\u0327"}
_LETTERS = set("ßøØæÆœŒåÅłŁ§¶©£")


def number(value: float, digits: int = 2) -> str:
    """The value rounded, a dash for nan, and no minus before a zero."""
    return DASH if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def to_csv(table: Table) -> str:
    """The table's numbers unrounded, empty where undefined, with the notes as the last column."""
    return table.frame.to_csv(index=False, lineterminator="\n")


def to_markdown(table: Table) -> str:
    """A GitHub table with its caption above and its notes below."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    width = len(table.header)
    lines = [_md(table.caption), "", line([_md(h) for h in table.header])]
    lines.append(line(["---", *["---:"] * (width - 1)]))
    for title, rows in table.sections:
        lines.append(line([f"*{_md(title)}*", *[""] * (width - 1)]))
        lines += [line([_md(cell) if isinstance(cell, str) else _md_cell(cell) for cell in row]) for row in rows]
    lines += ["", *(f"- {_md(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(table: Table) -> str:
    """A float over both columns; needs ``booktabs`` and nothing else."""
    width = len(table.header)
    head = " & ".join(_stacked(h) for h in table.header)
    body = []
    for title, rows in table.sections:
        body.append(rf"\midrule \multicolumn{{{width}}}{{l}}{{\emph{{{latex(title)}}}}} \\")
        for row in rows:
            cells = (latex(cell) if isinstance(cell, str) else _latex_cell(cell) for cell in row)
            body.append(" & ".join(cells) + r" \\")
    notes = r" \par ".join(latex(note) + "." for note in table.notes)
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.8pt}",
        rf"\caption{{{latex(table.caption)}}}",
        rf"\label{{tab:{re.sub(r'[^a-zA-Z0-9-]', '-', table.name)}}}",
        rf"\begin{{tabular}}{{l*{{{width - 1}}}{{r}}}}",
        rf"\toprule {head} \\",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *([rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}"] if notes else []),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """``text`` so that LaTeX prints it. Letters beyond its fonts become their code point, as in [U+4E2D]."""
    text = re.sub("-(?=-)", "-\u200b", unicodedata.normalize("NFC", text))  # two hyphens are no dash
    return "".join(_latex_char(c) for c in text)


def to_text(table: Table, leave_out: Collection[str] = (), width: int = 98) -> str:
    """Aligned columns of one decimal, for a terminal; without the columns titled ``leave_out``."""
    kept = [i for i, title in enumerate(table.header) if title not in leave_out]
    lines: list[tuple[str, list[str]]] = [("", [table.header[i] for i in kept])]
    for title, rows in table.sections:
        lines.append((title, []))
        for row in rows:
            cells = [cell if isinstance(cell, str) else plain(cell, 1) for cell in (row[i] for i in kept)]
            lines.append(("", ["  " + cells[0], *cells[1:]]))
    widths = [max(len(cells[i]) for _, cells in lines if cells) for i in range(len(kept))]
    out = [*textwrap.wrap(table.caption, width), ""]
    for title, cells in lines:
        padded = [cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=False))]
        out.append(title or " ".join(padded).rstrip())
    for note in table.notes:
        out += textwrap.wrap(note, width, initial_indent="! ", subsequent_indent="  ")
    return "\n".join(out)


def _latex_char(char: str) -> str:
    if char in _LATEX:
        return _LATEX[char]
    base, *marks = list(unicodedata.normalize("NFD", char))
    if char.isspace() or unicodedata.category(char) == "Cc":
        return " "
    if (base.isascii() and set(marks) <= _ACCENTS) or char in _LETTERS:
        return char
    if char in _GREEK:
        return rf"\ensuremath{{\{_GREEK[char]}}}"
    return f"{{[}}U+{ord(char):04X}]"


def _stacked(text: str) -> str:
    """A column's title with its words above each other, so that the column stays narrow."""
    words = [latex(word) for word in text.split()]
    return words[0] if len(words) == 1 else r"\shortstack[r]{" + r" \\ ".join(words) + "}"


def plain(cell: Cell, digits: int = 2) -> str:
    """Mean and, with several runs, ± standard deviation."""
    spread = "" if math.isnan(cell.std) else f"±{number(cell.std, digits)}"
    return number(cell.mean, digits) + spread


def _md(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~#$])", r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def _md_cell(cell: Cell) -> str:
    return f"**{plain(cell, 2)}**" if cell.bold else plain(cell, 2)


def _latex_cell(cell: Cell) -> str:
    mean = "--" if math.isnan(cell.mean) else number(cell.mean).replace("-", "$-$")
    spread = "" if math.isnan(cell.std) else rf"{{\tiny$\pm${number(cell.std)}}}"
    return (rf"\textbf{{{mean}}}" if cell.bold else mean) + spread
