"""Tables as LaTeX, set with booktabs and siunitx."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from cl_ner_bench.analysis.tables.text import TIED, TableLayout, long_form, number

if TYPE_CHECKING:
    from cl_ner_bench.analysis.table import Cell, Table

# Points of \tabcolsep, and the number of characters that fit one column or both columns, by font. Columns are 219 and
# 455 points wide, as in ACL's style, the narrowest of the common two-column styles. Wider tables are cut into panels.
FOOTNOTE, SCRIPT = r"\footnotesize", r"\scriptsize"
SMALLER, SMALLEST = r"\fontsize{7}{8.4}\selectfont", r"\fontsize{6}{7.2}\selectfont"
SMALL = (SMALLER, SMALLEST)
TABCOLSEP = {FOOTNOTE: 2.8, SCRIPT: 2.8, SMALLER: 1.5, SMALLEST: 1.5}
ROOM = {1: {FOOTNOTE: 51, SCRIPT: 54, SMALLER: 64, SMALLEST: 69}, 2: {FOOTNOTE: 106, SCRIPT: 115}}
FEW_NUMBERS = 5  # tables with at most so many columns of numbers may use the small fonts
CAPITAL = 0.4  # extra width of a capital, in characters
HYPHENS = {"Forgetting": "Forget- ting"}  # titles that may be hyphenated
TINY = {FOOTNOTE: 0.7, SCRIPT: 0.8, SMALLER: 1.0, SMALLEST: 1.0}  # width of a character of a deviation
LABEL = 15  # characters of a row's name in a small font; longer names are set in two lines
BRIEF = 110  # characters of a note
LINES = {FOOTNOTE: 64, SCRIPT: 72, SMALLER: 72, SMALLEST: 80}  # lines that fit a page

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
    # After the end of a row LaTeX would read these two as its optional arguments.
    "[": "{[}",
    "*": "{*}",
    **{c: f"\\{c}" for c in "_%&#${}"},
}
# Signs and Greek letters that LaTeX prints in math mode only.
_SIGNS = r"- \times \cdot \leq \geq \neq \approx \rightarrow \leftarrow \infty ^\circ ^2 ^3 \mu >"
_SMALL = r"\alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \pi \rho \varsigma"
_SMALL += r" \sigma \tau \upsilon \varphi \chi \psi \omega"
_CAPITAL = r"\Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega"
_MATHS = dict(zip("−×·≤≥≠≈→←∞°²³µ›", _SIGNS.split(), strict=True))
_MATHS |= zip("αβγδεζηθικλμνξπρςστυφχψω", _SMALL.split(), strict=True)
_MATHS |= zip("ΓΔΘΛΞΠΣΥΦΨΩ", _CAPITAL.split(), strict=True)
# Characters that LaTeX prints without further packages or font encodings. (For half of its characters, such as Cyrillic
# and Polish letters, pylatexenc writes commands of other packages, with which the document would not compile.)
_ACCENTS = {"\u0300", "\u0301", "\u0302", "\u0303", "\u0304", "\u0306", "\u0307", "\u0308"}
_ACCENTS |= {"\u030a", "\u030b", "\u030c", "\u0327"}
_ASIDE = re.compile(r" ?\((?:[^()]|\([^()]*\)){9,}\)")  # 9 characters or more, so (token) of a name stays
_LETTERS = set("ßøØæÆœŒåÅłŁ§¶©£¡¿")


def to_latex(table: Table, layout: TableLayout | None = None) -> str:
    """Return LaTeX that needs ``booktabs``, ``siunitx`` (version 3) and, if its first line says so, ``longtable``.

    Columns of numbers are aligned at the decimal point. A table that is too wide is cut into panels of columns, one
    below the other. A table that is then too long for one column spans both. A table that is longer than a page
    becomes a ``longtable`` on one-column pages. Notes are shortened; the Markdown file has them in full.
    """
    layout = layout or TableLayout()
    table = _without_empty(table)
    table = long_form(table) if layout.form == "long" else table
    caption, label = layout.caption(table), layout.label_prefix + re.sub(r"[^a-zA-Z0-9-]", "-", table.name)
    columns = layout.columns
    printed, panels = _fitted(table, layout.decimals, columns)
    if columns == 1 and _lines(table, caption, panels, 1) > LINES[printed.size]:
        columns, (printed, panels) = 2, _fitted(table, layout.decimals, 2)
    size = printed.size
    lines = _lines(table, caption, panels, columns)
    if LINES[FOOTNOTE] < lines <= LINES[SCRIPT]:
        size = SCRIPT
    setup = rf"{size}\setlength{{\tabcolsep}}{{{TABCOLSEP[size]}pt}}\sisetup{{detect-weight}}"
    notes = rf"{{\scriptsize {latex(_in_brief(table))}\par}}" if table.notes else ""
    if lines > LINES[size]:
        parts = [
            r"% \usepackage{booktabs,siunitx,longtable}",
            r"\begingroup\makeatletter\let\ifoftwocolumns\if@twocolumn\makeatother",
            r"\ifoftwocolumns\onecolumn\fi % longtable knows no other",
            rf"{setup}\setlength{{\parindent}}{{0pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
        ]
        for i, panel in enumerate(panels):
            title, mark = (latex(caption), label) if i == 0 else (f"{latex(caption)} (continued)", None)
            parts.append(_tabular(printed, panel, title, mark))
        if notes:  # in the last foot notes cannot stand alone on a page
            foot = rf"\multicolumn{{{len(panels[-1])}}}{{c}}{{\makebox[0pt]{{\parbox[t]{{\linewidth}}{{{notes}}}}}}} \\"
            parts[-1] = parts[-1].replace(r"\endlastfoot", f"{foot}\n\\endlastfoot")
        parts += [r"\ifoftwocolumns\twocolumn\fi\endgroup"]
        return "\n".join(parts) + "\n"
    environment = "table" if columns == 1 else "table*"
    bodies = "\n\\par\\smallskip\n".join(_tabular(printed, panel) for panel in panels)
    parts = [
        r"% \usepackage{booktabs,siunitx}",
        rf"\begin{{{environment}}}[t]",
        rf"\centering{setup}",
        r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{{label}}}",
        bodies,
        *([rf"\par\smallskip\parbox{{\linewidth}}{notes}"] if notes else []),
        rf"\end{{{environment}}}",
    ]
    return "\n".join(parts) + "\n"


def _without_empty(table: Table) -> Table:
    """Return the table without columns of numbers that are undefined in every row. The CSV file keeps them."""
    lines = [line for _, lines in table.sections for line in lines]

    def known(column: int) -> bool:
        return any(isinstance(cell, str) or not math.isnan(cell.mean) for cell in (line[column] for line in lines))

    kept = [column for column in range(len(table.header)) if known(column)]
    sections = tuple((title, tuple(tuple(line[c] for c in kept) for line in of)) for title, of in table.sections)
    return replace(table, header=tuple(table.header[c] for c in kept), sections=sections)


def _in_brief(table: Table) -> str:
    """Return the notes in one paragraph, each without parentheses (except those of names) and cut to BRIEF characters.

    The Markdown file of the table has the notes in full.
    """
    briefs = [textwrap.shorten(_ASIDE.sub("", note), BRIEF, placeholder=" …") for note in table.notes]
    shortened = "" if briefs == [*table.notes] else f". In full: {table.name}.md"
    return f"Notes: {'; '.join(briefs)}{shortened}."


def latex(text: str) -> str:
    """Return ``text`` escaped for LaTeX. A letter that its fonts lack becomes its code point, as in [U+4E2D]."""
    text = text.replace("<=", "≤").replace(">=", "≥")
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


@dataclass(frozen=True)
class _Printed:
    """The columns of a table in LaTeX, with ``digits`` decimals; ``narrow`` tables fit one column of a page.

    Widths are in characters of the font ``size``.
    """

    table: Table
    digits: int
    narrow: bool
    size: str

    def cells(self, column: int) -> list[str | Cell]:
        return [row[column] for _, rows in self.table.sections for row in rows]

    def is_number(self, column: int) -> bool:
        return any(not isinstance(cell, str) for cell in self.cells(column))

    def label(self, text: str) -> list[str]:
        """Return a row's name in one line, or in two if the font is small and the name long."""
        return _parted(text.split()) if self.size in SMALL and _width(text) > LABEL else [text]

    def title(self, column: int) -> list[str]:
        """Return a column's title in one row, or in two if it is wider than the column's cells."""
        title = self.table.header[column]
        if column == 0 or _width(title) <= self.cell_width(column):
            return [title]
        pieces = re.findall(r"[^\s-]+-?", HYPHENS.get(title, title)) if self.narrow else title.split()
        return _parted(pieces)

    def width(self, column: int) -> float:
        """Return the width of a column with its space."""
        return 1.3 + max(self.cell_width(column), *map(_width, self.title(column)))

    def cell_width(self, column: int) -> float:
        texts = [cell for cell in self.cells(column) if isinstance(cell, str)]
        widths = [_width(row) for text in texts for row in (self.label(text) if column == 0 else [text])]
        if self.is_number(column):
            before, spread, mark = self.parts(column)
            widths.append(
                abs(int(before))
                + before.startswith("-")
                + 1
                + self.digits
                + TINY[self.size] * (spread + 2 * bool(spread))
                + mark
            )
        return max(widths, default=0)

    def parts(self, column: int) -> tuple[str, int, bool]:
        """Return the number of digits before the point with the sign (such as ``-2``), the characters of the widest
        deviation, and True if a cell is tied."""
        numbers = [cell for cell in self.cells(column) if not isinstance(cell, str) and not math.isnan(cell.mean)]
        whole = [number(cell.mean, self.digits).split(".")[0] for cell in numbers]
        before = max((len(part.lstrip("-")) for part in whole), default=1)
        sign = "-" if any(part.startswith("-") for part in whole) else ""
        spread = max((len(number(cell.std, self.digits)) for cell in numbers if not math.isnan(cell.std)), default=0)
        return f"{sign}{before}", spread, any(cell.tied for cell in numbers)

    def specification(self, column: int) -> str:
        """Return ``l`` or ``r`` for texts, or siunitx's ``S`` for numbers, with room for the widest cell."""
        if column == 0:
            return "l"
        if not self.is_number(column):
            return "r" if column > 1 or self.table.header[1] != "Column" else "l"
        before, spread, mark = self.parts(column)
        after = rf"{{\tiny$\pm${'0' * spread}}}" if spread else ""
        after += r"$^\dagger$" if mark else ""
        return f"S[table-format={before}.{self.digits}{f',table-space-text-post={{{after}}}' if after else ''}]"

    def cell(self, cell: str | Cell, column: int) -> str:
        """Return a cell: numbers for siunitx, and in braces the text that siunitx must not parse."""
        if isinstance(cell, str):
            text = _stacked(self.label(cell), "[t]", "l") if column == 0 else latex(cell)
            return f"{{{text}}}" if self.is_number(column) else text
        if math.isnan(cell.mean):
            return "{--}"
        spread = "" if math.isnan(cell.std) else rf"{{\tiny$\pm${number(cell.std, self.digits)}}}"
        after = spread + (r"{$^\dagger$}" if cell.tied else "")
        return rf"{chr(92) + 'bfseries ' if cell.bold else ''}{number(cell.mean, self.digits)}{after}"


def _parted(pieces: Sequence[str]) -> list[str]:
    """Return pieces of a text in two rows, so that the longer row is as short as possible."""
    rows = [[_joined(pieces[:i]), _joined(pieces[i:])] for i in range(1, len(pieces))]
    return min(rows, key=lambda pair: max(map(len, pair)), default=[_joined(pieces)])


def _joined(pieces: Sequence[str]) -> str:
    """Join pieces of a title as they stood in it: with a blank, but not after a hyphen."""
    return re.sub(r"- ", "-", " ".join(pieces))


def _width(text: str) -> float:
    return len(text) + CAPITAL * sum(map(str.isupper, text))


def _stacked(rows: Sequence[str], place: str = "[b]", side: str = "r") -> str:
    """Return rows above each other, with the last (``[b]``) or the first (``[t]``) row on the baseline."""
    text = r" \\ ".join(map(latex, rows))
    return text if len(rows) == 1 else rf"\begin{{tabular}}{place}{{@{{}}{side}@{{}}}}{text}\end{{tabular}}"


def _tabular(printed: _Printed, panel: Sequence[int], caption: str | None = None, label: str | None = None) -> str:
    """Return the columns ``panel`` of a table, set by pandas; titles of sections span the width. With a caption it is a
    ``longtable``."""
    room = int(0.84 * sum(map(printed.width, panel)))
    rows: list[list[str]] = []
    for i, (title, lines) in enumerate(printed.table.sections):
        for j, part in enumerate(textwrap.wrap(title, max(room, 24))):
            rule = r"\midrule " if i and not j else ""
            rows.append([rf"{rule}\leavevmode\rlap{{\emph{{{latex(part)}}}}}", *[""] * (len(panel) - 1)])
        rows += [[printed.cell(line[c], c) for c in panel] for line in lines]
    titles = [_stacked(printed.title(c)) for c in panel]
    frame = pd.DataFrame(rows, columns=range(len(panel)))
    style = frame.style.hide(axis="index").format_index(lambda column: titles[int(str(column))], axis="columns")
    spec = "".join(map(printed.specification, panel))
    kind = "longtable" if caption else None
    text: str = style.to_latex(
        column_format=spec, hrules=True, siunitx=True, environment=kind, caption=caption, label=label
    )
    return text.replace(rf"\caption[]{{{caption}}}", r"\caption[]{(continued)}").rstrip("\n")


def _lines(table: Table, caption: str, panels: Sequence[Sequence[int]], columns: int) -> int:
    """Return the number of lines of a table with its caption, panels and notes."""
    room = 0.8 * ROOM[columns][FOOTNOTE]  # a caption's font is larger
    rows = sum(1.5 + len(lines) for _, lines in table.sections) + 4
    return int(sum(1.1 + len(text) // room for text in (caption, _in_brief(table))) + rows * len(panels))


def _fitted(table: Table, digits: int, columns: int) -> tuple[_Printed, list[list[int]]]:
    """Return the table in the largest font in which all columns fit, and these columns as one panel.

    If no font fits, the columns are divided into panels that each repeat the columns that name a row. Only tables with
    at most FEW_NUMBERS columns of numbers use the small fonts, which leave out the column ``n``.
    """
    everything = [*range(len(table.header))]
    for size, room in ROOM[columns].items():
        printed = _Printed(table, digits, columns == 1, size)
        shown = [c for c in everything if size not in SMALL or table.header[c] != "n"]
        few = sum(map(printed.is_number, everything)) <= FEW_NUMBERS
        if sum(map(printed.width, shown)) <= room and (size not in SMALL or few):
            return printed, [shown]
    printed = _Printed(table, digits, columns == 1, FOOTNOTE)
    names = everything[: _naming_columns(table)]
    panels: list[list[int]] = []
    left = 0.0
    for column in everything[len(names) :]:
        width = printed.width(column)
        if not panels or width > left:
            panels.append([*names])
            left = ROOM[columns][FOOTNOTE] - sum(map(printed.width, names))
        panels[-1].append(column)
        left -= width
    return printed, panels


def _naming_columns(table: Table) -> int:
    """Return how many columns, from the left, name a row: two in a table of pairs of methods."""
    rows = [(title, *line) for title, lines in table.sections for line in lines]
    return 1 if len({row[:2] for row in rows}) == len(rows) else 2
