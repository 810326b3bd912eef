"""The corpus doctor: every problem of a corpus with its file and line, and what to do about it.

There are two levels. Loading refuses a corpus with an *error*; readers report errors. A corpus with a *warning* loads,
but its scores may mislead: test sentences that stand in train, a misspelt type, words damaged by a wrong encoding.
Sentences are streamed. Only the place, the mentions and a hash of the words of each sentence are kept, unless the
sentences are divided into parts first.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cl_ner_bench.corpora import aliases
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.doctor.findings import SHOWN, WARNINGS, Findings
from cl_ner_bench.corpora.doctor.parts import Tally, count, look_at_parts, look_at_type_names, look_at_types
from cl_ner_bench.corpora.doctor.rows import Copies, look_at_mentions, look_at_words
from cl_ner_bench.corpora.find import find_card
from cl_ner_bench.corpora.load import rows_of
from cl_ner_bench.corpora.published_counts import differences, present_types
from cl_ner_bench.corpora.readers.lines import Row
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.corpora.tasks import check_mentions
from cl_ner_bench.corpora.union import Member, members_of
from cl_ner_bench.errors import UserError

__all__ = ["SHOWN", "Diagnosis", "as_text", "check"]


@dataclass
class Diagnosis:
    """The result of checking one corpus: counts per part, findings, and the readers' remarks."""

    source: str
    parts: dict[str, Tally]
    findings: Findings

    @property
    def healthy(self) -> bool:
        return not self.findings.totals

    def to_json(self) -> dict[str, Any]:
        groups = self.findings.groups()
        return {
            "schema": 1,
            "source": self.source,
            "parts": {
                part: {
                    "sentences": tally.sentences,
                    "words": tally.words,
                    "mentions": tally.types.total(),
                    "nested": tally.nested,
                    "longest": tally.longest,
                    "types": dict(sorted(tally.types.items())),
                }
                for part, tally in self.parts.items()
            },
            "totals": {f"{level}:{kind}": total for level, kind, _, total in groups},
            "problems": [finding._asdict() for _, _, kept, _ in groups for finding in kept],
            "remarks": self.findings.remarks,
        }


def check(
    dataset: str, data: Path | None = None, shown: int | None = SHOWN, division: Division | None = None
) -> Diagnosis:
    """Examine the corpus that ``dataset`` names (see ``load_corpus``), divided by ``division`` if it is given. Of each
    kind, ``shown`` findings are kept (None: all).

    A card that cannot be read is a finding. Raises UserError for an unknown name and for missing text.
    """
    findings = Findings(shown)
    try:
        card, folder = find_card(dataset, data)
    except UserError as error:
        if not (dataset.endswith(".toml") and Path(dataset).is_file()):
            raise
        findings.refused(error)
        return Diagnosis(dataset, {}, findings)
    return Diagnosis(_source(card, folder), _examine(card, folder, findings, division), findings)


def _source(card: Card, folder: Path | None) -> str:
    if card.reader == "union":
        with suppress(UserError):  # _examine reports it
            members = members_of(card, folder)
            return "; ".join(f"{domain}: {_source(m.card, m.folder)}" for domain, m in members.items())
    if folder is not None:
        return str(folder)
    return f"the Hugging Face hub ({card.hub.repo})" if card.hub else "generated"


def _examine(card: Card, folder: Path | None, findings: Findings, division: Division | None) -> dict[str, Tally]:
    where = folder or Path(card.name)
    tallies: dict[str, Tally] = {}
    members: dict[str, _Domain] = {}
    parts: Mapping[str, Iterator[Row]]
    try:
        if card.reader == "union" and division is None:
            members = {name: _Domain(m, findings) for name, m in members_of(card, folder).items()}
            parts = {part: chain(*[domain.rows(part) for domain in members.values()]) for part in PARTS}
        else:
            parts = rows_of(card, folder, findings, division)
    except UserError as error:
        if folder is None and card.hub is not None:  # the hub gave nothing
            raise
        findings.refused(error)
        return tallies
    copies, files = Copies(findings), set[Path]()
    for part, rows in parts.items():
        tally = tallies[part] = Tally()
        try:
            for row in _with_files(rows, files, findings):
                count(row, tally)
                look_at_words(row, findings)
                look_at_mentions(row, findings)
                copies.look(part, row)
        except UserError as error:
            findings.refused(error)
        if not tally.sentences and not findings.n_errors:
            text, fix = f"no sentences in the {part} part", "A corpus needs train, dev and test"
            findings.problem("empty", where, 0, text, fix)
    if not findings.n_errors:
        for name, domain in members.items():
            domain.look(name, where, findings)
    if names := aliases.read_as(card, present_types(tallies)):
        for tally in tallies.values():
            tally.rename(names)
        findings.remark(aliases.remark(names))
    if not findings.n_errors:
        check_mentions(card, tallies, where, findings)
    look_at_type_names(card, where, tallies, findings)
    if not findings.n_errors:  # errors leave the parts incomplete
        look_at_parts(tallies, findings)
        look_at_types(card, where, tallies, findings)
        for difference in differences(card, tallies):
            findings.warn("counts", where, 0, difference.text, _OTHER_COUNTS)
    return tallies


_OTHER_COUNTS = "Compare the version of the corpus, or correct [counts] of the card"


class _Domain:
    """One corpus of a union, counted before the union renames and chooses its types."""

    def __init__(self, member: Member, findings: Findings) -> None:
        self._member = member
        self._parts = rows_of(member.card, member.folder, findings)
        self._counts = {part: Tally() for part in PARTS}

    def rows(self, part: str) -> Iterator[Row]:
        """Yield the rows of one part as the union has them."""
        for row in self._parts[part]:
            count(row, self._counts[part])
            yield row._replace(mentions=self._member.of_types(row.mentions))

    def look(self, name: str, where: Path, findings: Findings) -> None:
        try:
            self._member.check_types(self._counts)
        except UserError as error:
            findings.refused(error)
        for difference in differences(self._member.card, self._counts):
            findings.warn("counts", self._member.folder or where, 0, f"{name}: {difference.text}", _OTHER_COUNTS)


def _with_files(rows: Iterator[Row], seen: set[Path], findings: Findings) -> Iterator[Row]:
    """Yield the rows. Before the first row of a file that is not in ``seen``, check the bytes of the file."""
    for row in rows:
        if row.path not in seen:
            seen.add(row.path)
            if row.path.is_file() and row.path.suffix != ".parquet":
                _look_at_bytes(row.path, findings)
        yield row


def _look_at_bytes(path: Path, findings: Findings) -> None:
    n_lines = n_crlf = first = 0
    try:
        with path.open("rb") as raw, gzip.open(raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw as file:
            for n_lines, line in enumerate(file, 1):
                if n_lines == 1 and line.startswith(b"\xef\xbb\xbf"):
                    fix = "Remove it: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE"
                    findings.warn("byte order mark", path, 1, "the file begins with a byte-order mark", fix)
                if line.endswith(b"\r\n"):
                    n_crlf += 1
                    first = first or n_lines
    except (OSError, EOFError, zlib.error):
        return  # the reader reports such a file
    if n_crlf:
        text = f"{n_crlf:,} of {n_lines:,} lines end with CRLF, as on Windows"
        fix = "Convert the file: sed -i 's/\\r$//' FILE"
        if path.with_suffix(".ann").is_file():
            fix = "Leave it as it is: the marks beside it count characters, those of line ends among them"
        findings.warn("line ends", path, first, text, fix)


# Printed text


def as_text(diagnosis: Diagnosis) -> str:
    """Return the counts of each part, the findings by kind, and at the end what to fix first."""
    lines = [f"{diagnosis.source}"]
    for part, tally in diagnosis.parts.items():
        nested = f", {tally.nested:,} of them nested" if tally.nested else ""
        lines.append(
            f"  {part:5} {tally.sentences:9,} sentences {tally.words:11,} words {tally.types.total():9,} mentions"
            f" of {len(tally.types)} types{nested}; longest sentence {tally.longest:,} words"
        )
    lines += [f"  note: {remark}" for remark in diagnosis.findings.remarks]
    for level, kind, kept, total in diagnosis.findings.groups():
        lines += ["", f"{level} {kind} ({total:,}){': ' + WARNINGS[kind] if kind in WARNINGS else ''}"]
        lines += [f"  {finding.message}" for finding in kept]
        if total > len(kept):
            lines.append(f"  and {total - len(kept):,} more (--all shows them)")
    lines += ["", _verdict(diagnosis.findings)]
    # UTF-8 cannot hold lone surrogates, but the doctor must be able to report them.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def _verdict(findings: Findings) -> str:
    totals = findings.totals
    if not totals:
        return "no problem found"
    errors = findings.n_errors
    kinds = "1 kind" if len(totals) == 1 else f"{len(totals)} kinds"
    problems = "1 problem" if totals.total() == 1 else f"{totals.total():,} problems"
    if errors:
        return f"{problems} of {kinds}; fix the errors first ({errors:,}): loading refuses the corpus until then"
    return f"{problems} of {kinds}; the corpus loads as it is, but know them before you compare scores"
