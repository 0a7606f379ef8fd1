"""Settings: one name and one meaning in Python, in YAML and on the command line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from glassbert import ConfigError, FinetuneSettings, TrainingSettings, TuningSettings
from glassbert.cli.train import train
from glassbert.cli.tune import tune
from glassbert.cli.use import answer, embed, evaluate, fill, predict
from glassbert.settings import AnswerSettings, LoopSettings, ReadingSettings, documented, paths_of

NEEDED: dict[str, Any] = {"train": "a.csv", "model": "m", "out": "o"}


def made(**values: Any) -> FinetuneSettings:
    return FinetuneSettings(**{**NEEDED, **values})


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (train, FinetuneSettings),
        (tune, TuningSettings),
        (evaluate, ReadingSettings),
        (predict, AnswerSettings),
        (embed, AnswerSettings),
        (fill, AnswerSettings),
        (answer, AnswerSettings),
    ],
)
def test_each_setting_is_an_option_of_its_command_under_its_own_name(command: Any, settings: Any) -> None:
    options = inspect.signature(command).parameters
    fields = documented(settings)
    assert set(fields) <= set(options)
    more = {name for name in options if not name.startswith("other_")} - set(fields)
    own = {"texts", "task", "pair", "choice", "context", "prompt", "prompt_name", "top", "candidates"}
    own |= {"questions", "context_file"}
    assert more <= {"config", "json", "folder", "data", "engine"} | (own if settings is AnswerSettings else set())
    for name, (_, doc) in fields.items():
        (about,) = options[name].annotation.__metadata__
        assert about.help.startswith(doc.text)
        # Within Annotated typer keeps the first name where a default would stand.
        assert name == "train" or about.default in (f"--{name.replace('_', '-')}", f"--no-{name.replace('_', '-')}")
        assert options[name].default is None  # not given, so that a file's value stands


def test_every_setting_says_what_it_does() -> None:
    for settings in (ReadingSettings, AnswerSettings, TrainingSettings, FinetuneSettings, TuningSettings):
        for name, (_, doc) in documented(settings).items():
            assert doc.text.endswith("."), name
            assert doc.group, name


def test_settings_stand_in_an_order_that_does_not_depend_on_which_class_has_them() -> None:
    found: dict[str, list[str]] = {}
    for name, (_, doc) in documented(TrainingSettings).items():
        found.setdefault(doc.group, []).append(name)
    steps, rates = found["Steps"], found["Optimizer"]
    assert steps == ["epochs", "steps", "batch_size", "accumulation", "seed", "token_dropout", "crop"]
    assert rates[-4:] == ["layer_decay", "head_learning_rate", "freeze_embeddings", "freeze_layers"]
    assert list(found) == ["Steps", "Optimizer", "Loss", "Evaluation", "Devices, memory and precision"]
    of_tasks = {"epochs", "token_dropout", "crop", "class_weights", "label_smoothing", "head_learning_rate"}
    assert documented(TrainingSettings).keys() - documented(LoopSettings).keys() == of_tasks


def test_a_file_of_all_settings_gives_them_again(tmp_path: Path) -> None:
    settings = made(
        validation="b.csv",
        columns={"choices": ["a", "b"], "context": 2},
        options={"widths": [3, 2], "scheme": "IOB1"},
        class_weights={"yes": 2.0, "no": 1},
        learning_rate=3e-5,
        text_column=0,
        label_column="ja: nein #",
        metric="f1.yes",
        crop=8,
        overwrite=True,
    )
    file = tmp_path / "settings.yaml"
    file.write_text(settings.to_yaml(), encoding="utf-8")
    assert FinetuneSettings.read(file) == settings
    assert FinetuneSettings.read(file, seed=9, crop=None) == made(**{**settings.to_dict(), "seed": 9, "crop": None})
    # Every setting stands under what it does.
    lines = file.read_text(encoding="utf-8").splitlines()
    for name, (_, doc) in documented(FinetuneSettings).items():
        place = next(number for number, line in enumerate(lines) if line.startswith(f"{name}:"))
        assert lines[place - 1] == f"# {doc.text}"


def test_epochs_and_steps_take_each_others_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs is 2 and steps is 5; give one of them"):
        made(epochs=2, steps=5)
    file = tmp_path / "run.yaml"
    file.write_text("train: a.csv\nmodel: m\nout: o\nsteps: 5\n", encoding="utf-8")
    assert FinetuneSettings.read(file, epochs=2) == made(epochs=2)
    assert FinetuneSettings.read(file, seed=2) == made(steps=5, seed=2)


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("train: a\nmodel: m\nout: o\nclass_weights:\n  0: 2\n  1: 1.5\n", encoding="utf-8")
    assert FinetuneSettings.read(file).class_weights == {"0": 2, "1": 1.5}


class Frame:
    """What a pandas.DataFrame looks like."""

    columns = ("text", "label")

    def __repr__(self) -> str:
        return "Frame()"  # the same in the names of tests in every process

    def to_dict(self, orient: str) -> list[dict[str, str]]:
        return []


def test_a_file_may_hold_some_settings_and_numbers_without_a_point(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("train: a.csv\nmodel: m\nout: o\nlearning_rate: 5e-6\nlabel_column: 1\n", encoding="utf-8")
    assert FinetuneSettings.read(file) == made(learning_rate=5e-6, label_column=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", r"run\.yaml: no setting 'epoch'; did you mean 'epochs'\?"),
        ("3: 4", r"run\.yaml: no setting '3'"),
        ("epochs: 1\nseed: 1\nepochs: 2", r"run\.yaml:3: 'epochs' is named twice"),
        ("class_weights:\n  yes: 2.0", r"run\.yaml:2: the name yes means True in YAML; write 'yes'"),
        ("- a", r"run\.yaml: expected names and values, found list"),
        ("a: [", r"run\.yaml: cannot be read as YAML: "),
        ("train: a\nmodel: b\nout: c\nepochs: three", r"run\.yaml: epochs is 'three', expected a whole number"),
        ("model: m", r"run\.yaml: missing: train, out"),
        ("", r"run\.yaml: missing: model, train, out"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        FinetuneSettings.read(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml: No such file or directory"):
        FinetuneSettings.read(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": 3}, "train is 3, expected the path of a file, several paths, or records"),
        ({"train": {"a": 1}}, "train is .*, expected the path"),
        ({"train": Frame()}, r"train is a Frame; pass its records: frame\.to_dict\('records'\)"),
        ({"train": "<list>"}, "train is <list>: that run had its data in memory; give data again"),
        ({"train": []}, "train is empty"),
        ({"train": ["a.csv", {"text": "a"}]}, "train is paths beside records"),
        ({"columns": {"a": "x" * 300}, "header": "y" * 300}, r"header is 'y+… \(of type str\), expected True or False"),
        ({"model": None}, "model is None, expected a string or a path"),
        ({"format": "xml"}, "format is 'xml', expected csv, tsv, jsonl, json, parquet, conll, squad or txt"),
        ({"text_column": 1.5}, "text_column is 1.5, expected a string or a whole number"),
        ({"header": "no"}, "header is 'no', expected True or False"),
        ({"columns": {"a": None}}, "columns is .*, expected values by name"),
        ({"columns": ["a"]}, "columns is .*, expected values by name"),
        ({"precision": "fp16"}, "precision is 'fp16', expected fp32 or bf16"),
        ({"class_weights": "equal"}, "class_weights is 'equal', expected balanced or values by name"),
        ({"class_weights": {"a": -1.0}}, "class_weights has -1.0 for 'a', expected 0 or more"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0, expected a share"),
        ({"steps": 0}, "steps is 0, expected 1 or more"),
        ({"accumulation": 0}, "accumulation is 0, expected 1 or more"),
        ({"max_length": 2}, "max_length is 2, expected 3 or more"),
        ({"validation_share": 1.0}, "validation_share is 1.0"),
        ({"validation_share": 0.5, "test_share": 0.5}, "leave nothing to learn from"),
        ({"validation": "b.csv", "validation_share": 0.1}, "validation_share is 0.1, but there is validation data"),
        ({"patience": 3}, "patience is 3, but there is no validation data"),
        ({"keep": "best"}, "keep is 'best', but there is no validation data"),
        ({"metric": "f1", "test": "c.csv"}, "metric is 'f1', but there is no validation data"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**values)


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="learning_rat"):
        made(learning_rat=1.0)


def test_patience_keeps_the_best_unless_the_last_is_wanted() -> None:
    data = {"validation": "b.csv"}
    assert not made(**data).keeps_best
    assert made(**data, patience=2).keeps_best
    assert not made(**data, patience=2, keep="last").keeps_best
    assert made(**data, keep="best").keeps_best


def test_files_of_data() -> None:
    assert paths_of("a") == [Path("a")]
    assert paths_of(["a", Path("b")]) == [Path("a"), Path("b")]
    assert paths_of([{"text": "a"}]) is None
    assert paths_of(None) is None
    assert made(train=[{"text": "a"}]).to_dict()["train"] == "<list>"
