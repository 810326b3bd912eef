"""Tag schemes: from tags to mentions and back.

All schemes are decoded by one rule, that of the CoNLL evaluation script: a mention begins at ``B`` or ``S``,
where the type changes, or after ``O``, ``E`` or ``S``; it ends before the next begin. For IO, where tags have
no prefix or only ``I-``, adjacent words of one type are therefore one mention, and tags that are illegal in
their scheme (``I`` after ``O`` in BIO) still have one well-defined reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cl_ner_bench.corpora.sentence import Mention

SCHEMES = ("IO", "IOB1", "BIO", "BIOES")
# BILOU and BMES write the same scheme with other letters.
_LETTER = {"L": "E", "U": "S", "M": "I"}
_PREFIXED = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)


def split_tag(tag: str, prefixed: bool = True) -> tuple[str, str]:
    """``B-PER`` as ``("B", "PER")``, ``O`` as ``("O", "")``; without prefixes ``PER`` is ``("I", "PER")``.

    Raises ValueError for a tag without a known prefix where prefixes are expected.
    """
    if tag == "O":
        return "O", ""
    if not prefixed:
        return "I", tag
    match = _PREFIXED.fullmatch(tag)
    if match is None:
        raise ValueError(f"unknown tag {tag!r}")
    return _LETTER.get(match[1], match[1]), match[2]


def has_prefixes(tags: Iterable[str]) -> bool:
    """Whether the first tag that is not ``O`` carries a prefix: tags of one file do so all or none."""
    first = next((tag for tag in tags if tag != "O"), "I-X")
    return _PREFIXED.fullmatch(first) is not None


def detect(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme of the tags of many sentences: ``IO``, ``IOB1``, ``BIO`` or ``BIOES``.

    BIOES is told by its letters. BIO begins every mention with ``B``, IOB1 only those that touch another one
    of their type: the more frequent habit wins. Raises ValueError for an unknown prefix.
    """
    kept = [list(tags) for tags in sentences]
    if not has_prefixes(tag for tags in kept for tag in tags):
        return "IO"
    needed = spare = bare = 0  # B that IOB1 needs, B that it does not use, mentions begun by I
    for tags in kept:
        before = ""
        for letter, type_ in map(split_tag, tags):
            if letter in "ES":
                return "BIOES"
            touches = type_ != "" and type_ == before
            needed += letter == "B" and touches
            spare += letter == "B" and not touches
            bare += letter == "I" and not touches
            before = type_
    if bare <= spare:
        return "BIO"
    return "IOB1" if needed else "IO"


def to_mentions(tags: Sequence[str], prefixed: bool = True) -> tuple[Mention, ...]:
    """The mentions that ``tags`` denote (any scheme). Raises ValueError for an unknown prefix."""
    mentions: list[Mention] = []
    start, previous, ended = 0, "", True
    for i, tag in enumerate([*tags, "O"]):
        letter, type_ = split_tag(tag, prefixed)
        if letter in "BSO" or ended or type_ != previous:
            if previous:
                mentions.append(Mention(start, i, previous))
            start, previous = i, type_
        ended = letter in "ESO"
    return tuple(mentions)


def to_tags(mentions: Iterable[Mention], n_words: int, scheme: str = "BIO") -> list[str]:
    """The tags of ``n_words`` words. Raises ValueError where mentions overlap: tags cannot nest."""
    tags, ends = ["O"] * n_words, dict[int, str]()
    for start, end, type_ in sorted(mentions):
        if any(tag != "O" for tag in tags[start:end]):
            raise ValueError(f"tags cannot nest: words {start}-{end - 1} are in two mentions")
        touches = ends.get(start) == type_
        ends[end] = type_
        first = "B" if scheme in ("BIO", "BIOES") or (scheme == "IOB1" and touches) else "I"
        letters = [first] + ["I"] * (end - start - 1)
        if scheme == "BIOES":
            letters[-1] = "S" if len(letters) == 1 else "E"
        tags[start:end] = [type_ if scheme == "IO" else f"{letter}-{type_}" for letter in letters]
    return tags
