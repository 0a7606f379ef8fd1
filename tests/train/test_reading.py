"""The visits of a run, and what a model gets of them: any place at once, the same for everybody, as the text has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glassbert import BertTokenizer, DataError, learn_vocabulary
from glassbert.data.preparing import masking_of
from glassbert.data.shards import Shards
from glassbert.train.reading import Phase, Reader, Visit, Visits
from tests.train.runs import TEXTS, make_model, make_shards

IGNORED = -100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with shards of all kinds; the last two have words of several tokens."""
    folder = tmp_path_factory.mktemp("shards")
    make_model(folder)
    kinds: dict[str, dict[str, Any]] = {
        "nsp": {},
        "sop": {"objective": "sop"},
        "mlm": {"objective": "mlm", "max_length": 12},
        "static": {"static_masks": True, "copies": 2},
    }
    for name, changes in kinds.items():
        make_shards(folder, name, **changes)
    (folder / "letters").mkdir()
    joined = [text.replace(" ", "-", 1) for text in TEXTS]
    vocabulary = learn_vocabulary([*TEXTS, *joined], size=46, min_frequency=1)
    BertTokenizer(vocabulary).save_pretrained(folder / "letters")
    make_shards(folder, "pieces", vocab=folder / "letters", max_length=40)
    make_shards(folder, "segmented", joined * 4, vocab=folder / "letters", max_length=40, segmented=True)
    return folder


def phases(folder: Path, *names: str, steps: int = 40) -> list[Phase]:
    return [Phase(Shards(folder / name).training, steps) for name in names]


def reader(folder: Path, name: str, *, seed: int = 3, measuring: bool = False, **masking: Any) -> Reader:
    shards = Shards(folder / name)
    values = {"share": None, "most": None, "whole_words": False, **masking}
    return Reader([Phase(shards.training, 40)], masking_of(shards.tokenizer(), **values), seed, measuring=measuring)


def visits_of(folder: Path, name: str, count: int = 16, epoch: int = 0) -> list[Visit]:
    sequences = Shards(folder / name).training
    return [Visit(0, number, epoch, length) for number, length in enumerate(sequences.lengths(range(count)))]


# -- visits --


def test_each_epoch_reads_every_sequence_once_in_an_order_of_its_own(folder: Path) -> None:
    sequences = Shards(folder / "nsp").training
    count = len(sequences)
    visits = Visits([Phase(sequences, 3 * count)], 1, seed=5)
    epochs = [visits[begin : begin + count] for begin in range(0, 3 * count, count)]
    for epoch, some in enumerate(epochs):
        assert sorted(visit.number for visit in some) == list(range(count))
        assert {visit.epoch for visit in some} == {epoch}
        assert [len(visit) for visit in some] == sequences.lengths(visit.number for visit in some)
    orders = [tuple(visit.number for visit in some) for some in epochs]
    assert len({*orders, tuple(range(count))}) == 4
    assert [visit.number for visit in Visits([Phase(sequences, count)], 1, seed=6)] != list(orders[0])


def test_any_visit_is_there_at_once(folder: Path) -> None:
    parts = phases(folder, "nsp", "mlm", steps=500)  # more than are looked up together
    visits = Visits(parts, 10, seed=1)
    one_by_one = list(visits)
    assert len(visits) == len(one_by_one) == 10_000
    chance = np.random.default_rng(0)
    for place in chance.integers(0, len(visits), 10).tolist():
        assert Visits(parts, 10, seed=1)[place] == one_by_one[place]
    assert visits[4995:5005] == one_by_one[4995:5005]
    assert [visit.phase for visit in visits[4998:5002]] == [0, 0, 1, 1]
    with pytest.raises(IndexError):
        visits[10_000]


def test_batches_from_some_step_on_are_those_of_the_whole_run(folder: Path) -> None:
    visits = Visits(phases(folder, "nsp", "mlm", steps=30), 7, seed=1)
    whole = [(epoch, list(places)) for epoch, places in visits.batches(0)]
    assert len(whole) == 60
    for begin in (0, 1, 29, 30, 31, 59, 60):
        assert [(epoch, list(places)) for epoch, places in visits.batches(begin)] == whole[begin:]
    # A step never reads of two phases.
    assert all(len({visits[place].phase for place in places}) == 1 for _, places in whole)


def test_each_phase_reads_shards_of_its_own(folder: Path) -> None:
    nsp, mlm = (Shards(folder / name).training for name in ("nsp", "mlm"))
    visits = Visits([Phase(nsp, 4), Phase(mlm, 2)], 9, seed=0)
    assert [visit.phase for visit in visits] == [0] * 36 + [1] * 18
    for visit in visits:
        assert [len(visit)] == (nsp, mlm)[visit.phase].lengths([visit.number])


# -- what a model gets --


@pytest.mark.parametrize("name", ["nsp", "sop", "mlm", "static", "pieces", "segmented"])
def test_a_batch_is_the_text_with_some_words_to_guess(folder: Path, name: str) -> None:
    sequences, visits = Shards(folder / name).training, visits_of(folder, name)
    read = reader(folder, name)
    batch = read(visits)
    rows = sequences.rows(range(len(visits)))
    starts = np.cumsum(rows.lengths) - rows.lengths
    mask_id = Shards(folder / name).tokenizer().mask_token_id
    for place, (start, length) in enumerate(zip(starts, rows.lengths, strict=True)):
        ids, labels = batch["input_ids"][place, :length], batch["labels"][place, :length]
        own = torch.from_numpy(rows.ids[start : start + length].astype(np.int64))
        guessed = labels != IGNORED
        if rows.masked is None:
            assert torch.equal(torch.where(guessed, labels, ids), own)
        else:
            assert torch.equal(ids, own)  # static shards hold what the model sees
        assert not (ids[~guessed] == mask_id).any()
        assert 1 <= guessed.sum() <= max(1, round(0.15 * int(length)))
        assert batch["attention_mask"][place].tolist() == [int(column < length) for column in range(ids_width(batch))]
        assert (batch["labels"][place, length:] == IGNORED).all()
        if rows.seconds is not None and rows.labels is not None:
            second = int(rows.seconds[place])
            types = [int(second <= column < length) for column in range(ids_width(batch))]
            assert batch["token_type_ids"][place].tolist() == types
            assert int(batch["next_sentence_label"][place]) == rows.labels[place]
    expected = {"input_ids", "attention_mask", "labels"}
    assert set(batch) == expected | ({"token_type_ids", "next_sentence_label"} if name != "mlm" else set())
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def ids_width(batch: dict[str, torch.Tensor]) -> int:
    return batch["input_ids"].shape[1]


def test_second_parts_and_labels_are_those_of_the_text(folder: Path) -> None:
    shards = Shards(folder / "nsp")
    tokenizer, visits = shards.tokenizer(), visits_of(folder, "nsp", 30)
    batch = reader(folder, "nsp")(visits)
    ids = torch.where(batch["labels"] != IGNORED, batch["labels"], batch["input_ids"])
    follows = 0
    for place in range(len(visits)):
        second = ids[place][batch["token_type_ids"][place].bool()].tolist()
        first = ids[place][(batch["attention_mask"][place] - batch["token_type_ids"][place]).bool()].tolist()
        assert first[0] == tokenizer.cls_token_id
        assert first[-1] == second[-1] == tokenizer.sep_token_id
        text = tokenizer.decode(first[1:-1]) + " " + tokenizer.decode(second[:-1])
        follows += int(batch["next_sentence_label"][place]) == 0
        assert set(text.split()) <= {word for line in TEXTS for word in line.split()}
    assert 0 < follows < 30


@pytest.mark.parametrize("name", ["nsp", "mlm", "static"])
def test_weights_are_the_numbers_of_words_and_pairs(folder: Path, name: str) -> None:
    visits = visits_of(folder, name)
    read = reader(folder, name)
    words = float((read(visits)["labels"] != IGNORED).sum())
    expected = {"masked_lm_loss": words, "masked_lm_accuracy": words}
    if name != "mlm":
        expected |= {"next_sentence_loss": 16.0, "next_sentence_accuracy": 16.0}
    assert read.weights(visits) == expected
    parts = [read.weights(visits[begin : begin + 5]) for begin in range(0, 16, 5)]
    assert {part: sum(one[part] for one in parts) for part in expected} == expected


def masked(read: Reader, visits: list[Visit]) -> dict[Visit, tuple[list[int], list[int]]]:
    batch = read(visits)
    rows = zip(visits, batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True)
    return {visit: (ids[: len(visit)], labels[: len(visit)]) for visit, ids, labels in rows}


def test_masks_are_the_same_however_visits_are_grouped(folder: Path) -> None:
    visits = visits_of(folder, "nsp")
    whole = masked(reader(folder, "nsp"), visits)
    read = reader(folder, "nsp")
    for group in (visits[::-1], visits[3:7], visits[::2], visits[5:6], [visits[2], visits[9], visits[2]]):
        for visit, found in masked(read, group).items():
            assert found == whole[visit]
    read.weights(visits)  # of a whole step, before its parts
    assert {visit: found for one in visits for visit, found in masked(read, [one]).items()} == whole


def test_more_sequences_than_are_masked_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visits = visits_of(folder, "nsp")
    whole = masked(reader(folder, "nsp"), visits)
    monkeypatch.setattr("glassbert.train.reading._BLOCK", 3)
    assert masked(reader(folder, "nsp"), visits) == whole


def test_another_epoch_or_seed_has_other_masks(folder: Path) -> None:
    first = list(masked(reader(folder, "nsp"), visits_of(folder, "nsp")).values())
    for other, epoch in ((reader(folder, "nsp"), 1), (reader(folder, "nsp", seed=4), 0)):
        found = list(masked(other, visits_of(folder, "nsp", epoch=epoch)).values())
        assert sum(one != two for one, two in zip(first, found, strict=True)) > 10


def test_static_shards_are_the_same_in_every_epoch(folder: Path) -> None:
    first, later = (
        list(masked(reader(folder, "static", seed=epoch), visits_of(folder, "static", epoch=epoch)).values())
        for epoch in (0, 5)
    )
    assert first == later


def test_measuring_masks_do_not_depend_on_the_run(folder: Path) -> None:
    visits = visits_of(folder, "nsp")
    one, two = (masked(reader(folder, "nsp", seed=seed, measuring=True), visits) for seed in (0, 9))
    assert one == two
    assert one != masked(reader(folder, "nsp", seed=0), visits)


def test_more_words_are_guessed_where_that_is_wanted_and_no_more_than_allowed(folder: Path) -> None:
    visits = visits_of(folder, "nsp")
    counts = {}
    for share, most in ((0.15, None), (0.5, None), (0.5, 2)):
        labels = reader(folder, "nsp", share=share, most=most)(visits)["labels"]
        counts[share, most] = (labels != IGNORED).sum(dim=1)
    assert (counts[0.5, None] >= counts[0.15, None]).all()
    assert counts[0.5, None].sum() > 2 * counts[0.15, None].sum()
    assert int(counts[0.5, 2].max()) == 2


@pytest.mark.parametrize("name", ["pieces", "segmented"])
def test_whole_words_are_guessed_whole(folder: Path, name: str) -> None:
    shards = Shards(folder / name)
    tokenizer, joins = shards.tokenizer(), name == "segmented"
    visits = visits_of(folder, name, 30)
    batch = reader(folder, name, share=0.4, whole_words=True)(visits)
    ids = torch.where(batch["labels"] != IGNORED, batch["labels"], batch["input_ids"])
    longest = hyphens = 0
    for place, visit in enumerate(visits):
        tokens = tokenizer.convert_ids_to_tokens(ids[place, : len(visit)].tolist())
        guessed = (batch["labels"][place, : len(visit)] != IGNORED).tolist()
        words: list[list[bool]] = []
        for before, token, own in zip(["[CLS]", *tokens], tokens, guessed, strict=False):
            # A part may begin within a word, of which then only the rest can be guessed.
            goes_on = token.startswith("##") or (joins and "-" in (before, token))
            if goes_on and not {before, token} & {"[CLS]", "[SEP]"}:
                words[-1].append(own)
                hyphens += own and token == "-"
            else:
                words.append([own])
        assert all(len(set(word)) == 1 for word in words)
        longest = max(longest, *(len(word) for word in words if word[0]))
    assert longest > 1
    assert hyphens or not joins
    # Without it pieces are guessed one by one.
    labels = reader(folder, name, share=0.4)(visits)["labels"]
    assert not torch.equal(labels, batch["labels"])


def test_what_no_text_has_become_is_refused(folder: Path) -> None:
    sequences = Shards(folder / "nsp").training
    masking = masking_of(Shards(folder / "nsp").tokenizer(), None, None, False)
    small = masking._replace(special=masking.special[:7])
    with pytest.raises(DataError, match="a file is damaged; check=True"):
        Reader([Phase(sequences, 1)], small, 0)(visits_of(folder, "nsp"))
