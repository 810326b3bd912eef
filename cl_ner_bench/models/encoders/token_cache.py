"""The cache of a corpus's sub-tokens: written once, memory-mapped by every worker.

A file is one flat array of int32 (``.npy``): its checksum; the number of sentences; the words of each sentence; the
windows of each sentence; the sub-tokens of each window; then ``first`` and ``ids`` of all sentences (see ``Tokens``).
Its name is a hash of all its inputs, so it is never stale; a file with a wrong checksum is written again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cl_ner_bench.corpora import cache
from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.info import EncoderInfo
from cl_ner_bench.models.encoders.tokeniser import Tokeniser, Tokens

VERSION = 1
"""Raise it when the tokeniser or the layout of the array changes."""

Words = tuple[str, ...]
_Array = NDArray[np.int32]


class TokenStore(Mapping[Words, Tokens]):
    """A mapping from the words of a sentence to its sub-tokens, which are views of one array.

    Args:
        rows: the position of each sentence in the array. A sentence without windows could not be tokenised; it is left
            out.
    """

    def __init__(self, rows: Mapping[Words, int], values: _Array) -> None:
        n = int(values[1])
        words, windows, rest = np.split(values[2:], [n, 2 * n])
        self._lengths, self._first, self._ids = np.split(rest, [windows.sum(), windows.sum() + words.sum()])
        self._words, self._windows = _starts(words), _starts(windows)
        self._tokens = _starts(self._lengths)[self._windows]
        self._rows = {key: row for (key, row), held in zip(rows.items(), windows, strict=True) if held}

    def __getitem__(self, words: Words) -> Tokens:
        row = self._rows[words]
        at = slice(row, row + 2)
        ids, windows, first = (
            column[slice(*starts[at])]
            for column, starts in (
                (self._ids, self._tokens),
                (self._lengths, self._windows),
                (self._first, self._words),
            )
        )
        return Tokens(ids, tuple(windows.tolist()), first)

    def __iter__(self) -> Iterator[Words]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def token_store(sentences: Iterable[Words], info: EncoderInfo, max_length: int) -> TokenStore:
    """Return the sub-tokens of ``sentences`` (each given as words): from the cache, or computed and cached now.

    Raises:
        UserError: ``max_length`` leaves a window no room for a word.
    """
    rows: dict[Words, int] = {}
    for words in sentences:
        rows.setdefault(words, len(rows))
    path = cache.cache_folder() / "tokens" / f"{_key(rows, info, max_length)}.npy"
    values = _read(path)
    if values is None:
        values = _tokenised(rows, Tokeniser(info, max_length))
        try:
            with cache.replacing(path) as file:
                np.save(file, values, allow_pickle=False)
        except OSError as error:
            text = f"the cache cannot be written ({path.parent}: {error.strerror}); set CL_NER_BENCH_CACHE"
            warnings.warn(text, stacklevel=2)
        else:
            mapped = _read(path)
            values = values if mapped is None else mapped
    return TokenStore(rows, values)


def _key(rows: Mapping[Words, int], info: EncoderInfo, max_length: int) -> str:
    """Return the sha256 (hex) of the words of all sentences and of everything that their sub-tokens depend on."""
    facts = [VERSION, version("tokenizers"), info.tokenizer_fingerprint, max_length, len(rows)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    words = list(chain.from_iterable(rows))
    digest.update(array("I", map(len, rows)))
    digest.update(array("I", map(len, words)))
    digest.update("".join(words).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read(path: Path) -> _Array | None:
    """Return the memory-mapped array at ``path``; None if there is none, or (with a warning) if it is damaged."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if values.dtype == np.int32 and values.ndim == 1 and len(values) and values[0] == _checksum(values[1:]):
            return np.asarray(values)  # views of a plain array are cheaper than views of a memmap
    except OSError:
        return None
    except (ValueError, EOFError):
        pass
    warnings.warn(f"a damaged file in the cache is written again ({path})", stacklevel=3)
    return None


def _tokenised(sentences: Iterable[Words], tokeniser: Tokeniser) -> _Array:
    found = [_tokens(words, tokeniser) for words in sentences]
    sizes = [len(found), *(len(t.first) for t in found), *(len(t.windows) for t in found)]
    sizes += [length for t in found for length in t.windows]
    body = np.concatenate([np.array(sizes, np.int32), *(t.first for t in found), *(t.ids for t in found)])
    return np.concatenate([[_checksum(body)], body], dtype=np.int32)


def _checksum(values: _Array) -> np.int32:
    return np.uint32(zlib.crc32(values.data)).view(np.int32)


def _tokens(words: Words, tokeniser: Tokeniser) -> Tokens:
    try:
        return tokeniser.tokenise([words])[0]
    except UserError:  # raised again if the sentence is used
        nothing = np.empty(0, np.int32)
        return Tokens(nothing, (), nothing)


def _starts(sizes: _Array) -> NDArray[np.int64]:
    """Return the start of each piece, then the end of the last."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
