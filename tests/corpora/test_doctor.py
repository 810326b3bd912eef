"""The corpus doctor: its findings in malformed corpora; loading refuses the same places."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cl_ner_bench.cli import main
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.doctor import parts as doctor_parts
from cl_ner_bench.corpora.doctor import rows as doctor_rows
from cl_ner_bench.corpora.doctor.findings import WARNINGS as KINDS
from cl_ner_bench.corpora.limits import SPAN_WORDS
from cl_ner_bench.corpora.load import load_corpus

Content = str | bytes | Callable[[Path], None]
Files = Mapping[str, Content]
SIZES = {"train": 12, "dev": 10, "test": 10}


class Case(NamedTuple):
    """Files that replace or join those of a sound corpus, and what must be said of them."""

    files: Files
    kind: str  # as the reader calls it, see docs/doctor.md
    where: str  # file:line, or a file, or "" for the folder
    words: str  # a part of the message


# Sound corpora: nothing is found in them.


def names(part: str) -> list[list[tuple[str, str]]]:
    """Sentences of two types, no two alike."""
    return [
        [("Anna", "B-PER"), (f"{part}{i}", "I-PER"), ("lives", "O"), ("in", "O"), (f"Rome{i}", "B-LOC"), (".", "O")]
        for i in range(SIZES[part])
    ]


def columns(part: str) -> str:
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in names(part))


def json_row(words: list[str], *entities: Any) -> str:
    return json.dumps({"tokens": words, "entities": entities}) + "\n"


def jsonl(part: str) -> str:
    return "".join(json_row([w for w, _ in s], [0, 2, "PER"], [4, 5, "LOC"]) for s in names(part))


def conll2012(name: str, part: str) -> str:
    bracket = {"B-PER": "(PER*", "I-PER": "*)", "B-LOC": "(LOC)", "O": "*"}
    rows = [
        "".join(f"{name} 0 {i} {word} X * - - - - {bracket[tag]} -\n" for i, (word, tag) in enumerate(sentence))
        for sentence in names(part)
    ]
    return f"#begin document ({name}); part 000\n" + "\n".join(rows) + "\n#end document\n"


def brat(part: str) -> tuple[str, str]:
    """Text and annotations."""
    text, notes = "", list[str]()
    for words in ([word for word, _ in sentence] for sentence in names(part)):
        line = " ".join(words)
        for first, last, type_ in ((0, 1, "PER"), (4, 4, "LOC")):
            start = len(text) + len("".join(f"{word} " for word in words[:first]))
            mention = " ".join(words[first : last + 1])
            notes.append(f"T{len(notes) + 1}\t{type_} {start} {start + len(mention)}\t{mention}\n")
        text += line + "\n"
    return text, "".join(notes)


def table(columns: Mapping[str, list[Any]]) -> Callable[[Path], None]:
    """A parquet file."""

    def write(path: Path) -> None:
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(arrow.table(columns), path)

    return write


COLUMNS: Files = {f"{part}.txt": columns(part) for part in SIZES}
JSONL: Files = {f"{part}.jsonl": jsonl(part) for part in SIZES}
PARQUET: Files = {
    f"{part}.parquet": table(
        {"tokens": [[w for w, _ in s] for s in names(part)], "ner_tags": [[t for _, t in s] for s in names(part)]}
    )
    for part in SIZES
}
BRAT: Files = {
    f"{part}/a.{suffix}": text for part in SIZES for suffix, text in zip(("txt", "ann"), brat(part), strict=True)
}
FOLDERS = {"train": "train", "dev": "development", "test": "test"}
CONLL2012: Files = {
    f"{folder}/annotations/nw/x/{part}.gold_conll": conll2012(f"nw/x/{part}", part) for part, folder in FOLDERS.items()
} | {"card.toml": 'reader = "conll2012"\n'}
CARD: Files = {**COLUMNS, "card.toml": '[tasks]\npeople = ["PER"]\nplaces = ["LOC"]\n'}

TRAIN, TEST, JTRAIN = columns("train"), columns("test"), jsonl("train")


def first(rows: str) -> Files:
    """Rows that stand before the others of train.txt."""
    return {**COLUMNS, "train.txt": rows + TRAIN}


def first_json(row: str) -> Files:
    return {**JSONL, "train.jsonl": row + "\n" + JTRAIN}


def card(text: str) -> Files:
    return {**COLUMNS, "card.toml": text}


# What loading refuses.
ERRORS: dict[str, Case] = {
    # columns
    "row without a tag": Case(first("Anna\tB-PER\nmet\nBo\tB-PER\n\n"), "columns", "train.txt:2", "1 column"),
    "row with too many columns": Case(first("Anna\tB-PER\nmet\tX\tO\n\n"), "columns", "train.txt:2", "3 columns"),
    "one column only": Case({**COLUMNS, "dev.txt": "Anna\nmet\n"}, "columns", "dev.txt:1", "a word and a tag"),
    "blanks between columns in a file of tabs": Case(first("Anna\tB-PER\nmet O\n\n"), "columns", "train.txt:2", ""),
    "empty word": Case(first("Anna\tB-PER\n\tO\n\n"), "words", "train.txt:2", "empty"),
    "empty tag": Case(first("Anna\tB-PER\nmet\t\n\n"), "columns", "train.txt:2", ""),
    "unknown prefix": Case(first("Anna\tB-PER\nmet\tX-PER\n\n"), "tags", "train.txt:2", "'X-PER'"),
    "tag without prefix": Case(first("Anna\tPER\n\n"), "tags", "train.txt:1", "'PER'"),
    "title before the rows": Case(first("% made by hand\n"), "columns", "train.txt:1", "where all rows below have 2"),
    "dash for O": Case(first("Anna\tB-PER\nmet\t-\n\n"), "tags", "train.txt:2", "Write O for words outside"),
    "prefix without type": Case(first("Anna\tB-\n\n"), "tags", "train.txt:1", "'B-'"),
    "lower-case prefix": Case(first("Anna\tb-PER\n\n"), "tags", "train.txt:1", "'b-PER'"),
    "endless tag": Case(first("Anna\t" + "x" * 5000 + "\n\n"), "tags", "train.txt:1", "xxx..."),
    "zero for O": Case(first("Anna\t0\n\n"), "tags", "train.txt:1", "'0'"),
    "some tags with an underscore": Case(first("Anna\tB_PER\n\n"), "tags", "train.txt:1", "'B_PER'"),
    "parts of speech for tags": Case(
        {**COLUMNS, "train.txt": "".join(f"w{i}\t{['NN', 'VB'][i % 2]}\n\n" for i in range(120))},
        "tags",
        "train.txt:1",
        "no word of this file is tagged O",
    ),
    # bytes
    "Latin-1 and UTF-8": Case(
        {**COLUMNS, "train.txt": b"Zo\xeb\tB-PER\nZo\xc3\xab\tO\n\n" + TRAIN.encode()},
        "encoding",
        "train.txt:1",
        "UTF-8",
    ),
    "UTF-16": Case({**COLUMNS, "test.txt": TEST.encode("utf-16")}, "encoding", "test.txt:1", "UTF-16"),
    "binary file": Case({**COLUMNS, "train.txt": b"\x7fELF\0\0\x01\tO\n"}, "binary", "train.txt:1", "NUL"),
    "carriage returns for line ends": Case(
        {**COLUMNS, "train.txt": TRAIN.replace("\n", "\r")}, "encoding", "train.txt:1", "carriage return"
    ),
    "byte-order mark inside": Case(
        {**COLUMNS, "train.txt": "Anna\tB-PER\n\n\ufeffBo\tB-PER\n\n" + TRAIN}, "encoding", "train.txt:3", "byte-order"
    ),
    "no gzip": Case(
        {f"{p}.jsonl.gz": b"\x1f\x8bnone" if p == "dev" else gzip.compress(jsonl(p).encode()) for p in SIZES},
        "unreadable",
        "dev.jsonl.gz:1",
        "gzip",
    ),
    "gzip cut short": Case(
        {f"{p}.txt.gz": gzip.compress(columns(p).encode())[: -9 if p == "dev" else None] for p in SIZES},
        "unreadable",
        "dev.txt.gz",
        "gzip",
    ),
    # formats
    "mark of PubTator that covers another text": Case(
        {f"{p}.txt": "1|t|Anna sings\n1\t0\t4\tAnne\tPER\n" for p in SIZES}, "pubtator", "train.txt:2", "covers 'Anna'"
    ),
    "two layers of WebAnno": Case(
        {f"{p}.tsv": "#FORMAT=WebAnno TSV 3.3\n#T_SP=x.A|v\n#T_SP=x.B|v\n\n1-1\t0-1\ta\tX\tY\t\n" for p in SIZES},
        "webanno",
        "train.tsv:5",
        "several layers of spans",
    ),
    "XML": Case({**COLUMNS, "dev.txt": '<?xml version="1.0"?>\n<collection/>\n'}, "format", "dev.txt", "XML"),
    # folders
    "empty file": Case({**COLUMNS, "dev.txt": ""}, "empty", "dev.txt", "no sentences"),
    "blank lines only": Case({**COLUMNS, "dev.txt": "\n \n\t\n"}, "empty", "dev.txt", "no sentences"),
    "no dev part": Case({k: v for k, v in COLUMNS.items() if "dev" not in k}, "missing", "", "dev"),
    "no files": Case({"notes.md": "nothing"}, "missing", "", "train"),
    "two train files": Case({**COLUMNS, "train.conll": TRAIN}, "ambiguous", "", "train.conll, train.txt"),
    "no mention at all": Case(
        {f"{p}.txt": "".join(f"{p}{i}\tO\n\n" for i in range(9)) for p in SIZES}, "no mentions", "", "no mention"
    ),
    # JSON lines
    "broken JSON": Case(first_json('{"tokens": ["Anna"'), "object", "train.jsonl:1", "JSON"),
    "JSON too deep": Case(first_json("[" * 100_000), "object", "train.jsonl:1", ""),
    "JSON with an endless number": Case(
        first_json('{"tokens": ["a"], "n": ' + "9" * 5000 + "}"), "object", "train.jsonl:1", ""
    ),
    "JSON list for object": Case(first_json('["Anna", "met"]'), "object", "train.jsonl:1", "object"),
    "no tokens": Case(first_json('{"txt": "Anna", "entities": []}'), "words", "train.jsonl:1", "tokens"),
    "tokens as a number": Case(first_json('{"tokens": 3, "entities": []}'), "words", "train.jsonl:1", "tokens"),
    "a text for words": Case(
        first_json('{"tokens": "Anna met", "entities": []}'), "words", "train.jsonl:1", "'tokens' is a text"
    ),
    "no words": Case(first_json('{"tokens": [], "entities": [[0, 1, "PER"]]}'), "words", "train.jsonl:1", ""),
    "blank word": Case(first_json(json_row(["Anna", " "])), "words", "train.jsonl:1", "blank"),
    "number for a word": Case(first_json('{"tokens": ["a", 1], "entities": []}'), "words", "train.jsonl:1", ""),
    "half a surrogate pair": Case(
        first_json(r'{"tokens": ["a\ud83d"], "entities": []}'), "words", "train.jsonl:1", "surrogate"
    ),
    "no entities": Case(first_json('{"tokens": ["Anna"]}'), "object", "train.jsonl:1", ""),
    "mention past the end": Case(
        first_json(json_row(["Anna", "met"], [1, 3, "PER"])), "spans", "train.jsonl:1", "2 words"
    ),
    "negative start": Case(first_json(json_row(["Anna", "met"], [-1, 1, "PER"])), "spans", "train.jsonl:1", "-1"),
    "empty mention": Case(first_json(json_row(["Anna", "met"], [1, 1, "PER"])), "spans", "train.jsonl:1", "exclusive"),
    "end before start": Case(first_json(json_row(["Anna", "met"], [1, 0, "PER"])), "spans", "train.jsonl:1", ""),
    "text for a number": Case(
        first_json(json_row(["Anna"], ["0", "1", "PER"])), "spans", "train.jsonl:1", "whole numbers"
    ),
    "true for a number": Case(
        first_json(json_row(["Anna"], [0, True, "PER"])), "spans", "train.jsonl:1", "whole numbers"
    ),
    "entity without label": Case(
        first_json(json_row(["Anna"], {"start": 0, "end": 1})), "spans", "train.jsonl:1", "label"
    ),
    "empty label": Case(first_json(json_row(["Anna"], [0, 1, ""])), "spans", "train.jsonl:1", "label"),
    "half a surrogate pair in a label": Case(
        first_json(r'{"tokens": ["a"], "entities": [[0, 1, "\ud83d"]]}'), "spans", "train.jsonl:1", ""
    ),
    "too few tags": Case(
        first_json('{"tokens": ["Anna", "met"], "tags": ["B-PER"]}'), "tags", "train.jsonl:1", "2 words"
    ),
    "numbers without names": Case(first_json('{"tokens": ["Anna"], "ner_tags": [1]}'), "tags", "train.jsonl:1", "name"),
    "characters past the text": Case(
        first_json('{"text": "Anna met", "entities": [{"start": 5, "end": 99, "label": "PER"}]}'),
        "spans",
        "train.jsonl:1",
        "99",
    ),
    # parquet
    "no parquet": Case({**PARQUET, "train.parquet": b"PAR1 none PAR1"}, "parquet", "train.parquet", ""),
    "class ids without names": Case(
        {**PARQUET, "train.parquet": table({"tokens": [["Anna"]], "ner_tags": [[1]]})}, "tags", "train.parquet", "name"
    ),
    "class id out of range": Case(
        {
            **{f"{p}.parquet": table({"tokens": [["Anna"]], "ner_tags": [[3 if p == "dev" else 1]]}) for p in SIZES},
            "card.toml": '[reader_options]\ntag_names = ["O", "B-PER"]\n',
        },
        "tags",
        "dev.parquet:1",
        "3",
    ),
    "parquet without words": Case({**PARQUET, "dev.parquet": table({"ner_tags": [["O"]]})}, "words", "dev.parquet", ""),
    "parquet with nulls": Case(
        {**PARQUET, "dev.parquet": table({"tokens": [["Anna", None]], "ner_tags": [["O", "O"]]})},
        "words",
        "dev.parquet:1",
        "",
    ),
    # brat
    "annotations without text": Case(
        {k: v for k, v in BRAT.items() if k != "train/a.txt"}, "missing", "train/a.ann", ""
    ),
    "brat offsets past the text": Case(
        {**BRAT, "dev/a.ann": "T1\tPER 0 99999\tAnna\n"}, "brat", "dev/a.ann:1", "99999"
    ),
    "brat line without offsets": Case({**BRAT, "dev/a.ann": "T1\tPER\tAnna\n"}, "brat", "dev/a.ann:1", ""),
    "brat text that differs": Case({**BRAT, "dev/a.ann": "T1\tPER 0 4\tBert\n"}, "brat", "dev/a.ann:1", "Anna"),
    # CoNLL-2012
    "bracket that never closes": Case(
        {k: v.replace("*)", "*") if "dev" in k and isinstance(v, str) else v for k, v in CONLL2012.items()},
        "brackets",
        "development/annotations/nw/x/dev.gold_conll:2",
        "(PER",
    ),
    "bracket that closes nothing": Case(
        {k: v.replace("(PER*", "*") if "dev" in k and isinstance(v, str) else v for k, v in CONLL2012.items()},
        "brackets",
        "development/annotations/nw/x/dev.gold_conll:3",
        "closes no name",
    ),
    "rows cut short": Case(
        {k: v.replace(" - - - - ", " ") if "dev" in k and isinstance(v, str) else v for k, v in CONLL2012.items()},
        "columns",
        "development/annotations/nw/x/dev.gold_conll:2",
        "expected 12",
    ),
    "skeleton without words": Case(
        {k: v.replace(" Anna ", " [WORD] ") if "dev" in k and isinstance(v, str) else v for k, v in CONLL2012.items()},
        "words",
        "development/annotations/nw/x/dev.gold_conll:2",
        "[WORD]",
    ),
    "no test folder": Case({k: v for k, v in CONLL2012.items() if "test" not in k}, "missing", "", "test"),
    # cards
    "broken TOML": Case(card("[tasks\n"), "refused", "card.toml", "line 1"),
    "card in Latin-1": Case({**COLUMNS, "card.toml": b'title = "Zo\xeb"\n'}, "refused", "card.toml", ""),
    "unknown key": Case(card("taks = {}\n"), "refused", "card.toml", "Did you mean 'tasks'?"),
    "wrong type of a value": Case(card("title = 3\n"), "refused", "card.toml", "'title'"),
    "task without types": Case(card("[tasks]\npeople = []\n"), "refused", "card.toml", "tasks.people"),
    "type in two tasks": Case(card('[tasks]\na = ["PER"]\nb = ["PER"]\n'), "refused", "card.toml", "one task"),
    "order that is none": Case(
        card('orders = [[0, 2]]\n[tasks]\na = ["PER"]\nb = ["LOC"]\n'), "refused", "card.toml", "permutations"
    ),
    "unknown reader": Case(card('reader = "conl2012"\n'), "refused", "card.toml", "Did you mean 'conll2012'?"),
    "unknown reader option": Case(
        card('[reader_options]\nseparater = ","\n'), "refused", "card.toml", "Did you mean 'separator'?"
    ),
    "unknown scheme": Case(card('[reader_options]\nscheme = "BOI"\n'), "refused", "card.toml", "Did you mean 'BIO'?"),
    "column that is not there": Case(card("[reader_options]\ntag_columns = [5]\n"), "columns", "train.txt:1", "5"),
    "file that is not there": Case(
        card('[reader_options]\nfiles = {train = "train.txt", dev = "dev.txt", test = "tset.txt"}\n'),
        "missing",
        "",
        "tset.txt",
    ),
    "glob that is none": Case(card('[reader_options]\ndocuments = "**x"\n'), "missing", "", "0 files match"),
    "folder with a name too long": Case(
        card(f'[reader_options]\npath = "{"x" * 300}"\n'), "refused", "", "is no folder"
    ),
    "list of ids that is not there": Case(
        {**CONLL2012, "card.toml": 'reader = "conll2012"\n[reader_options]\nids = {train = "no.ids"}\n'},
        "refused",
        "card.toml",
        "no.ids",
    ),
    "counts as text": Case(card('[counts]\ntrain = {sentences = "12"}\n'), "refused", "card.toml", "counts.train"),
    "TOML too deep": Case(card("counts = " + "[" * 5000), "refused", "card.toml", ""),
    "TOML with an endless number": Case(card("schema = " + "9" * 5000), "refused", "card.toml", ""),
    "path that is no text": Case(card("[reader_options]\npath = 3\n"), "refused", "card.toml", "path"),
    "exclusions that are no texts": Case(
        {**CONLL2012, "card.toml": 'reader = "conll2012"\n[reader_options]\nexclude = 3\n'},
        "refused",
        "card.toml",
        "exclude",
    ),
    "id lists that are no texts": Case(
        {**CONLL2012, "card.toml": 'reader = "conll2012"\n[reader_options]\nids = {train = 3}\n'},
        "refused",
        "card.toml",
        "ids",
    ),
    "switch that is none": Case(
        {**CONLL2012, "card.toml": 'reader = "conll2012"\n[reader_options]\nnormalise = "no"\n'},
        "refused",
        "card.toml",
        "normalise",
    ),
    "knob that is no number": Case(
        {"card.toml": 'reader = "synthetic"\n[reader_options]\nco_occurrence = "x"\n'},
        "refused",
        "card.toml",
        "co_occurrence",
    ),
}

LONG = " ".join(f"w{i}" for i in range(2100)).split()


def rows(*words: str, tag: str = "O") -> str:
    return "".join(f"{word}\t{tag}\n" for word in words) + "\n"


# What loads, but should be known.
BO = {"start": 0, "end": 2, "labels": ["PER"]}

WARNINGS: dict[str, Case] = {
    "byte-order mark": Case({**COLUMNS, "train.txt": "\ufeff" + TRAIN}, "byte order mark", "train.txt:1", ""),
    "CRLF": Case({**COLUMNS, "dev.txt": columns("dev").replace("\n", "\r\n")}, "line ends", "dev.txt:1", "69 of 69"),
    "one line with CRLF": Case(first("Anna\tB-PER\nmet\tO\r\n\n"), "line ends", "train.txt:2", "1 of "),
    "I after O": Case(first("A\tO\nAnna\tI-PER\n\n"), "illegal tag", "train.txt:2", "'I-PER' after 'O'"),
    "I after another type": Case(
        first("A\tB-LOC\nAnna\tI-PER\n\n"), "illegal tag", "train.txt:2", "'I-PER' after 'B-LOC'"
    ),
    "misspelt type": Case(
        {
            **COLUMNS,
            "train.txt": rows("Anna", tag="B-PRE") + "".join(rows(f"Bo{i}", tag="B-PER") for i in range(50)) + TRAIN,
        },
        "type name",
        "train.txt:1",
        "'PRE' (mentions: 1) is nearly 'PER'",
    ),
    "two letters exchanged": Case(
        {
            **COLUMNS,
            "train.txt": rows("Anna", tag="B-PRE") + "".join(rows(f"Bo{i}", tag="B-PER") for i in range(5)) + TRAIN,
        },
        "type name",
        "train.txt:1",
        "'PRE' (mentions: 1) is nearly 'PER'",
    ),
    "type in another case": Case(first("Anna\tB-Per\n\n"), "type name", "train.txt:1", "nearly 'PER'"),
    "two names of a type": Case(
        first("Oslo\tB-location\n\n"),
        "type name",
        "train.txt:1",
        "is another name of 'LOC' (32). Where they are one type,",
    ),
    "tags without a hyphen": Case(
        first("Anna\tB-BPER\nBo\tB-IPER\n\n"),
        "type name",
        "train.txt:1",
        "'IPER' (mentions: 1) looks like a tag. Write the prefix with a hyphen (I-PER)",
    ),
    "attribute for a type": Case(
        first("Anna\tB-Entity=PER\n\n"), "type name", "train.txt:1", "looks like an attribute"
    ),
    "numbers for words": Case(
        {**COLUMNS, "dev.txt": "".join(f"{7 * i}\tB-PER\n{7 * i + 3}\tO\n\n" for i in range(10))},
        "no words",
        "dev.txt",
        "20 of 20 words of the dev part look like numbers",
    ),
    "tags for words": Case(
        {**COLUMNS, "dev.txt": "B-PER\tB-PER\nO\tO\n\n" * 10},
        "no words",
        "dev.txt",
        "20 of 20 words of the dev part look like tags",
    ),
    "words with their tags": Case(
        {**JSONL, "dev.jsonl": "".join(json_row([f"a{i}/O", f"b{i}/B-PER"], [1, 2, "PER"]) for i in range(10))},
        "no words",
        "dev.jsonl",
        "look like words with tags. Write a word and its tag in columns",
    ),
    "type that is not in the card": Case(
        {**CARD, "train.txt": "Anna\tB-P_ER\n\n" + TRAIN}, "type name", "train.txt:1", "nearly 'PER'"
    ),
    "tag for a type": Case(
        first_json(json_row(["Anna"], [0, 1, "B-PER"])), "type name", "train.jsonl:1", "looks like a tag"
    ),
    "every type once": Case(
        {**COLUMNS, "train.txt": "".join(f"w{i}\tB-T{i}\nx\tO\n\n" for i in range(120))}, "many types", "", "types for"
    ),
    "no O": Case(
        {**COLUMNS, "dev.txt": "".join(rows(*(f"w{i}{k}" for k in range(9)), tag="B-PER") for i in range(12))},
        "all words",
        "dev.txt",
        "108 of 108 words of the dev part",
    ),
    "part without a mention": Case(
        {**COLUMNS, "dev.txt": rows("Nobody", "came", ".")}, "no mentions", "dev.txt", "dev"
    ),
    "type absent from train": Case(
        {**COLUMNS, "test.txt": rows("Acme", tag="B-ORG") + TEST}, "absent type", "test.txt:1", "'ORG'"
    ),
    "type of the card that never occurs": Case(
        card('[tasks]\na = ["PER"]\nb = ["LOC", "GOD"]\n'),
        "absent type",
        "",
        "'GOD' never occurs in train and dev and test",
    ),
    "few test mentions": Case(
        {**COLUMNS, **{f"{p}.txt": rows("Acme", tag="B-ORG") + columns(p) for p in SIZES}},
        "rare type",
        "test.txt:1",
        "'ORG'",
    ),
    "test larger than train": Case(
        {**COLUMNS, "test.txt": TRAIN.replace("train", "x") + TEST},
        "part sizes",
        "test.txt",
        "21 sentences, train only 12",
    ),
    "published counts": Case(
        card("[counts]\ntrain = {sentences = 14041, mentions = 24}\n"),
        "counts",
        "",
        "12 sentences, published are 14,041",
    ),
    "leak": Case({**COLUMNS, "test.txt": TRAIN.split("\n\n")[1] + "\n\n" + TEST}, "leak", "test.txt:1", "train.txt:8"),
    "duplicate": Case(
        {**COLUMNS, "test.txt": TEST + "\n" + TEST.split("\n\n")[0]}, "duplicate", "test.txt:71", "test.txt:1 "
    ),
    "same words, other mentions": Case(
        {**COLUMNS, "dev.txt": rows(*TRAIN.split("\t")[0:1]) + rows("Anna", tag="B-PER") + columns("dev")},
        "conflict",
        "dev.txt:3",
        "'Anna' is 'PER' only here",
    ),
    "two types of one span": Case(
        first_json(json_row(["Anna", "met"], [0, 1, "PER"], [0, 1, "LOC"])), "two types", "train.jsonl:1", "'Anna'"
    ),
    "crossing mentions": Case(
        first_json(json_row(["Anna", "met", "Bo"], [0, 2, "PER"], [1, 3, "LOC"])),
        "crossing",
        "train.jsonl:1",
        "'PER' 0-2 and 'LOC' 1-3",
    ),
    "mention of a whole sentence": Case(
        first("".join(f"w{i}\t{'I' if i else 'B'}-PER\n" for i in range(15)) + "\n"),
        "whole sentence",
        "train.txt:1",
        "15 words",
    ),
    "no blank lines": Case(first(rows(*LONG[:1001])), "no breaks", "train.txt:1", "1,001 words"),
    "sentence above the limit": Case(first(rows(*LONG[:2001])), "long sentence", "train.txt:1", "2,001 words"),
    "document border": Case(first_json(json_row(["-DOCSTART-"])), "docstart", "train.jsonl:1", "-DOCSTART-"),
    "lost character": Case(first(rows("Zo\ufffd")), "replacement", "train.txt:1", "U+FFFD"),
    "UTF-8 as Latin-1": Case(first(rows("met", "ZoÃ«")), "mojibake", "train.txt:1", "'Zoë'"),
    "control character": Case(first(rows("be\x07ll")), "control", "train.txt:1", "U+0007"),
    "zero-width space": Case(first(rows("new\u200bline")), "invisible", "train.txt:1", "U+200B"),
    "zero-width joiner": Case(first(rows("new\u200dline")), "invisible", "train.txt:1", "U+200D"),
    "blank in a word": Case(first_json(json_row(["New York"])), "blank in word", "train.jsonl:1", "'New York'"),
    "no-break space": Case(first(rows("10\xa0000")), "blank in word", "train.txt:1", ""),
    "long word": Case(first(rows("a" * 101)), "long word", "train.txt:1", "101 characters"),
    "long address": Case(first(rows("a/" * 251)), "long word", "train.txt:1", "502 characters"),
    "hashtags for comments": Case(
        {**first("#one\tB-PER\nmet\tO\n\n"), "card.toml": '[reader_options]\ncomment = "#"\n'},
        "comment",
        "train.txt:1",
        "'#one",
    ),
    "Latin-1": Case(
        {**COLUMNS, "train.txt": b"Zo\xeb\tB-PER\n\n" + TRAIN.encode()}, "code page", "train.txt:1", "'Zoë"
    ),
    "layers that are not read": Case(
        {f"{part}.txt": columns(part).replace("\t", "\tB-LOC\t") for part in SIZES},
        "other columns",
        "train.txt:1",
        "columns [1] look like tags, too",
    ),
    "mention with a gap": Case(
        {**BRAT, "dev/a.ann": "T1\tPER 0 4;10 15\tAnna lives\n" + brat("dev")[1]}, "discontinuous", "dev/a.ann:1", ""
    ),
    "mention over a line end": Case(
        {**BRAT, "dev/a.ann": "T1\tLOC 19 31\tRome0 . Anna\n" + brat("dev")[1]}, "across lines", "dev/a.ann:1", ""
    ),
    "rejected text": Case(
        first_json(json.dumps({"text": "Bo", "spans": [], "answer": "reject"})),
        "rejected",
        "train.jsonl:1",
        '"answer": "reject"',
    ),
    "text that nobody annotated": Case(
        first_json(json.dumps({"data": {"text": "Bo"}, "annotations": []})),
        "unlabelled",
        "train.jsonl:1",
        "not yet annotated",
    ),
    "annotators who disagree": Case(
        first_json(json.dumps({"data": {"text": "Bo"}, "annotations": [{"result": []}, {"result": [{"value": BO}]}]})),
        "annotators",
        "train.jsonl:1",
        "2 annotations of 'Bo'",
    ),
    "offsets of JavaScript": Case(
        first_json(
            json.dumps(
                {
                    "data": {"text": "\U0001f600 Bo"},
                    "annotations": [{"result": [{"value": {"start": 3, "end": 5, "text": "Bo", "labels": ["PER"]}}]}],
                }
            )
        ),
        "utf-16",
        "train.jsonl:1",
        "'Bo' in ",
    ),
    "offsets of two readings": Case(
        first_json(
            json.dumps(
                {
                    "data": {"text": "\U0001f600" * 3 + "Bo Bo"},
                    "annotations": [{"result": [{"value": {"start": 6, "end": 8, "text": "Bo", "labels": ["PER"]}}]}],
                }
            )
        ),
        "offsets",
        "train.jsonl:1",
        "Bo Bo",
    ),
    "mark without a type": Case(
        first_json(
            json.dumps(
                {"data": {"text": "Bo"}, "annotations": [{"result": [{"type": "labels", "value": {"text": "Bo"}}]}]}
            )
        ),
        "untyped",
        "train.jsonl:1",
        "'Bo'",
    ),
    "mentions beside numbers": Case(
        first_json(json.dumps({"tokens": ["Bo"], "entities": [], "tags": [0]})),
        "two keys",
        "train.jsonl:1",
        "'entities' is read, 'tags' is not",
    ),
    "mention inside a word": Case(
        {**BRAT, "dev/a.ann": "T1\tPER 1 4\tnna\n" + brat("dev")[1]}, "inside a word", "dev/a.ann:1", ""
    ),
}


def build(folder: Path, files: Files) -> str:
    """Write the files; returns what to call the corpus on the command line: its card, where it has one."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(folder / "card.toml" if "card.toml" in files else folder)


def diagnose(capsys: pytest.CaptureFixture[str], dataset: str, *options: str) -> tuple[int, dict[str, Any]]:
    code = main.main(["data", "check", dataset, "--json", *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "files",
    [COLUMNS, JSONL, PARQUET, BRAT, CONLL2012, CARD],
    ids=["columns", "jsonl", "parquet", "brat", "conll2012", "card"],
)
def test_nothing_is_found_in_a_sound_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str], files: Files) -> None:
    dataset = build(tmp_path, files)
    assert main.main(["data", "check", dataset]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\nno problem found\n")
    assert "12 sentences" in out
    assert "24 mentions of 2 types" in out
    assert len(load_corpus(dataset).parts["train"]) == 12


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_an_error_is_told_by_the_doctor_and_refused_by_loading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    dataset = build(tmp_path, case.files)
    code, found = diagnose(capsys, dataset)
    errors = [p for p in found["problems"] if p["level"] == "error"]
    at = str(tmp_path / case.where)
    there = [p for p in errors if at in p["message"] and case.words in p["message"]]
    assert code == 1
    assert there, errors
    assert there[0]["kind"] == case.kind
    assert all(message_is_short(p["message"]) for p in errors)
    # Loading names the same place. It stops at its first problem, and a case has one place only.
    assert main.main(["data", "show", dataset]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert at in said
    assert case.words in said
    assert message_is_short(said)


@pytest.mark.parametrize("case", WARNINGS.values(), ids=WARNINGS)
def test_a_warning_is_told_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: Case) -> None:
    dataset = build(tmp_path, case.files)
    code, found = diagnose(capsys, dataset)
    assert code == 1
    assert [p for p in found["problems"] if p["level"] == "error"] == []
    there = [p["message"] for p in found["problems"] if p["kind"] == case.kind]
    assert there, found["problems"]
    at = str(tmp_path / case.where)
    assert any(message.startswith(f"{at}: ") and case.words in message for message in there), there
    assert all(map(message_is_short, there))
    load_corpus(dataset)


def message_is_short(message: str) -> bool:
    return len(message.strip().splitlines()) <= 5 and len(message) < 1500 and "Traceback" not in message


def test_every_kind_of_warning_has_a_case() -> None:
    assert {case.kind for case in WARNINGS.values()} == set(KINDS)


def test_findings_are_grouped_counted_and_always_in_the_same_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "".join(f"w{i}\n\n" for i in range(8))
    dataset = build(tmp_path, {**COLUMNS, "train.txt": TRAIN + "\n" + bad + rows("be\x07ll"), "dev.txt": b"\xff"})
    assert main.main(["data", "check", dataset]) == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    heads = [line for line in lines if line.startswith(("error ", "warning "))]
    assert [head.split(":")[0] for head in heads[:2]] == ["error columns (8)", "error encoding (1)"]
    assert "warning control (1): words with control characters" in heads
    assert sum(line.startswith(f"  {tmp_path}/train.txt:") for line in lines) == 5 + 1
    assert "  and 3 more (--all shows them)" in lines
    assert lines[-1].endswith("fix the errors first (9): loading refuses the corpus until then")
    assert main.main(["data", "check", dataset]) == 1
    assert capsys.readouterr().out == out
    assert main.main(["data", "check", dataset, "--all"]) == 1
    everything = capsys.readouterr().out
    assert "more (--all" not in everything
    assert everything.count(f"  {tmp_path}/train.txt:") == 8 + 1


@pytest.mark.parametrize("words", [["no-such"], ["/no/such.toml"], ["fewnerd"], ["fewnerd", "--data", "/no/such"]])
def test_wrong_use_exits_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main.main(["data", "check", *words]) == 2
    assert message_is_short(capsys.readouterr().err)


def test_the_generated_corpus_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = diagnose(capsys, "synthetic")
    assert (code, found["totals"]) == (0, {})


def test_copies_of_short_sentences_are_no_leak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = rows("Thank", "you", ".") * 2
    dataset = build(tmp_path, {f"{part}.txt": short + columns(part) for part in SIZES})
    assert diagnose(capsys, dataset)[0] == 0


def test_words_of_other_scripts_are_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    persian, family, hindi = "می‌خواهم", "👨‍👩‍👧", "क्‍ष"
    dataset = build(tmp_path, first(rows(persian, family, hindi, "東京", "שלום", "São", "Âge", "É”", "naïve")))
    assert diagnose(capsys, dataset)[0] == 0


@pytest.mark.parametrize(
    ("total", "declared", "slips"),
    [
        ({"PER": 1200, "PRE": 3}, (), [("PRE", "PER")]),
        ({"PER": 1200, "PERT": 24}, (), [("PERT", "PER")]),
        ({"PER": 1200, "PERT": 25}, (), []),  # not rare enough
        ({"LOC": 1200, "Location": 900}, (), [("Location", "LOC")]),  # another name
        ({"DNA": 9533, "RNA": 951}, (), []),
        ({"PER": 10, "per": 9}, (), [("per", "PER")]),
        ({"work-of-art": 9, "WORK_OF_ART": 10}, (), [("work-of-art", "WORK_OF_ART")]),
        ({"PER": 1200, "PRE": 3}, ("PER", "PRE"), []),
        ({"PERS": 1200, "LOC": 5}, ("PER", "LOC"), [("PERS", "PER")]),  # the card's own name never occurs
        ({"PER": 3, "Per": 1200}, ("PER",), [("Per", "PER")]),
        ({"B_PER": 5, "I_PER": 5, "o": 9}, (), [("B_PER", ""), ("I_PER", ""), ("o", "")]),
        ({"LOC": 1000, "ORG": 1, "MISC": 1}, (), []),
        ({"+": 5, "*": 5}, (), []),
    ],
)
def test_slips_in_type_names(total: dict[str, int], declared: tuple[str, ...], slips: list[tuple[str, str]]) -> None:
    from collections import Counter

    card = Card("", "", tasks={type_: (type_,) for type_ in declared})
    assert list(doctor_parts._slips(Counter(total), card)) == slips


TAKE, SPLIT = "Take it out", "Write it as several words, each with its tag"
DOUBT = ", where it separates them; else take it out"


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        # A space of no width is a space; marks of direction may stand between words; the rest stands within a word.
        ("new\u200bline", f"{SPLIT} ('new' 'line')."),
        ("\u200bline", f"{TAKE} ('line')"),
        ("line\u200b", f"{TAKE} ('line')"),
        ("a\u200bb\u200bc", f"{SPLIT} ('a' 'b' 'c')."),
        ("\u200b", "Take the word out with its tag, and count the words of the mentions again"),
        ("new\u200eline", f"{SPLIT} ('new' 'line'){DOUBT}"),
        ("new\u2063line", f"{SPLIT} ('new' 'line'){DOUBT}"),
        ("new\u200dline", f"{TAKE} ('newline')"),
        ("new\u2060line", f"{TAKE} ('newline')"),
        ("new\xadline", f"{TAKE} ('newline')"),
        ("new\ufeffline", f"{TAKE} ('newline')"),
        # Controls: those of cp1252 are letters and marks that were lost.
        ("don\x92t", "Convert the original file again, as cp1252: there it is '\u2019'"),
        ("be\x07ll", f"{SPLIT} ('be' 'll'){DOUBT}"),
        ("new\x1fline", f"{SPLIT} ('new' 'line')."),
        ("new\xa0line", f"{SPLIT}."),
    ],
)
def test_no_advice_makes_one_word_of_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, fix: str
) -> None:
    _, found = diagnose(capsys, build(tmp_path, first_json(json_row([word, "goes", "on"], [0, 1, "PER"]))))
    (message,) = (p["message"] for p in found["problems"] if p["level"] == "warning" and p["kind"] in ODD)
    assert fix in message


ODD = {"control", "invisible", "blank in word"}


@pytest.mark.parametrize(
    ("files", "kind", "fix"),
    [
        # Marks of brat count characters: text without carriage returns would move them all.
        ({k: v.replace("\n", "\r\n") if k == "dev/a.txt" else v for k, v in BRAT.items()}, "line ends", "Leave it"),
        ({**COLUMNS, "dev.txt": columns("dev").replace("\n", "\r\n")}, "line ends", "Convert the file"),
        (
            {k: v for k, v in BRAT.items() if k != "dev/a.ann"} | {"card.toml": '[reader_options]\nformat = "brat"\n'},
            "brat",
            "Get a.ann from where the text came from",
        ),
        (first("Anna\tB-none\n\n"), "type name", "Where it means that there is no name, write O; else give the type"),
        (first("Anna\tB-B_PER\n\n"), "type name", "Write the prefix with a hyphen (B-PER)"),
        (first("Anna\tB-Per\n\n"), "type name", "Where they are one type, write 'PER'"),
        (first_json(json_row(["Anna"], [0, 1, "PER"], [0, 1, "LOC"])), "two types", "where both are right"),
        ({**COLUMNS, "test.txt": TRAIN[: TRAIN.index("\n\n") + 2] + TEST}, "leak", "Take it out of train, or say it"),
        (first("Anna\tB-PER\n\tI-PER\n\n"), "words", "where the row stands between two sentences, and has no name"),
        (
            {"a.train.txt": TRAIN, "b.train.txt": TRAIN, "dev.txt": columns("dev"), "test.txt": TEST},
            "ambiguous",
            "or a glob for several",
        ),
    ],
)
def test_no_advice_loses_labels_or_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: Files, kind: str, fix: str
) -> None:
    _, found = diagnose(capsys, build(tmp_path, files))
    messages = [p["message"] for p in found["problems"] if p["kind"] == kind]
    assert messages
    assert all(fix in message for message in messages), messages


def test_the_limit_is_that_of_span_methods() -> None:
    assert doctor_rows.LONG_SENTENCE == SPAN_WORDS


def test_the_page_names_every_kind_and_number() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    kinds = [*KINDS, *(case.kind for case in ERRORS.values())]
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []
    numbers = (
        doctor_parts.RARE,
        doctor_rows.SHORT,
        doctor_rows.LONG_SENTENCE,
        doctor_rows.NO_BREAKS,
        doctor_rows.LONG_WORD,
        doctor_rows.LONG_WHOLE,
    )
    assert [n for n in numbers if f"{n:,}" not in page] == []


@pytest.mark.slow
def test_real_corpora(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = diagnose(capsys, "fewnerd", "--data", str(real_data / "fewnerd"))
    kinds = {key: n for key, n in found["totals"].items() if key != "warning:counts"}
    assert (code, kinds) == (1, {"warning:rare type": 1})
