"""Runs on another corpus, encoder or precision than the published one say so, and nothing published is compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.comparison.agreement import judge
from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.comparison.notes import BF16, notes_of
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.literature.settings import ENCODERS, presets, settings
from cl_ner_bench.analysis.report.files import report_files
from cl_ner_bench.analysis.tables.latex import to_latex
from cl_ner_bench.analysis.tables.published import published_tables
from cl_ner_bench.analysis.tables.scores import main_table
from cl_ner_bench.analysis.tables.text import to_csv, to_markdown
from cl_ner_bench.cli.results import table_text
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.testing.results import published_encoder, write_matrix, write_run

NAME, BERT = "spankl-ontonotes-split", "bert-large-cased"
COUNTS = "train: 11,398 sentences, published are 131,767"
OTHER_CORPUS = {
    "differences": [COUNTS],
    "accepted": [],
    "n_mentions": dict.fromkeys(PARTS, 99),
    "without_task": {"MISC": {"dev": 1, "test": 2, "train": 5}},
}


def spankl(folder: Path, **changes: Any) -> Path:
    """Runs of all orders with SpanKL's published scores."""
    card = list_cards()["ontonotes"]
    for row in settings()[NAME].rows:
        order = row.order or 0
        names = [list(card.tasks)[i] for i in card.orders[order]]
        write_matrix(folder, row.tasks, names, **({"dataset": "ontonotes", "encoder": BERT, "order": order} | changes))
    return folder


def encoder(**changes: Any) -> dict[str, Any]:
    """SpanKL's encoder with something else about it."""
    return published_encoder(BERT) | changes


def cell_text(text: str) -> str:
    """A text without what formats add: line breaks, and marks around commas."""
    return " ".join(re.sub(r"[{}\\]", "", text).split())


def in_print(said: str) -> str:
    """The part of a note that a printed table has, which names the file with the rest."""
    return said.split(":")[0]


def settings_with(**changes: Any) -> dict[str, Any]:
    return {"recipe": "paper", "max_sentences": None, "split_seed": 1} | changes


UNLIKE = {
    "another corpus": ({"corpus": OTHER_CORPUS}, f"the corpus is not the published one: {COUNTS}"),
    "from a folder": (
        {
            "encoder_identity": {
                k: v for k, v in encoder(source="folder").items() if k not in ("repository", "revision")
            }
        },
        "the encoder is not bert-large-cased: from a folder, not the hub",
    ),
    "another owner": (
        {"encoder_identity": encoder(repository="someone/bert-large-cased")},
        "the encoder is not bert-large-cased: someone/bert-large-cased, not google-bert/bert-large-cased",
    ),
    "another shape": (
        {"encoder_identity": encoder(layers=2, width=32, heads=None)},
        "the encoder is not bert-large-cased: 2 layers, not 24, 32 wide, not 1,024, unknown heads, not 16",
    ),
    "the lowest layers": (
        {"settings": settings_with(encoder_layers=3), "encoder_identity": encoder(layers=3)},
        "the encoder is not bert-large-cased: the lowest 3 of its 24 layers alone",
    ),
    "another vocabulary": (
        {"encoder_identity": encoder(vocabulary=30522, cased=False)},
        "the encoder is not bert-large-cased: 30,522 sub-tokens, not 28,996, uncased",
    ),
    "bf16": ({"settings": settings_with(precision="bf16")}, BF16),
}


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "said"), UNLIKE.values(), ids=UNLIKE)
def test_what_is_not_as_published_is_said_everywhere_and_compared_with_nothing(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    results = load_results(spankl(tmp_path, **changes))
    (c,) = comparisons(results)
    assert said in notes_of(c)
    main = main_table(c, "all")
    for text in (to_markdown(main), table_text(main), to_csv(main)):
        assert cell_text(said) in cell_text(text)
    assert cell_text(in_print(said)) in cell_text(to_latex(main))
    (table,) = published_tables(results)
    beside = [title for title, _ in table.sections if "SpanKL paper" in title]
    assert beside
    for title in beside:
        assert "NOT COMPARABLE (" in title
        assert said in title
    assert not table.frame[table.frame["source"] != "these results"]["comparable"].any()
    assert {j.verdict for j in judge(settings()[NAME], results)} == {"cannot be judged"}


@pytest.mark.slow
def test_every_table_every_figure_and_the_page_carry_the_notes(tmp_path: Path, no_images: None) -> None:
    changes = {
        key: value for name in ("another corpus", "from a folder", "bf16") for key, value in UNLIKE[name][0].items()
    }
    results = load_results(spankl(tmp_path, **changes))
    files = report_files(results, formats=["png"])
    told = [name for name in files if re.fullmatch(r"(tables|figures)/.*\.(csv|md|tex)|report\.html", name)]
    texts = {name: cell_text(files[name].decode()) for name in told}
    assert {name.split("/")[0] for name in texts} == {"tables", "figures", "report.html"}
    for name in ("another corpus", "from a folder", "bf16"):
        said = cell_text(UNLIKE[name][1])
        assert [file for file, text in texts.items() if said not in text and not file.endswith(".tex")] == []
        printed = [text for file, text in texts.items() if file.endswith(".tex")]
        assert printed
        assert not [text for text in printed if in_print(said) not in text or "In full: " not in text]
    assert "(train, dev, test)</dt><dd>MISC 5, 1, 2</dd>" in texts["report.html"]
    assert "<dd>folder: 24 layers, 1,024 wide, 16 heads, 28,996 sub-tokens, cased</dd>" in texts["report.html"]


def test_runs_as_published_stand_beside_published_numbers(tmp_path: Path) -> None:
    results = load_results(spankl(tmp_path))
    assert not [note for note in notes_of(comparisons(results)[0]) if "encoder" in note or "corpus" in note]
    assert "agrees" in {j.verdict for j in judge(settings()[NAME], results)}


def test_records_that_do_not_tell_are_read_and_not_compared(tmp_path: Path) -> None:
    """Those of earlier versions say nothing of counts and shapes."""
    for file in spankl(tmp_path).glob("runs/*/run.json"):
        run = json.loads(file.read_text())
        del run["corpus"], run["encoder_identity"]
        file.write_text(json.dumps(run))
    results = load_results(tmp_path)
    assert len(results.finished) == 6
    assert {j.why for j in judge(settings()[NAME], results)} == {
        "another protocol: whether the encoder is google-bert/bert-large-cased is not stored; "
        "whether the corpus is the published one is not stored"
    }


def test_another_encoder_than_the_published_one_is_noted(tmp_path: Path) -> None:
    (c,) = comparisons(load_results(spankl(tmp_path, encoder="roberta-base")))
    assert "not the encoder of published numbers (bert-large-cased)" in notes_of(c)


def test_two_encoders_of_one_name_share_no_table(tmp_path: Path) -> None:
    for method, print_ in (("spankl", "e0"), ("extendner", "e1")):
        write_run(tmp_path, method, encoder="mine", fingerprints={"data": "d0", "split": "s0", "encoder": print_})
    assert [len(c.rows) for c in comparisons(load_results(tmp_path))] == [1, 1]


def test_bf16_of_some_methods_names_them(tmp_path: Path) -> None:
    write_run(tmp_path, "spankl", settings=settings_with(precision="bf16"))
    write_run(tmp_path, "extendner", settings=settings_with(precision="fp32"))
    (c,) = comparisons(load_results(tmp_path))
    assert f"{BF16}: SpanKL" in notes_of(c)


def test_an_accepted_difference_is_noted_and_compared(tmp_path: Path) -> None:
    text = "train: 68,813 mentions, published are 68,814: as in the v4_gold_conll files"
    results = load_results(spankl(tmp_path, corpus=OTHER_CORPUS | {"differences": [], "accepted": [text]}))
    assert f"another copy of the published corpus: {text}" in notes_of(comparisons(results)[0])
    assert {j.verdict for j in judge(settings()[NAME], results)} == {"agrees"}


def test_types_in_no_task_are_noted_with_their_mentions(tmp_path: Path) -> None:
    missing = {f"T{i}": {"train": 10 * i, "dev": 1, "test": 2} for i in range(1, 11)}
    corpus = {"differences": [], "accepted": [], "n_mentions": {"train": 1_975, "dev": 9, "test": 9}}
    write_run(tmp_path, corpus=corpus | {"without_task": missing})
    (c,) = comparisons(load_results(tmp_path))
    named = "T10 100, T9 90, T8 80, T7 70, T6 60, T5 50, T4 40, T3 30 and 2 more types"
    assert f"types in no task, 550 of 1,975 train mentions count as O: {named}" in notes_of(c)


@pytest.mark.parametrize(("copies", "noted"), [(None, False), (0, False), (11, False), (12, True)])
def test_test_sentences_that_are_also_in_train_are_noted(tmp_path: Path, copies: int | None, noted: bool) -> None:
    corpus = {"differences": [], "accepted": [], "n_mentions": {"train": 9, "dev": 9, "test": 9}, "without_task": {}}
    learned = [{"step": 1, "updates": 300, "warmup_updates": 30, "predicted": 1_200}]
    write_run(tmp_path, corpus=corpus | ({} if copies is None else {"test_copies": copies}), learned=learned)
    (c,) = comparisons(load_results(tmp_path))
    text = "12 of 1,200 test sentences also stand in train: they may be scored too well"
    assert (text in notes_of(c)) is noted
    assert noted or not any("also stand in train" in note for note in notes_of(c))


def test_presets_know_their_encoder_and_the_size_of_their_corpus() -> None:
    cards = list_cards()
    for setting in presets().values():
        assert setting.encoder in ENCODERS, setting.name
        assert all(cards[setting.dataset].counts[part].sentences for part in PARTS), setting.name
