"""Checks of files that others wrote. docs/security.md lists what they refuse, and why."""

from __future__ import annotations

import os
import re
import stat
import sys
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError

UNPACKED_TIMES = 100  # limit relative to a gzip file's size; predictions and corpora unpack to about ten times
UNPACKED_BYTES = 16 << 20  # any gzip file may unpack to this size
TOML_BYTES = 1 << 20
# The time of tomllib grows with the square of a dotted key's parts: 16 s for 20,000 dots.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){50}""")


def links_out(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield path, problem and remedy of each link that leads out of ``folder``, and of anything else in it that is
    neither file nor folder.

    No other entry below ``folder`` leads a read or a write elsewhere. ``folder`` itself may be a link.
    """
    home = os.path.realpath(folder)
    for at, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            path = Path(at, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # another process removed it
                continue
            if stat.S_ISLNK(mode):
                target = os.path.realpath(path)
                if not _is_below(target, home):
                    yield path, f"is a link to {target}, out of {folder}", "put a copy in its place, or remove it"
            elif not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                yield path, "is neither a file nor a folder", "remove it"


def refuse_links_out(folder: Path) -> None:
    """Raise UserError for the first problem that ``links_out`` finds."""
    for path, wrong, remedy in links_out(folder):
        raise UserError(f"{path} {wrong}: {remedy}")


def is_name(value: Any) -> bool:
    """Return True if a value is the name of an entry of a folder, and no path out of it."""
    return isinstance(value, str) and re.fullmatch(r"(?!\.\.?$)[^/\\\0]{1,255}", value) is not None


def is_path_below(value: Any) -> bool:
    """Return True if a value is a relative path below a folder, with parts joined by ``/``."""
    return isinstance(value, str) and all(map(is_name, value.split("/")))


def is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def leads_out(path: Path, folder: Path) -> bool:
    """Return True if ``path`` lies outside ``folder`` after following links."""
    return not _is_below(os.path.realpath(path), os.path.realpath(folder))


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def unpack_limit(packed: int) -> int:
    """Return the most bytes that ``packed`` bytes of gzip may unpack to."""
    return max(UNPACKED_BYTES, UNPACKED_TIMES * packed)


def unpacked(packed: bytes) -> bytes:
    """Return the content of a gzip file. Raise ValueError if it is damaged, cut short or far too large."""
    limit = unpack_limit(len(packed))
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(packed, limit)
    except zlib.error as error:
        raise ValueError(f"no sound gzip file: {error}") from None
    if not unpacker.eof:
        raise ValueError(f"unpacks to more than {limit:,} bytes" if len(content) == limit else "a gzip file cut short")
    return content


def import_environment() -> dict[str, str]:
    """Return environment variables that keep a child process from importing from the current folder, unless this
    process does so, too.

    Workers start with ``python -m``, which searches the current folder first. That folder may hold files of others.
    """
    return {} if {"", os.getcwd()} & {*sys.path} else {"PYTHONSAFEPATH": "1"}


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raise UserError if the file cannot be read, is no TOML, or would take too long to parse. The message begins with
    ``what``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(TOML_BYTES + 1)
        if len(content) > TOML_BYTES:
            raise ValueError(f"it has more than {TOML_BYTES:,} bytes")
        text = content.decode()
        if _LONG_KEY.search(text):
            raise ValueError("a key of more than 50 parts")
        return tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{what} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # also very long numbers, deep brackets, a NUL in the path
        raise UserError(f"{what} is not TOML: {str(error)[:200]}") from None
