"""Other names of types: a folder whose types have long names loads under a card with short ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_ner_bench.corpora.aliases import are_one, other_names, read_as
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.doctor import check
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.readers.options import ReaderOptions, rename
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.deployment.new_data import read_new_data
from cl_ner_bench.errors import UserError
from cl_ner_bench.untrusted import read_toml

SHORT = Card("c", "c", tasks={"names": ("PER", "ORG"), "places": ("LOC",)})


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))


def write(folder: Path, types: tuple[str, ...]) -> Path:
    folder.mkdir()
    for part in PARTS:
        rows = [f"{part}{types.index(type_)}{i}\tB-{type_}\n.\tO\n" for type_ in types for i in range(10)]
        (folder / f"{part}.txt").write_text("\n".join(rows))
    (folder / "card.toml").write_text('[tasks]\nnames = ["PER", "ORG"]\nplaces = ["LOC"]\n')
    return folder / "card.toml"


@pytest.mark.parametrize(
    ("present", "names"),
    [
        (["location", "organisation", "person"], {"location": "LOC", "organisation": "ORG", "person": "PER"}),
        (["Organization", "PER"], {"Organization": "ORG"}),
        (["per", "LOC"], {"per": "PER"}),
        (["PER", "LOC", "ORG"], {}),
        (["PER", "person", "LOC"], {}),  # which of the two is PER?
        (["person", "Pers"], {}),
        (["location", "date"], {}),  # the card knows no date
        ([], {}),
    ],
)
def test_types_are_read_under_other_names_where_nothing_is_in_doubt(present: list[str], names: dict[str, str]) -> None:
    assert read_as(SHORT, present) == names
    assert read_as(Card("c", "c"), present) == {}


def test_a_name_that_may_be_two_types_of_the_card_is_left_alone() -> None:
    card = Card("c", "c", tasks={"a": ("LOC", "loc-")})
    assert read_as(card, ["location"]) == {}
    assert other_names(SHORT, ["location", "date"]) == {"location": "LOC"}


def test_a_card_adds_names_of_its_own(tmp_path: Path) -> None:
    card = write(tmp_path / "a", ("person", "venue"))
    card.write_text(card.read_text() + '[aliases]\nPLACE = ["venue"]\n')
    with pytest.raises(UserError, match=r"aliases': expected types of the tasks \(PER, ORG, LOC\), found 'PLACE'"):
        load_corpus(str(card))
    card.write_text(card.read_text().replace("PLACE", "LOC"))
    corpus = load_corpus(str(card))
    assert corpus.type_counts["dev"] == {"PER": 10, "LOC": 10}
    assert are_one("Creative_Work", "CW", list_cards()["wnut17"])
    assert not are_one("Creative_Work", "CW", SHORT)


def test_a_folder_loads_and_says_so(tmp_path: Path) -> None:
    card = write(tmp_path / "long", ("person", "location", "organisation"))
    corpus = load_corpus(str(card))
    said = "and read as these: location as LOC, organisation as ORG, person as PER"
    assert corpus.remarks[-1].endswith(said)
    plain = load_corpus(str(write(tmp_path / "short", ("PER", "LOC", "ORG"))))
    assert not plain.remarks
    assert corpus.fingerprint == plain.fingerprint
    found = check(str(card))
    assert found.findings.remarks[-1].endswith(said)
    assert found.parts["test"].types == plain.type_counts["test"]
    assert found.healthy


def test_a_model_is_not_taught_another_name_of_what_it_knows(tmp_path: Path) -> None:
    write(tmp_path / "a", ("person", "date"))
    with pytest.raises(
        UserError, match=r'labels person, and the model knows PER: .*rename = \{ "person" = "PER" \} in'
    ):
        read_new_data(str(tmp_path / "a"), ["PER", "LOC"], None)
    assert read_new_data(str(tmp_path / "a"), ["PER", "LOC"], ["person", "date"]).types == ("person", "date")


def test_where_other_types_stand_beside_them_the_message_says_what_a_card_may_say(tmp_path: Path) -> None:
    card = write(tmp_path / "a", ("person", "location", "date"))
    with pytest.raises(UserError) as caught:
        load_corpus(str(card))
    line = '[reader_options] rename = { "location" = "LOC", "person" = "PER" }'
    said = (
        f"types of the corpus are date, location, person. Is --data the right corpus? A card may rename them: {line}."
    )
    assert said in str(caught.value)
    own = tmp_path / "own.toml"
    own.write_text(line.replace("] ", "]\n"))
    options = ReaderOptions.of(read_toml(own, "")["reader_options"], "")
    assert options.rename == {"location": "LOC", "person": "PER"}
    assert rename({"a": "b"}) == '[reader_options] rename = { "a" = "b" }'


def test_a_corpus_of_a_union_is_read_under_the_names_of_its_own_card(tmp_path: Path) -> None:
    write(tmp_path / "long", ("person", "location"))
    union = tmp_path / "union.toml"
    union.write_text('reader = "union"\n[reader_options.corpora]\nlong = { dataset = "long/card.toml" }\n')
    corpus = load_corpus(str(union))
    assert corpus.type_counts["test"] == {"PER": 10, "LOC": 10}
    assert any("long: types of the corpus are other names" in remark for remark in corpus.remarks)
