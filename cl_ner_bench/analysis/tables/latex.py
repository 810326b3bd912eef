"""Tables as LaTeX, set with booktabs and siunitx."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cl_ner_bench.analysis.tables.text import TIED, TableLayout, cell_text, long_form, number

if TYPE_CHECKING:
    from cl_ner_bench.analysis.table import Cell, Table

TABCOLSEP = 2.8
# Characters that fit one column and both, by size of the font. 219 and 455 points: ACL's style, the narrowest of the
# common two-column ones. What is wider is cut into panels.
ROOM = {1: {"footnotesize": 51, "scriptsize": 54}, 2: {"footnotesize": 106, "scriptsize": 115}}
CAPITAL = 0.4  # by which a capital is wider than a character
LINES = 68  # of \footnotesize that fit a page

_TEXT = {
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
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    TIED: r"$^\dagger$",
    "\u200b": "{}",
    # After a row's end these two would be read as its optional arguments.
    "[": "{[}",
    "*": "{*}",
    **{c: f"\\{c}" for c in "_%&#${}"},
}
# Signs and Greek letters that LaTeX has in its mathematics alone.
_SIGNS = r"- \times \cdot \leq \geq \neq \approx \rightarrow \leftarrow \infty ^\circ ^2 ^3 \mu >"
_SMALL = r"\alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \pi \rho \varsigma"
_SMALL += r" \sigma \tau \upsilon \varphi \chi \psi \omega"
_CAPITAL = r"\Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega"
_MATHS = dict(zip("−×·≤≥≠≈→←∞°²³µ›", _SIGNS.split(), strict=True))
_MATHS |= zip("αβγδεζηθικλμνξπρςστυφχψω", _SMALL.split(), strict=True)
_MATHS |= zip("ΓΔΘΛΞΠΣΥΦΨΩ", _CAPITAL.split(), strict=True)
# What LaTeX prints without further packages or font encodings. (pylatexenc writes commands of other packages for half
# of the characters that it knows, Cyrillic and Polish letters among them: the document would not compile.)
_ACCENTS = {"\u0300", "\u0301", "\u0302", "\u0303", "\u0304", "\u0306", "\u0307", "\u0308"}
_ACCENTS |= {"\u030a", "\u030b", "\u030c", "\u0327"}
_LETTERS = set("ßøØæÆœŒåÅłŁ§¶©£¡¿")


def to_latex(table: Table, layout: TableLayout | None = None) -> str:
    """Return LaTeX that needs ``booktabs`` and ``siunitx`` (version 3), and ``longtable`` where its first line says so.

    Columns of numbers are aligned at the decimal point. What is too wide is cut into panels of columns, one below the
    other; what is then too long for one column goes over both, and what is longer than a page becomes a ``longtable``,
    which LaTeX allows in one-column text only.
    """
    layout = layout or TableLayout()
    table = long_form(table) if layout.form == "long" else table
    caption, label = layout.caption(table), layout.label_prefix + re.sub(r"[^a-zA-Z0-9-]", "-", table.name)
    columns = layout.columns
    size, panels = _panels(table, columns)
    if columns == 1 and _lines(table, caption, panels, 1) > LINES:
        columns, (size, panels) = 2, _panels(table, 2)
    setup = rf"\{size}\setlength{{\tabcolsep}}{{{TABCOLSEP}pt}}\sisetup{{detect-weight}}"
    notes = r" \par ".join(latex(note) + "." for note in table.notes)
    if _lines(table, caption, panels, columns) > LINES:
        lines = [
            r"% \usepackage{booktabs,siunitx,longtable}",
            rf"\begingroup{setup}\setlength{{\parindent}}{{0pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
        ]
        for i, panel in enumerate(panels):
            title, mark = (latex(caption), label) if i == 0 else (f"{latex(caption)} (continued)", None)
            lines.append(_tabular(table, panel, title, mark))
        lines += [*([rf"\footnotesize {notes}\par"] if notes else []), r"\endgroup"]
        return "\n".join(lines) + "\n"
    environment = "table" if columns == 1 else "table*"
    bodies = "\n\\par\\smallskip\n".join(_tabular(table, panel) for panel in panels)
    lines = [
        r"% \usepackage{booktabs,siunitx}",
        rf"\begin{{{environment}}}[t]",
        rf"\centering{setup}",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{{label}}}",
        bodies,
        *([rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}"] if notes else []),
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """Return ``text`` with LaTeX's escapes. Letters beyond its fonts become their code point, as in [U+4E2D]."""
    text = re.sub("-(?=-)", "-\u200b", unicodedata.normalize("NFC", text))  # two hyphens are no dash
    text = re.sub(r"(?<![^\s(\[])'(?=\S)", "‘", text)  # LaTeX prints straight quotes as closing ones
    text = re.sub(r'(?<![^\s(\[])"(?=\S)', "“", text).replace('"', "”")
    return "".join(_latex_char(c) for c in text)


def _latex_char(char: str) -> str:
    if char in _TEXT:
        return _TEXT[char]
    base, *marks = list(unicodedata.normalize("NFD", char))
    if char.isspace() or unicodedata.category(char) == "Cc":
        return " "
    if (base.isascii() and set(marks) <= _ACCENTS) or char in _LETTERS:
        return char
    if char in _MATHS:
        return rf"\ensuremath{{{_MATHS[char]}}}"
    return f"{{[}}U+{ord(char):04X}]"


def _stacked(text: str) -> str:
    """Return a column's title with its words above each other, so that the column stays narrow."""
    words = [latex(word) for word in text.split()]
    return words[0] if len(words) == 1 else r"\shortstack[r]{" + r" \\ ".join(words) + "}"


def _tabular(table: Table, panel: Sequence[int], caption: str | None = None, label: str | None = None) -> str:
    """Return some columns of a table as pandas sets them, titles of sections over the whole width; with a caption a
    ``longtable``."""
    room = int(0.84 * sum(_characters(table, i) for i in panel))
    rows: list[list[str]] = []
    for i, (title, lines) in enumerate(table.sections):
        for j, part in enumerate(textwrap.wrap(title, max(room, 24))):
            rule = r"\midrule " if i and not j else ""
            rows.append([rf"{rule}\leavevmode\rlap{{\emph{{{latex(part)}}}}}", *[""] * (len(panel) - 1)])
        rows += [[_latex_cell(line[c], is_number=_is_number(table, c)) for c in panel] for line in lines]
    titles = [latex(table.header[panel[0]]), *(_stacked(table.header[c]) for c in panel[1:])]
    frame = pd.DataFrame(rows, columns=range(len(panel)))
    style = frame.style.hide(axis="index").format_index(lambda column: titles[int(str(column))], axis="columns")
    spec = "".join(_column(table, c) for c in panel)
    kind = "longtable" if caption else None
    text: str = style.to_latex(
        column_format=spec, hrules=True, siunitx=True, environment=kind, caption=caption, label=label
    )
    return text.rstrip("\n")


def _is_number(table: Table, column: int) -> bool:
    return any(not isinstance(row[column], str) for _, rows in table.sections for row in rows)


def _column(table: Table, column: int) -> str:
    """Return ``l`` or ``r`` for texts, for numbers siunitx's ``S`` with room for the widest one and what follows it."""
    if column == 0:
        return "l"
    if not _is_number(table, column):
        return "r" if column > 1 or table.header[1] != "Column" else "l"
    before, spread, mark = _parts(table, column)
    after = rf"{{\tiny$\pm${'0' * (spread - 3)}.00}}" if spread else ""
    after += r"$^\dagger$" if mark else ""
    return f"S[table-format={before}.2{f',table-space-text-post={{{after}}}' if after else ''}]"


def _parts(table: Table, column: int) -> tuple[str, int, bool]:
    """Return the digits before the point (as ``-2``), the characters of the widest deviation, and if one is tied."""
    cells = [row[column] for _, rows in table.sections for row in rows]
    numbers = [cell for cell in cells if not isinstance(cell, str) and not math.isnan(cell.mean)]
    whole = [number(cell.mean).split(".")[0] for cell in numbers]
    digits = max((len(part.lstrip("-")) for part in whole), default=1)
    sign = "-" if any(part.startswith("-") for part in whole) else ""
    spread = max((len(number(cell.std)) for cell in numbers if not math.isnan(cell.std)), default=0)
    return f"{sign}{digits}", spread, any(cell.tied for cell in numbers)


def _characters(table: Table, column: int) -> float:
    """Return how many characters wide a column is, its space included."""
    cells = [row[column] for _, rows in table.sections for row in rows]
    texts = [table.header[column]] if column == 0 else table.header[column].split()
    texts += [cell if isinstance(cell, str) else cell_text(cell) for cell in cells]
    return 1.3 + max(len(text) + CAPITAL * sum(map(str.isupper, text)) for text in texts)


def _lines(table: Table, caption: str, panels: Sequence[Sequence[int]], columns: int) -> int:
    """Return how many lines a table takes: its caption, its panels and its notes."""
    room = 0.8 * ROOM[columns]["footnotesize"]  # of a caption, in a larger font
    rows = sum(1.5 + len(lines) for _, lines in table.sections) + 4
    return int(sum(1.1 + len(text) // room for text in (caption, *table.notes)) + rows * len(panels))


def _panels(table: Table, columns: int) -> tuple[str, list[list[int]]]:
    """Return the larger font in which all columns fit beside each other; else panels, each with the first column."""
    first, *others = (_characters(table, c) for c in range(len(table.header)))
    for size, room in ROOM[columns].items():
        if first + sum(others) <= room:
            return size, [[*range(len(table.header))]]
    panels: list[list[int]] = []
    left = 0.0
    for column, width in enumerate(others, 1):
        if not panels or width > left:
            panels.append([0])
            left = ROOM[columns]["footnotesize"] - first
        panels[-1].append(column)
        left -= width
    return "footnotesize", panels


def _latex_cell(cell: str | Cell, is_number: bool) -> str:
    """Return what siunitx takes for a number, and in braces what it must leave alone."""
    if isinstance(cell, str):
        return f"{{{latex(cell)}}}" if is_number else latex(cell)
    if math.isnan(cell.mean):
        return "{--}"
    spread = "" if math.isnan(cell.std) else rf"{{\tiny$\pm${number(cell.std)}}}"
    after = spread + (r"{$^\dagger$}" if cell.tied else "")
    return rf"{chr(92) + 'bfseries ' if cell.bold else ''}{number(cell.mean)}{after}"
