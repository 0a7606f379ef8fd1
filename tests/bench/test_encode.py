"""The parts of the benchmark of encoding that time nothing, and one small run; its timings are nobody's test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import common, cost, encode
from bench.encode import measure, peers, profiles
from bench.encode.measure import Case, Result, Section
from bench.encode.peers import Batch, Program, Runner, batches
from bench.encode.picture import draw
from glassbert import BertConfig, BertModel, BertTokenizer, learn_vocabulary
from glassbert.data import load_sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with a vocabulary of the embedded sentences."""
    made = tmp_path_factory.mktemp("model")
    tokenizer = BertTokenizer(learn_vocabulary([sentence.text for sentence in load_sentences("train")], size=4000))
    tokenizer.save_pretrained(made)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(made)
    return made


def _section() -> Section:
    row = Result(
        peer="glassbert",
        setting="",
        dtype="float32",
        model="minilm",
        profile="mixed",
        shape="mixed",
        threads=1,
        seconds=(1.0, 2.0, 4.0),
        median=2.0,
        gflops=100.0,
        share=0.8,
        ratio=1.0,
        difference=None,
        cores=1.0,
        others=0.0,
    )
    theirs = dataclasses.replace(row, peer="theirs", setting="batches of 8", gflops=50.0, ratio=2.0, difference=1e-6)
    int8 = dataclasses.replace(theirs, dtype="int8", gflops=140.0)
    facts = {"GEMM GFLOP/s": 125.0, "mean tokens": 41.0, "threads": 1}
    return Section(title="a title", facts=facts, rows=(row, theirs, int8))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("profile", profiles.TEXTS)
def test_profiles_are_the_same_at_every_call(
    profile: profiles.Profile, *, shared: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shared:
        for module in (profiles, common):
            monkeypatch.setattr(module, "SHARED", Path("nowhere"))
    tokenizer = BertTokenizer.from_pretrained(folder)
    found = profiles.workloads(profile, tokenizer, 16)
    assert found == profiles.workloads(profile, tokenizer, 16)
    bounds = {"short": (5, 16), "sentences": (17, 64), "paragraphs": (65, 512), "equal": (128, 128)}
    for workload in found:
        assert len(workload.sequences) == 16
        low, high = bounds.get(profile, (2, 512))
        assert all(low <= length <= high for length in workload.lengths)
        for ids in workload.sequences:
            assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    if profile == "one":
        assert [set(workload.lengths) for workload in found] == [{16}, {128}]


def test_batches_hold_every_text_once_and_are_padded_to_their_longest() -> None:
    sequences = [[7, 8, 9, 9], [7, 9], [7, 8, 9]]
    arrival = batches(sequences, 2, by_length=False)
    assert [batch.places for batch in arrival] == [(0, 1), (2,)]
    assert arrival[0].ids.tolist() == [[7, 8, 9, 9], [7, 9, 0, 0]]
    assert arrival[0].mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    by_length = batches(sequences, 2)
    assert [(batch.places, batch.ids.shape) for batch in by_length] == [((1, 2), (2, 3)), ((0,), (1, 4))]


@pytest.mark.parametrize("lanes", [1, 2])
def test_results_are_held_against_ours_in_the_order_of_the_texts_and_without_padding(lanes: int) -> None:
    sequences = [[7, 8, 9, 9], [7, 9], [7, 8, 9]]

    def run(batch: Batch) -> peers.Array:
        # Padding is far from anything, and must not be looked at.
        return np.where(batch.mask == 1, batch.ids, 1000)[:, :, None].astype(np.float32)

    runner = Runner(Program(prepare=lambda batch: batch, run=run), batches(sequences, 2), lanes)
    ours = [torch.tensor(ids, dtype=torch.float32)[:, None] for ids in sequences]
    assert runner.difference(ours) == 0
    ours[1][1] += 0.25
    assert runner.difference(ours) == 0.25


def test_a_small_run_against_transformers(folder: Path, tmp_path: Path) -> None:
    case = Case(texts=8, rounds=1, peers=("transformers",))
    (section,) = measure.measure_folder(case, folder, tmp_path)
    names = {(row.peer.split()[0], row.dtype) for row in section.rows}
    assert names == {("glassbert", dtype) for dtype in peers.our_dtypes()} | {("transformers", "float32")}
    assert section.rows[0].peer == "glassbert"
    assert section.rows[0].difference is None
    for row in section.rows[1:]:
        assert len(row.seconds) == 1
        assert row.difference is not None
        if row.dtype == "float32":
            assert row.difference < 1e-4


def test_what_computes_something_else_is_not_raced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "difference", lambda self, ours: float("nan"))
    with pytest.raises(RuntimeError, match="from ours, expected at most 1e-04"):
        measure.measure_folder(Case(texts=8, rounds=1, peers=("transformers",)), folder, tmp_path)


def test_a_peer_that_is_not_installed_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(shop: peers.Workshop) -> list[peers.Peer]:
        raise ImportError

    monkeypatch.setattr(measure, "FAMILIES", {"theirs": missing})
    (section,) = measure.measure_folder(Case(profile="one", texts=3, rounds=1, peers=("theirs",)), folder, tmp_path)[:1]
    assert section.facts["not installed"] == "theirs"
    assert section.title.endswith("one text of 16 tokens at a time")


def test_figures_are_written_printed_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measured(case: Case) -> list[Section]:
        asked.append(case)
        return [_section()]

    monkeypatch.setattr(encode, "_in_process", measured)
    cases = encode.every_case(Case(rounds=1), [1, 2])
    assert len({(case.model, case.profile, case.threads) for case in cases}) == 2 * 6 * 2
    encode.run(cases[:2], file=tmp_path / "out.json", picture=tmp_path / "out.png")
    assert asked == cases[:2]
    assert encode.read(tmp_path / "out.json") == [_section(), _section()]
    assert "2.00× as fast" in capsys.readouterr().out
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["sections"][0]["rows"]
    assert [(row["peer"], row["median"]) for row in rows] == [("glassbert", 2.0), ("theirs", 2.0), ("theirs", 2.0)]


def test_pictures_from_made_up_figures(tmp_path: Path) -> None:
    draw(_section(), tmp_path / "encode.png")
    points = [
        cost.Point(texts=count, length=length, seconds=(0.001 * count, 0.002 * count), least=0.0005 * count)
        for count, length in [(1, 16), (1, 32), (512, 16), (256, 32), (4, 32)]
    ]
    cost.draw(points, {"threads": 2, "GEMM GFLOP/s": 200.0}, tmp_path / "cost.png")
    for name in ("encode.png", "cost.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
