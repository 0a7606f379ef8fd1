"""`glassbert pretrain`: what it prints, how it leaves, and what it says of wrong input in one line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import glassbert
from glassbert import BertForMaskedLM, BertForPreTraining
from glassbert.files import read_json, write_json
from tests.cli.conftest import Command
from tests.train.runs import make, make_shards, outcome


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny bare model, and shards."""
    folder = tmp_path_factory.mktemp("place")
    make(folder)
    make_shards(folder)
    make_shards(folder, "longer", seed=1)
    make_shards(folder, "mlm", objective="mlm")
    make_shards(folder, "static", static_masks=True)
    make_shards(folder, "none", held_out=0.0)
    return folder


@pytest.fixture
def pretrain(command: Command, place: Path) -> Command:
    """Run `glassbert pretrain` on shards by their names, from the tiny model unless a preset is given, into `out`."""

    def run(*arguments: Any) -> Any:
        given = [place / one if (place / str(one)).is_dir() else one for one in arguments]
        model = [] if {"--preset", "--model", "--config"} & {*map(str, given)} else ["--model", place / "base"]
        usual = ["--out", "out"] + ([] if "--config" in given else ["--steps", "4", "--batch-size", "8"])
        return command("pretrain", *usual, *model, *given)

    return run


def test_json_has_the_figures_of_training_and_of_held_out_text(pretrain: Command) -> None:
    run = pretrain("shards", "--seed", "3", "--json")
    assert run.code == 0
    figures = json.loads(run.out)
    assert run.out.count("\n") == 1
    parts = {"masked_lm_loss", "masked_lm_accuracy", "next_sentence_loss", "next_sentence_accuracy"}
    assert set(figures["training"]) == parts
    amounts = {"words", "examples", "unigram_entropy", "next_sentence_chance"}
    assert set(figures) == {"folder", "steps", "training", "loss", *parts, *amounts}
    assert (figures["folder"], figures["steps"]) == ("out", 4)
    assert figures["loss"] == pytest.approx(figures["masked_lm_loss"] + figures["next_sentence_loss"])
    assert type(glassbert.load("out")) is BertForPreTraining


def test_words_alone_have_no_figures_of_pairs(pretrain: Command) -> None:
    figures = json.loads(pretrain("mlm", "--json").out)
    assert set(figures["training"]) == {"masked_lm_loss", "masked_lm_accuracy"}
    assert figures["next_sentence_loss"] is None
    assert type(glassbert.load("out")) is BertForMaskedLM


def test_without_held_out_text_json_has_the_training_alone(pretrain: Command) -> None:
    run = pretrain("none", "--json")
    assert set(json.loads(run.out)) == {"folder", "steps", "training"}
    assert "nothing is held out" in run.err


def test_the_result_says_what_comes_next(pretrain: Command) -> None:
    run = pretrain("shards", "--preset", "tiny", "--model-config", "num_hidden_layers=1")
    assert run.code == 0
    assert "masked words, loss in nats" in run.out
    assert "saved in out; next: " in run.out
    assert "train train.tsv --model out --out OUT" in run.out
    assert glassbert.load("out").config.num_hidden_layers == 1


def test_what_comes_next_works(pretrain: Command, command: Command, place: Path) -> None:
    assert pretrain("shards").code == 0
    run = command("train", place / "train.jsonl", "--model", "out", "--out", "tuned", "--steps", "2", "--json")
    assert run.code == 0
    assert run.err.count("new, with random weights") == 1
    assert pretrain("shards", "--model", "out", "--out", "more").code == 0


def test_help_has_an_example_and_every_setting(command: Command) -> None:
    run = command("pretrain", "--help")
    assert run.code == 0
    words = " ".join(run.out.split())
    assert "Example: glassbert pretrain shards --preset tiny --steps 10000 --out my-bert" in words
    assert all(name in run.out for name in ("--preset", "--model", "--phases", "--steps", "--masked-share", "--resume"))
    assert "--epochs" not in run.out


def test_written_settings_repeat_the_run(pretrain: Command, place: Path) -> None:
    shares = ["--phases", "0.5,0.5", "--keep", "best", "--model-config", "hidden_dropout_prob=0.2"]
    assert pretrain("shards", "longer", *shares).code == 0
    assert pretrain("--config", "out/settings.yaml", "--out", "again").code == 0
    assert outcome(Path("again")) == outcome(Path("out"))
    assert read_json(Path("again/training.json"))["data"] == read_json(Path("out/training.json"))["data"]


def test_a_run_that_has_ended_has_nothing_left_to_do(pretrain: Command) -> None:
    first = pretrain("shards", "--json")
    before = Path("out/model.safetensors").stat().st_mtime_ns
    run = pretrain("shards", "--json", "--resume")
    assert run.code == 0
    assert "holds the result of this run already; nothing is left to do" in run.err
    again = json.loads(run.out)
    assert again["steps"] == json.loads(first.out)["steps"]
    assert again["masked_lm_loss"] == json.loads(first.out)["masked_lm_loss"]
    assert Path("out/model.safetensors").stat().st_mtime_ns == before
    run = pretrain("shards", "--resume", "--seed", "9")
    assert (run.code, run.out) == (2, "")
    assert "out already holds something" in run.err


def test_a_checkpoint_is_gone_on_with_or_refused(pretrain: Command, place: Path) -> None:
    kept = ["--save-every", "2", "--keep-checkpoints", "2"]
    assert pretrain("shards", *kept).code == 0
    shutil.rmtree("out-checkpoints/step-00000004")
    shutil.move("out", "whole")
    run = pretrain("shards")
    assert run.code == 2
    assert "out-checkpoints holds a checkpoint of step 2; resume=True (--resume) goes on from it" in run.err
    run = pretrain("longer", "--resume")
    assert run.code == 2
    assert "is of another run: data.shards was" in run.err
    run = pretrain("shards", "--resume", "--learning-rate", "0.1")
    assert run.code == 2
    assert "is of another run: learning_rate was 0.0001 and is now 0.1" in run.err
    assert pretrain("shards", "--resume").code == 0
    assert outcome(Path("out")) == outcome(Path("whole"))


# -- wrong input --

WRONG: dict[str, tuple[list[str], str]] = {
    "no model": (["--preset", "tiny", "--model", "base"], "preset makes a new model, model goes on with another; both"),
    "an unknown preset": (["--preset", "tiney"], "did you mean 'tiny'?"),
    "an unknown model": (["--model", "nowhere"], "nowhere: no such folder"),
    "epochs": (["--epochs", "3"], "No such option: --epochs"),
    "a share of 0": (["--masked-share", "0"], "masked_share is 0.0, expected a share between 0 and 1"),
    "a share of 1": (["--masked-share", "1"], "masked_share is 1.0, expected a share between 0 and 1"),
    "a large batch": (["--batch-size", "5000"], "sequences, fewer than the 5000 of one step"),
    "phases for one folder": (
        ["--phases", "0.9,0.1"],
        "which are shares for 2 folders; there is one",
    ),
    "no numbers": (["longer", "--phases", "0.9,x"], "phases is '0.9,x', expected shares such as 0.9,0.1"),
    "too much": (["longer", "--phases", "0.9,0.3"], "phases is [0.9, 0.3], expected shares that add up to 1"),
    "percents": (["longer", "--phases", "90,10"], "expected shares that add up to 1"),
    "less than nothing": (["longer", "--phases", "1.5,-0.5"], "expected shares more than 0"),
    "an empty phase": (["longer", "--phases", "0.99,0.01"], "steps is 4, which leaves a folder of shards without any"),
    "another objective": (["--validation", "mlm"], "mlm was prepared for mlm"),
    "an unknown metric": (["--metric", "f1"], "'f1' is none of the figures that are measured: loss, masked_lm_loss"),
    "an unknown field": (["--model-config", "hidden_sise=3"], "did you mean 'hidden_size'?"),
    "a wrong size": (
        ["--model-config", "num_hidden_layers=7"],
        "is 7, but the weights have 2 layers",
    ),
    "a wrong value": (["--model-config", "hidden_act=no"], "hidden_act is 'no'"),
    "TensorBoard inside": (["--tensorboard", "out/runs"], "tensorboard is out/runs, inside out"),
    "no folder": (["nothing"], "nothing: no such folder; glassbert prepare makes one of text"),
    "frozen layers": (["--freeze-layers", "9"], "freeze_layers is 9, but the model has 2 layers"),
    "out among the shards": (["--out", "shards", "--overwrite"], "is needed itself and would be lost"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_told_in_one_line(pretrain: Command, place: Path, case: str) -> None:
    arguments, message = WRONG[case]
    before = sorted(place.rglob("*"))
    run = pretrain("shards", *arguments)
    assert (run.code, run.out) == (2, "")
    assert message in run.err.splitlines()[-1]
    assert run.err.splitlines()[-1].startswith("glassbert: error: ")
    assert "Traceback" not in run.err
    assert "step " not in run.err.replace("one step", "")  # nothing was trained before
    assert not Path("out").exists()
    assert sorted(place.rglob("*")) == before


def test_a_device_that_is_not_there_is_refused(pretrain: Command) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run = pretrain("shards", "--device", "cuda")
    assert run.code == 2
    assert run.err == "glassbert: error: device is 'cuda', but this machine has cpu\n"


def test_static_masks_and_missing_held_out_text(pretrain: Command) -> None:
    for arguments, message in (
        (["static", "--whole-words"], "whole_words is given, but the words to guess were chosen when"),
        (["none", "--keep", "best"], "keep is 'best', but "),
        (["none", "--patience", "2"], "patience is 2, but "),
    ):
        run = pretrain(*arguments)
        assert (run.code, run.out) == (2, "")
        assert message in run.err


def test_what_stands_in_the_way_stays(pretrain: Command) -> None:
    Path("out").mkdir()
    Path("out/letter.txt").write_text("dear")
    for more in ([], ["--overwrite"]):
        run = pretrain("shards", *more)
        assert (run.code, run.out) == (2, "")
    assert Path("out/letter.txt").read_text() == "dear"


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x40
    file.write_bytes(content)


def said(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(shards: Path) -> None:
        manifest = read_json(shards / "manifest.json")
        change(manifest)
        write_json(shards / "manifest.json", manifest)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file cut short": (
        lambda shards: os.truncate(shards / "shard-00000" / "training" / "ids.npy", 300),
        "training/ids.npy: has 300 bytes, but manifest.json says",
    ),
    "a flipped bit": (
        lambda shards: flipped(shards / "shard-00000" / "training" / "labels.npy"),
        "training/labels.npy: is not as it was written (manifest.json has another SHA-256)",
    ),
    "a flipped bit in held-out text": (
        lambda shards: flipped(shards / "shard-00000" / "held-out" / "ids.npy"),
        "held-out/ids.npy: is not as it was written",
    ),
    "a missing file": (
        lambda shards: (shards / "shard-00000" / "training" / "ends.npy").unlink(),
        "training/ends.npy: is missing; ",
    ),
    "no tokenizer": (lambda shards: shutil.rmtree(shards / "tokenizer"), "tokenizer: is missing; prepare"),
    "no manifest": (lambda shards: (shards / "manifest.json").unlink(), "is not finished; the same glassbert prepare"),
    "half a manifest": (lambda shards: os.truncate(shards / "manifest.json", 100), "not readable as JSON"),
    "no settings": (said(lambda manifest: manifest.pop("settings")), "manifest.json: does not describe shards"),
    "another objective": (
        said(lambda manifest: manifest["settings"].update(objective="mlm")),
        "manifest.json",
    ),
    "no shards": (said(lambda manifest: manifest.update(shards=[])), "damaged"),
    "another vocabulary": (
        said(lambda manifest: manifest["vocabulary"].update(sha256="0")),
        "manifest.json",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_shards_are_told_by_their_file(pretrain: Command, place: Path, tmp_path: Path, case: str) -> None:
    damage, message = DAMAGES[case]
    shutil.copytree(place / "shards", tmp_path / "damaged")
    damage(tmp_path / "damaged")
    run = pretrain("damaged")
    assert (run.code, run.out) == (2, "")
    (line,) = run.err.splitlines()
    assert message in line
    assert "damaged" in line
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["ids", "ends", "labels"])
def test_damage_that_nobody_looked_for_ends_in_one_line(
    pretrain: Command, place: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(place / "shards", tmp_path / "damaged")
    file = tmp_path / "damaged" / "shard-00000" / "training" / f"{name}.npy"
    content = bytearray(file.read_bytes())
    begin = 128 + (8 if name == "ends" else 0)
    content[begin : begin + 64 : 1 if name != "ends" else 16] = b"\xff" * (64 if name != "ends" else 4)
    file.write_bytes(content)
    run = pretrain("damaged", "--no-check", "--steps", "20")
    assert run.code == 2
    assert "glassbert: error: " in run.err.splitlines()[-1]
    assert "damaged" in run.err.splitlines()[-1]
    assert "Traceback" not in run.err
