"""From a name to a corpus: cards, loading, tasks by hand, samples, and the facts that are shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cl_ner_bench.cli.overview import as_text
from cl_ner_bench.corpora import doctor
from cl_ner_bench.corpora.card import Card, HyperParameters, Recipe
from cl_ner_bench.corpora.cards import generic, list_cards, read_card, recipe, recipe_names
from cl_ner_bench.corpora.find import find_card
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.scenarios.protocol import read_scenario
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.scenarios.statistics import (
    MENTION_COLUMNS,
    corpus_notes,
    mention_rows,
    overview,
    without_task,
)
from cl_ner_bench.scenarios.task import Task, TaskSplit

ROWS = "Anna\tB-PER\nsings\tO\n\nBonn\tB-LOC\nand\tO\nAcme\tB-ORG\n\nNothing\tO\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus folder without a card: 20 train, 5 dev and 10 test sentences in repetitions of three."""
    folder = tmp_path / "mine"
    folder.mkdir()
    sentences = ROWS.strip().split("\n\n")
    for part, n in (("train", 20), ("dev", 5), ("test", 10)):
        (folder / f"{part}.txt").write_text("\n\n".join(sentences[i % 3] for i in range(n)) + "\n")
    return folder


# Cards


def test_the_cards_of_the_package() -> None:
    cards = list_cards()
    assert [len(cards[n].tasks) for n in ("synthetic", "fewnerd", "ontonotes", "ontonotes18")] == [3, 8, 6, 18]
    assert len(cards["fewnerd"].types) == len(set(cards["fewnerd"].types)) == 66
    assert all(list(types) == sorted(types) for types in cards["fewnerd"].tasks.values())
    assert list(cards["ontonotes18"].tasks) == sorted(cards["ontonotes18"].tasks)
    assert cards["synthetic"].undertrained_below == 85
    assert cards["fewnerd"].undertrained_below == 20


def test_the_published_orders() -> None:
    """SpanKL (arXiv 2302.12200), appendix, spelled out."""
    short = dict(zip(["ORG", "PER", "GPE", "DATE", "CARD", "NORP"], list_cards()["ontonotes"].tasks, strict=True))
    card = list_cards()["ontonotes"]
    written = """ORG PER GPE DATE CARD NORP / DATE NORP PER CARD ORG GPE / GPE CARD ORG NORP DATE PER
        / NORP ORG DATE PER GPE CARD / CARD GPE NORP ORG PER DATE / PER DATE CARD GPE NORP ORG"""
    expected = [[short[word] for word in row.split()] for row in written.split("/")]
    assert [[list(card.tasks)[k] for k in order] for order in card.orders] == expected
    card = list_cards()["fewnerd"]
    names = ["location", "person", "organization", "other", "product", "building", "art", "event"]
    short = dict(zip(["LOC", "PER", "ORG", "OTH", "PROD", "BUID", "ART", "EVET"], names, strict=True))
    written = """LOC PER ORG OTH PROD BUID ART EVET / ORG PROD ART EVET OTH PER LOC BUID
        / PROD EVET OTH PER ART LOC BUID ORG / BUID OTH PROD PER ORG LOC ART EVET"""
    expected = [[short[word] for word in row.split()] for row in written.split("/")]
    assert [[list(card.tasks)[k] for k in order] for order in card.orders] == expected


def test_packaged_document_lists() -> None:
    for name in ("ontonotes", "ontonotes18"):
        ids = list_cards()[name].reader_options["ids"]
        found = {part: Path(path).read_text().split() for part, path in ids.items()}
        kept = {part: sum(not i.startswith("pt/") for i in names) for part, names in found.items()}
        assert kept == {"train": 1710, "dev": 207}


@pytest.mark.slow
def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cl_ner_bench.corpora.load import load_corpus;"
        "from cl_ner_bench.scenarios.split import make_split; make_split(load_corpus('synthetic'));"
        "print(sorted({'torch', 'numpy', 'pandas', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_recipes_override_key_by_key() -> None:
    cards = list_cards()
    paper = recipe(cards["ontonotes"], "paper", "span")
    assert paper == {
        **{"epochs": 10, "batch_size": 32, "lr": 5e-5, "head_lr": 1e-3, "weight_decay": 0.01, "dropout": 0.1},
        **{"clip": 1.0, "warmup_updates": 200, "warmup_share": 0.1, "max_length": 512, "max_span_width": 0, "pool": 1},
    }
    assert recipe(cards["fewnerd"], "paper", "token") == paper | {"epochs": 5, "batch_size": 24, "clip": 5.0}
    own = Card(
        "x", "X", recipes={"paper": Recipe(lr=1.0, clip=2.0, span=HyperParameters(clip=3.0)), "mine": Recipe(epochs=1)}
    )
    assert recipe(own, "paper", "span") == paper | {"lr": 1.0, "clip": 3.0}
    assert recipe(own, "paper", "token") == paper | {"lr": 1.0, "clip": 2.0}
    assert recipe(own, "mine", "token") == {"epochs": 1, "max_span_width": 0, "pool": 1}
    assert set(recipe_names(own)) == {*generic().recipes, "mine"}
    assert not {"span", "token"} & set(recipe(own, "minilm", "span"))
    with pytest.raises(UserError, match=r"no recipe 'papr' for x.*Did you mean 'paper'"):
        recipe(own, "papr", "span")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks = ", "not TOML"),
        ("lisence = 'x'", "unknown key 'lisence'; known are name, title, "),
        ("lisence = 'x'", "Did you mean 'licence'"),
        ("schema = 2", "key 'schema': expected 1"),
        ("title = 3", "key 'title': expected a text"),
        ("undertrained_below = 'low'", "key 'undertrained_below': expected a number"),
        ("undertrained_below = nan", "key 'undertrained_below': expected a number of at least 0, found nan"),
        ("counts = " + "[" * 5000, "not TOML"),
        ("schema = " + "9" * 5000, "not TOML"),
        ("schema = 0x" + "f" * 5000, "expected 1, found a number of more than 4,300 digits"),
        ("schema = true", "key 'schema': expected 1, found True"),
        ("name = ''", "key 'name': expected a text that is not empty"),
        ("x" * 5000 + " = 1", "unknown key 'xxxxx"),
        ("title = [['" + "x" * 5000 + "']]", "key 'title': expected a text that is not empty, found [['xxx"),
        ("tasks = ['A']", "key 'tasks': expected a table"),
        ("[tasks]\na = 'A'", "key 'tasks.a': expected a list of types"),
        ("[tasks]\na = []", "key 'tasks.a': expected a list of types"),
        ("[tasks]\na = ['A']\nb = ['A']", "key 'tasks': expected each type in one task only"),
        ("orders = [[0, 0]]\n[tasks]\na = ['A']\nb = ['B']", "key 'orders': expected permutations of the 2 tasks"),
        ("orders = [[1, 2]]\n[tasks]\na = ['A']\nb = ['B']", "key 'orders'"),
        ("orders = [[0, 'x']]", "key 'orders': expected a list of orders like"),
        ("orders = [[true, false]]\n[tasks]\na = ['A']\nb = ['B']", "key 'orders': expected a list of orders like"),
        ("[counts]\neval = {sentences = 1}", "unknown key 'counts.eval'; known are train, dev, test"),
        ("[counts]\ntrain = {sentences = 'many'}", "key 'counts.train.sentences': expected a whole number"),
        ("counts = {train = {sentences = -1}}", "key 'counts.train.sentences'"),
        ("[recipes]\npaper = 3", "key 'recipes.paper'"),
        ("[recipes]\npaper = {span = 3}", "key 'recipes.paper.span': expected a table"),
        ("[recipes.a]\nepochs = 'a'", "key 'recipes.a.epochs': expected a whole number of at least 1, found 'a'"),
        ("[recipes.a]\nepoch = 1", "unknown key 'recipes.a.epoch'"),
        ("[recipes.a]\nepoch = 1", "Did you mean 'epochs'?"),
        ("[recipes.a]\nlr = -7", "key 'recipes.a.lr': expected a number of at least 0, found -7"),
        ("[recipes.a]\nbatch_size = 0", "key 'recipes.a.batch_size': expected a whole number of at least 1"),
        ("[recipes.a]\nwarmup_updates = 0.5", "key 'recipes.a.warmup_updates': expected a whole number"),
        ("[recipes.a]\nclip = -1", "key 'recipes.a.clip': expected a number of at least 0"),
        ('[recipes.a]\nhead = "round"', "key 'recipes.a.head': expected one of linear, cosine"),
        ("[recipes.a.scenarios.split]\nepoch = 3", "unknown key 'recipes.a.scenarios.split.epoch'"),
        ("[recipes.a.token]\ndropout = 1.5", "key 'recipes.a.token.dropout': expected a number from 0 to 1"),
        ("[recipes.a.span]\nmax_length = true", "key 'recipes.a.span.max_length': expected a whole number"),
        ("[recipes.a.span]\nspan = {}", "unknown key 'recipes.a.span.span'"),
    ],
)
def test_broken_cards_name_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "card.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_card(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert len(str(caught.value).removeprefix(str(path))) < 400


# Loading


def test_a_folder_without_a_card(folder: Path) -> None:
    corpus = load_corpus(str(folder))
    assert corpus.name == "mine"
    assert dict(corpus.card.tasks) == {"LOC": ("LOC",), "ORG": ("ORG",), "PER": ("PER",)}
    assert [len(corpus.parts[part]) for part in PARTS] == [20, 5, 10]
    assert all(s.id == i for part in PARTS for i, s in enumerate(corpus.parts[part]))
    assert corpus.remarks == ()


def test_a_card_of_ones_own(folder: Path) -> None:
    text = 'title = "Mine"\n[tasks]\nnames = ["PER", "ORG"]\n[counts]\ntrain = { sentences = 21, mentions = 14 }\n'
    (folder / "card.toml").write_text(text)
    corpus = load_corpus(str(folder / "card.toml"))
    assert corpus.name == "card"
    assert {m.type for s in corpus.parts["train"] for m in s.mentions} == {"PER", "ORG"}
    assert corpus.differences == (("train: 20 sentences, published are 21", False),)
    elsewhere = folder.parent / "other.toml"
    elsewhere.write_text(text + '[reader_options]\npath = "mine"\n')
    assert load_corpus(str(elsewhere)).parts == corpus.parts
    assert load_corpus(str(elsewhere), folder).fingerprint == corpus.fingerprint


def test_published_counts_are_compared_under_tasks_by_hand_too(folder: Path) -> None:
    counts = "[counts]\ntrain = { sentences = 20, mentions = 15, types = { PER = 7, ORG = 7 } }\n"
    (folder / "card.toml").write_text(f'[tasks]\nnames = ["PER", "ORG"]\n{counts}')
    whole, part = (load_corpus(str(folder / "card.toml"), tasks=tasks) for tasks in (None, "PER"))
    assert part.differences == whole.differences
    assert [d.text for d in part.differences] == [
        "train: 14 mentions, published are 15",
    ]


def test_the_name_of_a_known_dataset_makes_no_published_corpus(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder nor a card of that name; and a folder of that name here is not taken for the dataset."""
    named = folder.rename(tmp_path / "wnut17")
    card = named / "card.toml"
    card.write_text('name = "wnut17"\n[tasks]\nPER = ["PER"]\n')
    for dataset, of in ((str(named), "it has no card"), (str(card), f"its card is {card}")):
        corpus = load_corpus(dataset)
        said = f"only the name is that of the dataset wnut17: {of}, so that published counts were not compared"
        assert (corpus.name, corpus.differences) == ("wnut17", ((said, False),))
    monkeypatch.chdir(tmp_path)
    assert find_card("wnut17", named) == (list_cards()["wnut17"], named)


def test_mentions_of_types_without_a_task_are_counted(folder: Path) -> None:
    """Of 20 train sentences in turns of three: 7 PER, 7 LOC and ORG in one, 6 without."""
    corpus = load_corpus(str(folder), tasks="PER")
    missing = {"LOC": {"train": 7, "dev": 2, "test": 3}, "ORG": {"train": 7, "dev": 2, "test": 3}}
    assert corpus.dropped == missing
    assert corpus.n_mentions == {"train": 21, "dev": 6, "test": 10}
    split = make_split(corpus)
    assert without_task(corpus, split) == missing
    said = (
        "types in no task (train / dev / test mentions, which count as O): LOC 7 / 2 / 3, ORG 7 / 2 / 3; "
        "14 of 21 train, 4 of 6 dev, 6 of 10 test"
    )
    assert corpus_notes(corpus, split) == [said]
    assert said in " ".join(as_text(overview(corpus, split)).split())
    assert load_corpus(str(folder)).dropped == {}


def test_orders_that_are_one_permutation_are_named(folder: Path) -> None:
    corpus = load_corpus(str(folder), tasks="PER;LOC,ORG")
    split = make_split(corpus)
    other = replace(split, order=1, tasks=split.tasks[::-1])
    assert corpus_notes(corpus, split, other) == []
    (note,) = corpus_notes(corpus, split, other, replace(split, order=3))
    assert note == "orders 0 and 3 are the same permutation of the tasks: together they are one order, not 2"


def test_types_that_a_scenario_leaves_out_are_counted_like_those_of_tasks_by_hand(folder: Path) -> None:
    (folder / "some.toml").write_text("[[tasks]]\ntypes = ['PER']\n")
    corpus = load_corpus(str(folder), tasks="PER;LOC")
    split = make_split(corpus, read_scenario(folder / "some.toml", corpus.card))
    assert without_task(corpus, split) == load_corpus(str(folder), tasks="PER").dropped


def test_of_a_sample_its_own_mentions_are_counted(folder: Path) -> None:
    corpus = load_corpus(str(folder), tasks="PER", max_sentences=6)
    everything = load_corpus(str(folder), max_sentences=6).type_counts
    assert corpus.dropped == {t: {part: everything[part][t] for part in PARTS} for t in ("LOC", "ORG")}
    assert sum(n["train"] for n in corpus.dropped.values()) < 14
    assert corpus.n_mentions == {part: counts.total() for part, counts in everything.items()}


def test_test_sentences_that_are_also_in_train_are_counted_from_five_words_on() -> None:
    texts = {"train": ("a b c d e", "a b"), "dev": ("a b c d e",), "test": ("a b c d e", "a b", "b a c d e")}
    parts = {part: tuple(Sentence(i, tuple(text.split())) for i, text in enumerate(of)) for part, of in texts.items()}
    assert Corpus(Card("c", "C"), parts, "here").test_copies == 1


def test_a_types_misspelling_in_a_card_is_refused(folder: Path) -> None:
    (folder / "card.toml").write_text('[tasks]\nnames = ["PERR", "ORG"]\n')
    with pytest.raises(UserError, match=r"no mention of 'PERR', .* Did you mean 'PER'\?"):
        load_corpus(str(folder / "card.toml"))


def test_a_missing_type_is_no_misspelling_of_one_that_the_card_names(folder: Path) -> None:
    (folder / "card.toml").write_text('[tasks]\nnames = ["PERR", "PER", "ORG"]\n')
    assert load_corpus(str(folder / "card.toml")).remarks == ("types that never occur in train: PERR.",)


def test_every_hyper_parameter_of_the_generic_recipe_is_checked(tmp_path: Path) -> None:
    for key in generic().recipes["paper"].given():
        (tmp_path / "card.toml").write_text(f"[recipes.a]\n{key} = 'x'\n")
        with pytest.raises(UserError, match=f"key 'recipes.a.{key}': expected a .*number"):
            read_card(tmp_path / "card.toml")


def test_a_card_without_a_type_in_train_is_refused(folder: Path) -> None:
    (folder / "card.toml").write_text('[tasks]\na = ["PERR"]\nb = ["X"]\n')
    said = "train has no mention of PERR, X; types of the corpus are LOC, ORG, PER. Is --data the right corpus?"
    for dataset, data in ((str(folder / "card.toml"), None), (str(folder / "card.toml"), folder)):
        with pytest.raises(UserError, match=r"Did you mean 'PER'\?") as caught:
            load_corpus(dataset, data)
        assert str(caught.value).startswith(f"{folder}: {said}")
    found = doctor.check(str(folder / "card.toml")).findings.groups()
    assert [(f.kind, f.message.startswith(f"{folder}: {said}")) for f in found[0][2]] == [("no mentions", True)]
    with pytest.raises(UserError, match=r"train has no mention of corporation, .*Is --data the right corpus"):
        load_corpus("wnut17", folder)


def test_renames_that_match_nothing_are_remarked(folder: Path) -> None:
    (folder / "card.toml").write_text('[reader_options]\nrename = { PERS = "x", ORG = "LOC" }\n')
    said = "'rename' names types that never occur: PERS. Did you mean 'PER'?"
    assert load_corpus(str(folder / "card.toml")).remarks == (said,)
    assert load_corpus(str(folder / "card.toml")).remarks == (said,)  # from the cache
    assert said in doctor.check(str(folder / "card.toml")).findings.remarks


def test_tasks_by_hand(folder: Path) -> None:
    corpus = load_corpus(str(folder), tasks="PER; LOC,ORG ;")
    assert dict(corpus.card.tasks) == {"PER": ("PER",), "LOC+ORG": ("LOC", "ORG")}
    assert [t.name for t in make_split(corpus).tasks] == ["PER", "LOC+ORG"]
    fewer = load_corpus(str(folder), tasks="ORG")
    assert {m.type for s in fewer.parts["test"] for m in s.mentions} == {"ORG"}
    assert len(fewer.parts["test"]) == 10
    named = load_corpus("synthetic", tasks="numbers;GPE,NORP;ORG")
    assert list(named.card.tasks) == ["numbers", "places", "ORG"]
    assert named.card.orders == ()


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("PERS;ORG", r"--tasks: unknown type 'PERS'; known are LOC, ORG, PER. Did you mean 'PER'\?"),
        ("PER;ORG,PER", "'PER' is named twice"),
        (" ; ,", "no types given"),
    ],
)
def test_tasks_that_do_not_fit(folder: Path, tasks: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_corpus(str(folder), tasks=tasks)


def test_sampling(folder: Path) -> None:
    whole = load_corpus(str(folder))
    sample = load_corpus(str(folder), max_sentences=8, split_seed=2)
    assert sample.sample is not None
    assert [len(sample.ids(part)) for part in PARTS] == [8, 2, 4]
    assert sample.parts == whole.parts
    assert sample.fingerprint != whole.fingerprint
    assert sample.fingerprint != load_corpus(str(folder), max_sentences=8, split_seed=3).fingerprint
    assert sample.fingerprint == load_corpus(str(folder), max_sentences=8, split_seed=2).fingerprint
    assert [s.id for s in sample.used("dev")] == list(sample.ids("dev"))
    assert load_corpus(str(folder), max_sentences=20).fingerprint == whole.fingerprint
    assert [len(load_corpus(str(folder), max_sentences=1).ids(part)) for part in PARTS] == [1, 1, 1]
    with pytest.raises(UserError, match="--max-sentences"):
        load_corpus(str(folder), max_sentences=0)


def test_fingerprints_depend_on_words_and_labels(folder: Path) -> None:
    before = load_corpus(str(folder)).fingerprint
    text = (folder / "dev.txt").read_text()
    (folder / "dev.txt").write_text(text.replace("sings", "sang", 1))
    words = load_corpus(str(folder)).fingerprint
    (folder / "dev.txt").write_text(text.replace("B-LOC", "B-PER", 1))
    assert len({before, words, load_corpus(str(folder)).fingerprint}) == 3


def test_what_is_not_there(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"'fewnrd' is no dataset, card or folder.*Did you mean 'fewnerd'"):
        load_corpus("fewnrd")
    with pytest.raises(UserError, match=r"LDC2013T19.*Then pass --data PATH"):
        load_corpus("ontonotes")
    with pytest.raises(UserError, match=r"nowhere is no folder.*ningding97"):
        load_corpus("fewnerd", tmp_path / "nowhere")
    with pytest.raises(UserError, match="the card cannot be read"):
        load_corpus("no.toml")
    with pytest.raises(UserError, match=r"train.txt: one file, without train, dev and test parts"):
        load_corpus(str(folder / "train.txt"))
    with pytest.raises(UserError, match=r"train.txt is a file. Give its folder\."):
        load_corpus("ontonotes", folder / "train.txt")
    with pytest.raises(UserError, match=r"'no/where': no such file, folder or card\.$"):
        load_corpus("no/where")
    (tmp_path / "above" / "below").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no train file, only the folders below\..* subfolder = 'below'"):
        load_corpus(str(tmp_path / "above"))
    for i in range(11):
        (tmp_path / "above" / f"{i:02}.txt").write_text("a O\n")
    with pytest.raises(
        UserError, match=r"the files 00.txt, .*, 07.txt, and 3 more, but none for train, dev and test\."
    ):
        load_corpus(str(tmp_path / "above"))
    with pytest.raises(UserError, match=r"0 files match documents = 'tsv/\*.tsv'.*folder that holds 'tsv'"):
        load_corpus("litbank", tmp_path / "above")
    (folder / "card.toml").write_text('reader = "conl2012"')
    with pytest.raises(UserError, match=r"card.toml: key 'reader': .*found 'conl2012'. Did you mean 'conll2012'"):
        load_corpus(str(folder / "card.toml"))
    (folder / "card.toml").write_text('reader = "synthetic"\n[reader_options]\nseeds = 3')
    with pytest.raises(UserError, match=r"card.toml: unknown key 'reader_options.seeds'.*Did you mean 'seed'"):
        load_corpus(str(folder / "card.toml"))
    (folder / "dev.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"dev.txt: no sentences"):
        load_corpus(str(folder))
    for part in PARTS:
        (folder / f"{part}.txt").write_text("a\tO\n")
    with pytest.raises(UserError, match="no mention of any type"):
        load_corpus(str(folder))


def test_a_mini_ontonotes_by_card(tmp_path: Path) -> None:
    ids = [("train", "bc/cctv/00/cctv_0001"), ("development", "bc/cctv/00/cctv_0000"), ("test", "bc/x/00/x_0000")]
    for part, name in [*ids, ("train", "wb/no/00/no_0000"), ("test", "pt/nt/40/nt_4000")]:
        path = tmp_path / f"{part}/data/english/annotations/{name}.v4_gold_conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [("Ann", "(PERSON)"), ("paid", "*"), ("$", "(MONEY*"), ("5", "*)")]
        body = [f"{name} 0 {i} {w} NN * - - - S {cell} -" for i, (w, cell) in enumerate(rows)]
        path.write_text("\n".join([f"#begin document ({name}); part 000", *body, "", "#end document", ""]))
    corpus = load_corpus("ontonotes", tmp_path)
    expected = (Sentence(0, ("Ann", "paid", "$", "5"), (Mention(0, 1, "PERSON"),)),)
    assert corpus.parts == {"train": expected, "dev": expected, "test": expected}
    assert any(r.startswith("3 of 5 files were read") for r in corpus.remarks)
    assert ("train: 1 sentences, published are 59,924", False) in corpus.differences
    assert "train: 1709 documents of the card's list are not there" in corpus.remarks
    all_types = load_corpus("ontonotes18", tmp_path)
    assert [m.type for m in all_types.parts["test"][0].mentions] == ["PERSON", "MONEY"]


def test_few_nerds_official_folder(tmp_path: Path) -> None:
    (tmp_path / "supervised").mkdir()
    for part in PARTS:
        (tmp_path / "supervised" / f"{part}.txt").write_text("Oslo\tlocation-GPE\nNow\tlocation-GPE\n.\tO\n\n")
    for data in (tmp_path, tmp_path / "supervised"):
        assert load_corpus("fewnerd", data).parts["test"][0].mentions == (Mention(0, 2, "location-GPE"),)


@pytest.mark.slow
def test_few_nerd_counts(real_data: Path) -> None:
    corpus = load_corpus("fewnerd", real_data / "fewnerd")
    counts = {p: (len(corpus.parts[p]), sum(len(s.mentions) for s in corpus.parts[p])) for p in PARTS}
    assert counts == {"train": (11_398, 34_247), "dev": (1_583, 4_599), "test": (3_219, 9_479)}
    assert {m.type for s in corpus.parts["train"] for m in s.mentions} == set(corpus.card.types)
    assert corpus.differences[0] == ("train: 11,398 sentences, published are 131,767", False)
    short = load_corpus("fewnerd", real_data / "fewnerd", max_sentences=1000)
    assert [len(short.ids(p)) for p in PARTS] == [1000, 139, 282]


# Facts


@pytest.fixture
def learned(make_corpus: Callable[..., Corpus]) -> tuple[Corpus, TaskSplit]:
    corpus = make_corpus(["A B", "A", "B", "B A", ""], {"a": ("A",), "b": ("B",)})
    tasks = (Task("b", ("B",), (0, 2), (0,)), Task("a", ("A",), (1, 3), (1,)))
    return corpus, TaskSplit("toy", corpus.fingerprint, "split", 1, tasks, (0, 1, 4))


def test_overview_counts(learned: tuple[Corpus, TaskSplit]) -> None:
    facts = overview(*learned)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["parts"]["train"] == {
        **{"sentences": 5, "words": 7, "mentions": 6, "nested": 0, "without_mentions": 1, "longest": 2},
    }
    assert facts["types"]["A"] == {"task": "a", "train": 3, "dev": 3, "test": 3}
    assert [(s["labelled"], s["hidden"]) for s in facts["steps"]] == [({"B": 2}, {"A": 1}), ({"A": 2}, {"B": 1})]
    assert facts["co_occurrence"] == {
        **{"two_types": 0.4, "two_tasks": 0.4, "tasks": ["b", "a"], "matrix": [[3, 2], [2, 3]]},
    }
    text = as_text(facts)
    assert "labelled" in text
    assert all(len(line) == len(line.rstrip()) for line in text.splitlines())


def test_overview_of_every_kind_of_corpus(folder: Path) -> None:
    for dataset in ("synthetic", str(folder)):
        corpus = load_corpus(dataset, max_sentences=18)
        facts = overview(corpus, make_split(corpus))
        assert facts["parts"]["train"]["sentences"] == 18
        assert facts["title"] in as_text(facts)


def test_mention_rows(learned: tuple[Corpus, TaskSplit]) -> None:
    corpus, split = learned
    rows = list(mention_rows(corpus, split))
    assert all(tuple(row) == MENTION_COLUMNS for row in rows)
    # Sentence 0 'w0.0/A w0.1/B' is in task b's train part: its B is labelled there, its A is hidden.
    found = [tuple(row.values())[2:] for row in rows]
    assert found == [
        (0, 0, 1, "A", 0, 2, 0, pytest.approx(1 / 3)),
        (0, 1, 2, "B", 1, 2, 1, pytest.approx(1 / 3)),
        (1, 0, 1, "A", 1, 2, 1, pytest.approx(1 / 3)),
    ]
    assert {row["split"] for row in rows} == {split.hash}
