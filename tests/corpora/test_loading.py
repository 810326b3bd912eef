"""From a source to a corpus: every card on a generated copy of its format, the hub, unions, published counts."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from cl_ner_bench.corpora import doctor, find, load
from cl_ner_bench.corpora.card import Card, Explained, Hub, PartCounts
from cl_ner_bench.corpora.cards import list_cards, read_card
from cl_ner_bench.corpora.find import find_card
from cl_ner_bench.corpora.load import load_corpus, rows_of
from cl_ner_bench.corpora.published_counts import Counts, differences
from cl_ner_bench.corpora.readers.problems import Report
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Mention
from cl_ner_bench.errors import UserError

CARDS = sorted(set(list_cards()) - {"synthetic"})


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))


# Every card, on invented sentences in its corpus' own files


def invented(card: Card) -> list[tuple[list[str], list[Mention]]]:
    """Two sentences for each type: one with a mention of two words, one without any."""
    sentences = []
    for type_ in card.types:
        sentences.append((["Umba", "Lor", "spoke"], [Mention(0, 2, type_)]))
        sentences.append((["Nothing"], []))
    return sentences


def columns(sentences: list[tuple[list[str], list[Mention]]], line: str = "{word}\t{tag}", bare: bool = False) -> str:
    text = ""
    for words, mentions in sentences:
        tags = ["O"] * len(words)
        for start, end, type_ in mentions:
            tags[start:end] = [type_ if bare else f"{'I' if k else 'B'}-{type_}" for k in range(end - start)]
        rows = enumerate(zip(words, tags, strict=True), 1)
        text += "".join(line.format(number=i, word=word, tag=tag) + "\n" for i, (word, tag) in rows) + "\n"
    return text


def write_conll2012(card: Card, folder: Path) -> None:
    ids = {"train": "bc/cctv/00/cctv_0001", "dev": "bc/cctv/00/cctv_0000", "test": "bc/x/00/x_0000"}
    for part, name in ids.items():
        path = folder / {"dev": "development"}.get(part, part) / "annotations" / f"{name}.gold_conll"
        path.parent.mkdir(parents=True)
        text = f"#begin document ({name}); part 000\n"
        for words, mentions in invented(card):
            cells = ["*"] * len(words)
            for start, end, type_ in mentions:
                cells[start], cells[end - 1] = f"({type_}*", "*)"
            rows = zip(words, cells, strict=True)
            text += "".join(f"{name} 0 {i} {w} NN * - - - S {cell} -\n" for i, (w, cell) in enumerate(rows)) + "\n"
        path.write_text(text + "#end document\n")


def write_columns(line: str = "{word}\t{tag}", before: str = "", names: Mapping[str, str] = {}) -> Callable[..., None]:
    def write(card: Card, folder: Path) -> None:
        for part in PARTS:
            (folder / names.get(part, f"{part}.txt")).write_text(before + columns(invented(card), line))

    return write


def write_fewnerd(card: Card, folder: Path) -> None:
    fine = {t: t if "-" in t else f"{t}-other" for t in card.types}
    (folder / "supervised").mkdir()
    for part in PARTS:
        rows = [(words, [Mention(s, e, fine[t]) for s, e, t in mentions]) for words, mentions in invented(card)]
        (folder / "supervised" / f"{part}.txt").write_text(columns(rows, bare=True))


def write_litbank(card: Card, folder: Path) -> None:
    (folder / "tsv").mkdir()
    for i in range(12):
        (folder / "tsv" / f"{i:02}_book.tsv").write_text(columns(invented(card), "{word}\t{tag}\tO\tO\tO"))


def write_crossner(card: Card, folder: Path) -> None:
    for domain, entry in card.reader_options["corpora"].items():
        (folder / domain).mkdir()
        own = replace(card, tasks={t: (t,) for t in entry["types"]})
        for part in PARTS:
            (folder / domain / f"{part}.txt").write_text(columns(invented(own)))


WRITERS: dict[str, Callable[[Card, Path], None]] = {
    **dict.fromkeys(["ontonotes", "ontonotes-v12", "ontonotes18", "ontonotes18-v12"], write_conll2012),
    **dict.fromkeys(["fewnerd", "fewnerd-coarse"], write_fewnerd),
    "litbank": write_litbank,
    "crossner": write_crossner,
    "conll2003": write_columns(
        "{word} NN B-NP {tag}",
        "-DOCSTART- -X- -X- O\n\n",
        {"train": "eng.train", "dev": "eng.testa", "test": "eng.testb"},
    ),
    "germeval14": write_columns("{number}\t{word}\t{tag}\tO", "#\thttp://invented [2009-10-17]\n"),
    "wnut17": write_columns(
        names={"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"}
    ),
}


@pytest.mark.parametrize("name", CARDS)
def test_every_card_reads_its_corpus(name: str, tmp_path: Path) -> None:
    card = list_cards()[name]
    folder = tmp_path / "data"
    folder.mkdir()
    WRITERS.get(name, write_columns())(card, folder)
    corpus = load_corpus(name, folder)
    found = {m.type for s in corpus.parts["test"] for m in s.mentions}
    assert found == set(card.types)
    assert {(s.words, tuple(m[:2] for m in s.mentions)) for s in corpus.parts["dev"]} == {
        (("Umba", "Lor", "spoke"), ((0, 2),)),
        (("Nothing",), ()),
    }
    assert corpus.source.endswith("data") or name == "crossner"
    published = [part for part in PARTS if card.counts.get(part)]
    assert all(any(d.text.startswith(f"{part}: ") for d in corpus.differences) for part in published)
    streamed = {part: [r.mentions for r in rows] for part, rows in rows_of(*find_card(name, folder), Report()).items()}
    assert {part: len(rows) for part, rows in streamed.items()} == {p: len(s) for p, s in corpus.parts.items()}


def test_the_cards_say_what_a_user_needs() -> None:
    for name, card in list_cards().items():
        assert card.title
        assert card.licence
        assert card.citation
        assert card.how_to_get
        assert re.fullmatch(r"[a-z0-9-]+", name)
        if card.reader != "synthetic" and not name.startswith(("ontonotes", "fewnerd", "litbank")):
            assert list(card.tasks) == sorted(card.tasks)
            assert all(types == (task,) for task, types in card.tasks.items())
    assert {name: len(card.types) for name, card in list_cards().items()} == {
        **{"bc5cdr": 2, "bionlp2004": 5, "conll2003": 4, "crossner": 39, "fewnerd": 66, "fewnerd-coarse": 8},
        **{"germeval14": 12, "i2b2-2014": 16, "litbank": 6, "multinerd": 15, "ontonotes": 6, "ontonotes-v12": 6},
        **{"ontonotes18": 18, "ontonotes18-v12": 18, "synthetic": 6, "wnut17": 6},
    }
    for name in ("ontonotes", "ontonotes18", "ontonotes-v12", "ontonotes18-v12", "i2b2-2014"):
        assert list_cards()[name].hub is None  # their licences forbid it


def test_inter_and_intra_of_few_nerd_are_folders(tmp_path: Path) -> None:
    write_fewnerd(list_cards()["fewnerd"], tmp_path)
    (tmp_path / "supervised").rename(tmp_path / "inter")
    assert len(load_corpus("fewnerd", tmp_path / "inter").parts["train"]) == 132


def test_coarse_types_of_few_nerd(tmp_path: Path) -> None:
    write_fewnerd(list_cards()["fewnerd"], tmp_path)
    fine, coarse = load_corpus("fewnerd", tmp_path), load_corpus("fewnerd-coarse", tmp_path)
    for a, b in zip(fine.parts["train"], coarse.parts["train"], strict=True):
        assert [(m.start, m.end, m.type.split("-")[0]) for m in a.mentions] == [*map(tuple, b.mentions)]


def test_ocilners_tasks() -> None:
    card = list_cards()["fewnerd"]
    scenario = card.scenarios["ocilner"]
    assert scenario["assign"] == "filter"
    tasks = scenario["tasks"]
    assert [t["name"] for t in tasks] == [f"ocilner{k}" for k in range(1, 12)]
    assert sorted(t for task in tasks for t in task["types"]) == sorted(card.types)
    assert {len(task["types"]) for task in tasks} == {6}


def test_ocilners_tasks_are_the_published_ones(real_data: Path) -> None:
    published = json.loads((real_data / "fewnerd" / "ocilner_tasks.json").read_text())["tasks"]
    assert [task["types"] for task in list_cards()["fewnerd"].scenarios["ocilner"]["tasks"]] == published


# Real corpora


def sizes(corpus: Corpus) -> dict[str, tuple[int, int]]:
    return {part: (len(s), sum(len(x.mentions) for x in s)) for part, s in corpus.parts.items()}


@pytest.mark.slow
def test_litbank_counts(real_data: Path) -> None:
    corpus = load_corpus("litbank", real_data / "litbank")
    assert (corpus.remarks, corpus.differences) == ((), ())  # the card's counts, by type, were found
    assert sum(n for n, _ in sizes(corpus).values()) == 8562
    assert sum(n for _, n in sizes(corpus).values()) == 13912
    inside = 0
    for sentence in (s for sentences in corpus.parts.values() for s in sentences):
        by_size = sorted(sentence.mentions, key=lambda m: (m.end - m.start, m))
        for k, m in enumerate(by_size):
            inside += any(o.start <= m.start and m.end <= o.end for o in by_size[k + 1 :])
    assert inside == 2143
    # Ten of the hundred documents are test documents, and each begins a sentence; the cache remembers.
    assert len(corpus.documents) == 10
    assert (corpus.documents[0], [*corpus.documents]) == (0, sorted(set(corpus.documents)))
    assert corpus.documents[-1] < len(corpus.parts["test"])
    assert load_corpus("litbank", real_data / "litbank").documents == corpus.documents


def test_wnut17_counts(real_data: Path) -> None:
    corpus = load_corpus("wnut17", real_data / "wnut17")
    assert {part: n for part, (n, _) in sizes(corpus).items()} == {"train": 3394, "dev": 1009, "test": 1287}
    assert sum(n for _, n in sizes(corpus).values()) == 3890
    assert corpus.differences == ()
    assert corpus.documents == ()  # a file is a part, not a document


# Published counts


def test_differences_are_told_by_their_known_reason() -> None:
    card = list_cards()["conll2003"]
    found = {"train": Counts(14041), "dev": Counts(3250), "test": Counts(3453)}
    found["train"].types.update(PER=23499)
    found["test"].types.update(PER=1617, LOC=1662, MISC=693, ORG=1656, other=9)
    (said,) = differences(card, found)
    assert said.text.startswith("test: 5,628 mentions, published are 5,648: adjacent mentions")
    assert said.accepted  # CFNER's numbers, which stand beside ours, are of such files
    found["test"].types.update(PER=1)
    assert list(differences(card, found)) == [("test: 5,629 mentions, published are 5,648", False)]
    found["test"].types.update(PER=19)
    assert list(differences(card, found)) == []


def test_counts_by_type_are_compared_where_the_sentences_are_all_there() -> None:
    explained = (Explained("train", "ORG", 4, "one ORG is missing in v4", accepted=True),)
    card = Card("x", "X", counts={"train": PartCounts(2, types={"ORG": 5, "PER": 1})}, explained_counts=explained)
    found = Counts(2)
    found.types.update(ORG=4)
    text = "train: mentions by type, published in brackets: ORG 4 (5: one ORG is missing in v4)"
    assert list(differences(card, {"train": found})) == [(f"{text}, PER 0 (1)", False)]
    found.types.update(PER=1)
    assert list(differences(card, {"train": found})) == [(text, True)]
    found.sentences = 1
    assert list(differences(card, {"train": found})) == [("train: 1 sentences, published are 2", False)]


@pytest.mark.parametrize("name", ["ontonotes", "ontonotes18"])
def test_ontonotes_published_counts_add_up(name: str) -> None:
    card = list_cards()[name]
    for counts in card.counts.values():
        assert counts.mentions == sum(counts.types.values())
        assert set(counts.types) == set(card.types)
    assert card.counts["train"].sentences == 59924
    total = {"ontonotes": 68814, "ontonotes18": 81829}[name]
    assert card.counts["train"].mentions == total
    assert ("train", "mentions", total - 1) in [(e.part, e.key, e.value) for e in card.explained_counts]


@pytest.mark.slow
def test_ontonotes_counts_are_checked_on_generated_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """59,924 sentences with the published mentions of each type, one ORG short: the difference has its name."""
    card = list_cards()["ontonotes18"]
    ids = Path(card.reader_options["ids"]["train"]).read_text().split()
    left = dict(card.counts["train"].types) | {"ORG": card.counts["train"].types["ORG"] - 1}
    mentions = iter([t for t, n in left.items() for _ in range(n)])
    n = card.counts["train"].sentences
    per_document = -(-n // 20)
    for number, name in enumerate([i for i in ids if not i.startswith("pt/")][:20]):
        rows = []
        for _ in range(min(per_document, n - number * per_document)):
            cells = [f"({t})" for t in (next(mentions, None), next(mentions, None)) if t] or ["*"]
            rows += [f"x 0 0 word NN * - - - S {cell} -" for cell in cells] + [""]
        path = tmp_path / "train" / f"{name}.gold_conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"#begin document ({name}); part 000", *rows, "#end document", ""]))
    for part, name in (("development", "bc/cctv/00/cctv_0000"), ("test", "bc/x/00/x_0000")):
        path = tmp_path / part / f"{name}.gold_conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#begin document ({name}); part 000\nx 0 0 word NN * - - - S (ORG) -\n\n#end document\n")
    found = load_corpus("ontonotes18", tmp_path).differences
    words, mentions, types = [d for d in found if d.text.startswith("train: ")]
    assert " words, published are " in words.text  # made up here
    assert mentions.text.startswith("train: 81,828 mentions, published are 81,829: as in the v4_gold_conll files")
    assert "ORG 12,820 (12,821: as in the v4_gold_conll files" in types.text
    assert (words.accepted, mentions.accepted, types.accepted) == (False, True, True)


# The hub, from a folder of parquet files that stands for a repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A local copy of what the branch refs/convert/parquet of a set holds: two layers of tags, by number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["O", "B-PER", "I-PER", "B-LOC"]
    label = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    text = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"}
    features = {"id": {"dtype": "string", "_type": "Value"}, "tokens": text, "ner_tags": label, "inner": label}
    rows = {"id": ["0", "1"], "tokens": [["Anna", "Bonn", "sings"], ["Nothing"]], "ner_tags": [[1, 2, 0], [0]]}
    table = pa.table(rows | {"inner": [[0, 3, 0], [0]]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    repository = tmp_path / "someone" / "set"
    for split in ("train", "validation", "test"):
        (repository / "mini" / split).mkdir(parents=True)
        pq.write_table(table, repository / "mini" / split / "0000.parquet")
    return repository


def hub_card(repository: Path, tags: tuple[str, ...] = (), **options: object) -> Card:
    hub = Hub(str(repository), "refs/convert/parquet", folder="mini", tags=tags)
    return Card("mini", "Mini", how_to_get="Ask someone.", hub=hub, reader_options=options)


@pytest.fixture
def load_card(monkeypatch: pytest.MonkeyPatch) -> Callable[[Card], Corpus]:
    def load_it(card: Card, data: Path | None = None) -> Corpus:
        for module in (find, load):
            monkeypatch.setattr(module, "list_cards", lambda: {card.name: card})
        return load_corpus(card.name, data)

    return load_it


def test_the_hub_by_class_names(repository: Path, load_card: Callable[[Card], Corpus], tmp_path: Path) -> None:
    corpus = load_card(hub_card(repository))
    assert {part: len(s) for part, s in corpus.parts.items()} == {"train": 2, "dev": 2, "test": 2}
    assert corpus.parts["dev"][0].words == ("Anna", "Bonn", "sings")
    assert corpus.parts["dev"][0].mentions == (Mention(0, 2, "PER"),)
    assert corpus.source == f"the Hugging Face hub ({repository}, revision refs/convert/parquet)"
    assert f"the corpus comes from {corpus.source}" in corpus.remarks
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "someone"]


def test_the_local_cache_comes_before_the_hub(repository: Path, load_card: Callable[[Card], Corpus]) -> None:
    card = hub_card(repository)
    first = load_card(card)
    for file in repository.rglob("*.parquet"):
        file.unlink()
    again = load_card(card)
    assert again.parts == first.parts
    assert again.source == f"the local cache of {first.source}"
    other = replace(card, hub=replace(card.hub, revision="another"))
    with pytest.raises(UserError, match="revision another"):
        load_card(other)


def test_data_comes_before_the_cache_and_the_hub(
    repository: Path, load_card: Callable[..., Corpus], tmp_path: Path
) -> None:
    card = hub_card(repository)
    load_card(card)
    (tmp_path / "own").mkdir()
    for part in PARTS:
        (tmp_path / "own" / f"{part}.txt").write_text("Own\tB-PER\n")
    corpus = load_card(card, tmp_path / "own")
    assert corpus.parts["train"][0].words == ("Own",)
    assert corpus.source == str(tmp_path / "own")


def test_the_hub_by_layers_and_with_other_types(repository: Path, load_card: Callable[[Card], Corpus]) -> None:
    corpus = load_card(hub_card(repository, ("ner_tags", "inner"), rename={"LOC": "place"}))
    assert corpus.parts["test"][0].mentions == (Mention(0, 2, "PER"), Mention(1, 2, "place"))
    assert corpus.parts["test"][1].mentions == ()


def test_the_hub_by_config(repository: Path, load_card: Callable[[Card], Corpus]) -> None:
    files = "".join(f"  - split: {x}\n    path: mini/{x}/*\n" for x in ("train", "validation", "test"))
    (repository / "README.md").write_text(f"---\nconfigs:\n- config_name: small\n  data_files:\n{files}---\n")
    card = hub_card(repository)
    corpus = load_card(replace(card, hub=replace(card.hub, folder="", config="small")))
    assert len(corpus.parts["dev"]) == 2
    with pytest.raises(UserError, match="the Hugging Face hub did not give"):
        load_card(replace(card, hub=replace(card.hub, folder="", config="large")))


def test_numbers_without_names_need_the_cards(repository: Path, load_card: Callable[[Card], Corpus]) -> None:
    import pyarrow.parquet as pq

    for file in repository.rglob("*.parquet"):
        pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    with pytest.raises(UserError, match="tag"):
        load_card(hub_card(repository))
    names = ["O", "B-city", "I-city", "B-x"]
    assert load_card(hub_card(repository, tag_names=names)).card.types == ("city",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tags": ("nothing",)}, "no column 'nothing'"),
        ({"folder": "maxi"}, "the Hugging Face hub did not give"),
        ({"repo": "no-one/has-this", "folder": ""}, "the Hugging Face hub did not give no-one/has-this"),
    ],
)
def test_what_the_hub_does_not_give(
    repository: Path, load_card: Callable[[Card], Corpus], change: Mapping[str, object], said: str
) -> None:
    card = hub_card(repository)
    with pytest.raises(UserError) as caught:
        load_card(replace(card, hub=replace(card.hub, **change)))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_folder_of_its_name_does_not_stand_for_the_hubs_repository(
    repository: Path, load_card: Callable[[Card], Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.parents[1])
    card = hub_card(repository)
    with pytest.raises(UserError, match="there is a folder someone/set here"):
        load_card(replace(card, hub=replace(card.hub, repo="someone/set")))


@pytest.mark.slow
def test_offline_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries read HF_HUB_OFFLINE when they are imported."""
    code = "from cl_ner_bench.corpora.load import load_corpus; load_corpus('wnut17')"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: WNUT-17 emerging entities: the Hugging Face hub did not give leondz/wnut_17" in found.stderr
    assert "Download wnut17train.conll" in found.stderr
    assert "Then pass --data PATH." in found.stderr


@pytest.mark.slow
def test_a_hub_that_is_silent_is_asked_once(tmp_path: Path) -> None:
    """Nothing listens at the endpoint; the libraries read it when they are imported."""
    code = "from cl_ner_bench.corpora.load import load_corpus; load_corpus('wnut17')"
    silent = {"HF_ENDPOINT": "http://127.0.0.1:9", "CL_NER_BENCH_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | silent
    )
    said = found.stderr.split("UserError: ")[-1]
    assert "did not give leondz/wnut_17 (revision refs/convert/parquet): no connection? HF_HUB_OFFLINE=1" in said
    assert "Then pass --data PATH." in said
    assert "Retrying" not in found.stderr


def test_licensed_corpora_are_never_asked_for() -> None:
    for name in ("ontonotes", "i2b2-2014"):
        with pytest.raises(UserError, match="is not part of this package"):
            load_corpus(name)


# Several corpora as one


@pytest.fixture
def united(tmp_path: Path) -> Path:
    """A card that unites two folders; types of the second are renamed and dropped."""
    for name, n, type_ in (("news", 3, "PER"), ("web", 2, "person")):
        (tmp_path / name).mkdir()
        for part, size in (("train", n), ("dev", 1), ("test", n + 1)):
            rows = [f"{name}{i}\tB-{type_}\nBonn\tB-LOC\nx\tB-X\n" for i in range(size)]
            (tmp_path / name / f"{part}.txt").write_text("\n".join(rows))
    (tmp_path / "card.toml").write_text(
        'reader = "union"\n[reader_options.corpora]\n'
        'news = { dataset = "news" }\n'
        'more = { data = "web", rename = { person = "PER", X = "" }, types = ["PER", "LOC"] }\n'
    )
    return tmp_path / "card.toml"


def test_a_union_of_corpora(united: Path) -> None:
    corpus = load_corpus(str(united))
    assert corpus.card.types == ("LOC", "PER", "X")
    assert corpus.domains == {
        "news": {"train": range(0, 3), "dev": range(0, 1), "test": range(0, 4)},
        "more": {"train": range(3, 5), "dev": range(1, 2), "test": range(4, 7)},
    }
    assert [s.words[0] for s in corpus.parts["train"]] == ["news0", "news1", "news2", "web0", "web1"]
    assert [s.id for s in corpus.parts["train"]] == [0, 1, 2, 3, 4]
    assert [m.type for m in corpus.parts["train"][0].mentions] == ["PER", "LOC", "X"]
    assert [m.type for m in corpus.parts["train"][3].mentions] == ["PER", "LOC"]
    assert corpus.domain_ids("test", "more") == (4, 5, 6)
    assert corpus.source == f"news: {united.parent / 'news'}; more: {united.parent / 'web'}"
    sample = load_corpus(str(united), max_sentences=3, split_seed=4)
    both = [i for name in corpus.domains for i in sample.domain_ids("train", name)]
    assert both == list(sample.ids("train"))
    with pytest.raises(KeyError):
        corpus.domain_ids("train", "nowhere")
    rows = rows_of(*find_card(str(united)), Report())
    assert {part: [(r.words, r.mentions) for r in found] for part, found in rows.items()} == {
        part: [(s.words, s.mentions) for s in sentences] for part, sentences in corpus.parts.items()
    }


def test_a_folder_beside_the_card_does_not_stand_for_a_dataset_of_its_name(united: Path) -> None:
    (united.parent / "news").rename(united.parent / "synthetic")
    united.write_text('reader = "union"\n[reader_options.corpora]\nmade = { dataset = "synthetic" }\n')
    assert load_corpus(str(united)).source == "made: generated"
    united.write_text('reader = "union"\n[reader_options.corpora]\nmade = { dataset = "synthetic/" }\n')
    assert load_corpus(str(united)).source == f"made: {united.parent / 'synthetic'}"


def test_domains_count_in_the_fingerprint_of_a_union_alone(united: Path) -> None:
    corpus = load_corpus(str(united))
    apart = dataclasses.replace(corpus, domains={})
    assert corpus.fingerprint != apart.fingerprint
    moved = {name: dict(parts) for name, parts in corpus.domains.items()}
    moved["news"]["train"], moved["more"]["train"] = range(0, 2), range(2, 5)
    assert dataclasses.replace(corpus, domains=moved).fingerprint not in (corpus.fingerprint, apart.fingerprint)
    assert load_corpus(str(united.parent / "news")).domains == {}


def test_a_union_with_cards_keeps_their_types(tmp_path: Path, united: Path) -> None:
    (tmp_path / "news" / "own.toml").write_text('[tasks]\nPER = ["PER"]\n')
    united.write_text(
        'reader = "union"\n[reader_options.corpora]\nnews = { dataset = "news/own.toml" }\n'
        'made = { dataset = "synthetic", types = ["ORG"] }\n'
    )
    corpus = load_corpus(str(united))
    assert corpus.card.types == ("ORG", "PER")
    assert len(corpus.domains["made"]["train"]) == 1050


def test_counts_of_a_unions_corpora_are_compared(united: Path) -> None:
    (united.parent / "news" / "own.toml").write_text("[counts]\ntrain = { sentences = 9 }\n")
    united.write_text('reader = "union"\n[reader_options.corpora]\nnews = { dataset = "news/own.toml" }\n')
    assert load_corpus(str(united)).differences == (("news: train: 3 sentences, published are 9", False),)


def test_the_doctor_on_a_union(united: Path) -> None:
    (united.parent / "news" / "own.toml").write_text("[counts]\ntrain = { sentences = 9 }\n")
    united.write_text('reader = "union"\n[reader_options.corpora]\nnews = { dataset = "news/own.toml" }\nweb = {}\n')
    found = doctor.check(str(united))
    assert found.source == f"news: {united.parent / 'news'}; web: {united.parent / 'web'}"
    counts = [f.message for _, kind, kept, _ in found.findings.groups() if kind == "counts" for f in kept]
    assert len(counts) == 1
    assert counts[0].startswith(f"{united.parent / 'news'}: news: train: 3 sentences, published are 9.")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{ rename = { persn = "x" } }', "corpora.web.rename': web has no type 'persn'. Did you mean 'person'?"),
        ('{ types = ["persn"] }', "corpora.web.types': web has no type 'persn'. Did you mean 'person'?"),
        ('{ types = ["Q"] }', "corpora.web.types': web has no type 'Q'. It has LOC, X, person."),
        ('{ rename = { person = "PER" }, types = ["person"] }', "corpora.web.types': web has no type 'person'."),
    ],
)
def test_types_that_a_unions_corpus_lacks(united: Path, entry: str, said: str) -> None:
    united.write_text(f'reader = "union"\n[reader_options.corpora]\nweb = {entry}\n')
    for _ in range(2):  # also from the cache
        with pytest.raises(UserError) as caught:
            load_corpus(str(united))
        assert str(caught.value).startswith(f"{united}: key 'reader_options.{said}")
    refused = [finding.message for _, _, kept, _ in doctor.check(str(united)).findings.groups() for finding in kept]
    assert refused[0] == str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "expected a table of corpora"),
        ("corpora = 3", "corpora': expected a table, found 3"),
        ("[reader_options.corpora]\nnews = 3", "corpora.news': expected a table"),
        ("[reader_options.corpora]\nnews = { rename = 3 }", "corpora.news.rename': expected a table"),
        ("[reader_options.corpora]\nnews = { rename = { PER = 3 } }", "corpora.news.rename.PER': expected a new type"),
        ("[reader_options.corpora]\nnews = { types = [3] }", "corpora.news.types': expected a list of types"),
        ("[reader_options.corpora]\nnews = { folder = 'x' }", "unknown key 'reader_options.corpora.news.folder'"),
        ("[reader_options.corpora]\nnws = {}", "corpora.nws': "),
        ("[reader_options.corpora]\na = { dataset = 'synthetc' }", "corpora.a': "),
        ("[reader_options.corpora]\na = { dataset = 'synthetc' }", "Did you mean 'synthetic'"),
        ("[reader_options.corpora]\na = { dataset = 'card.toml' }", "a union of unions"),
    ],
)
def test_unions_that_are_none(united: Path, options: str, said: str) -> None:
    united.write_text(f'reader = "union"\n[reader_options]\n{options}\n')
    with pytest.raises(UserError) as caught:
        load_corpus(str(united))
    assert str(caught.value).startswith(f"{united}: ")
    assert said in str(caught.value)


# Cards of one's own


def test_ten_lines_are_enough(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a.train.csv", "a.dev.csv", "a.test.csv"):
        (tmp_path / "data" / name).write_text("% made up\n1,Anna,B-PER,O\n2,Bonn,I-PER,B-LOC\n")
    (tmp_path / "mine.toml").write_text("""title = "Mine"
[reader_options]
path = "data"
separator = ","
comment = "%"
word_column = 1
tag_columns = [2, 3]
[tasks]
all = ["PER", "LOC"]
""")
    corpus = load_corpus(str(tmp_path / "mine.toml"))
    assert corpus.parts["dev"][0].mentions == (Mention(0, 2, "PER"), Mention(1, 2, "LOC"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hub = 3", "key 'hub': expected a table"),
        ("[hub]\nrevision = 'x'", "key 'hub.repo'"),
        ("[hub]\nrepo = 'x'\nrevison = 'y'", "unknown key 'hub.revison'; known are repo, revision"),
        ("[hub]\nrepo = 'x'\ntags = 'y'", "key 'hub.tags': expected a list"),
        ("[counts]\ntrain = { sentence = 1 }", "unknown key 'counts.train.sentence'; known are sentences"),
        ("[counts]\ntrain = { types = { A = 'x' } }", "key 'counts.train.types.A'"),
        ("explained_counts = [3]", "key 'explained_counts[0]': expected a table, found 3"),
        ("explained_counts = [{ part = 'train' }]", "key 'explained_counts[0].key' is missing"),
        ("explained_counts = [{ part = 'tran' }]", "key 'explained_counts[0].part': expected one of train, dev, test"),
        ("explained_counts = 1", "key 'explained_counts'"),
        ("[scenarios]\nx = 1", "key 'scenarios.x'"),
    ],
)
def test_broken_cards_name_the_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_card(tmp_path / "card.toml")
    assert str(caught.value).startswith(str(tmp_path / "card.toml"))
    assert said in str(caught.value)


def test_reader_options_that_are_none(tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / f"{part}.txt").write_text("a\tB-X\n")
    (tmp_path / "card.toml").write_text('[reader_options]\nseperator = ","\n')
    with pytest.raises(UserError, match=r"card.toml: unknown key 'reader_options.seperator'.*Did you mean 'separator'"):
        load_corpus(str(tmp_path / "card.toml"))
    (tmp_path / "card.toml").write_text('reader = "conll2012"\n[reader_options]\nexlude = ["pt/"]\n')
    with pytest.raises(UserError, match=r"card.toml: unknown key 'reader_options.exlude'.*Did you mean 'exclude'"):
        load_corpus(str(tmp_path / "card.toml"))


def test_a_second_file_of_a_part_is_refused_although_the_corpus_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    for part in PARTS:
        (tmp_path / f"{part}.txt").write_text("a\tB-X\n")
    load_corpus(str(tmp_path))
    (tmp_path / "train2.txt").write_text("a\tB-X\n")
    assert load_corpus(str(tmp_path)).name == tmp_path.name  # train.txt is the exact name
    (tmp_path / "train.z").write_text("a\tB-X\n")
    with pytest.raises(UserError, match=r"several files could be the train part: train.txt, train.z"):
        load_corpus(str(tmp_path))


def test_a_list_of_documents_that_is_not_there(tmp_path: Path) -> None:
    write_conll2012(Card("x", "X", {"A": ("A",)}), tmp_path)
    (tmp_path / "card.toml").write_text('reader = "conll2012"\n[reader_options]\nids = { train = "no.ids" }\n')
    with pytest.raises(UserError, match=r"card.toml: key 'reader_options.ids'.*no.ids cannot be read"):
        load_corpus(str(tmp_path / "card.toml"))
