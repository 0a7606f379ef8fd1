"""The recipe: files in, a model folder out, and nothing lost when that fails."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from glassbert import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    ConfigError,
    DataError,
    FinetuneSettings,
    OutputExistsError,
    SaveError,
    StopTraining,
    TrainingError,
    finetune,
    learn_vocabulary,
    load,
    pipeline,
)
from glassbert.files import read_json
from glassbert.settings import ReadingSettings
from glassbert.tasks import (
    Choice,
    ClassificationMetrics,
    Estimate,
    MultiLabel,
    MultiLabelClassification,
    TaggedSentence,
    TextClassification,
    TokenClassification,
    TokenClassificationMetrics,
)
from glassbert.train import Event, Notice, Step, read_examples

GOOD = ["what a lovely day", "lovely food and lovely people", "a good and happy film", "happy day", "good good good"]
BAD = ["what a nasty day", "nasty food and rude people", "a bad and sad film", "sad day", "bad bad bad"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return the folder of a tiny model without a head."""
    vocabulary = learn_vocabulary(GOOD + BAD, size=200, min_frequency=1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(tmp_path / "base")
    BertTokenizer(vocabulary, model_max_length=16).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "train.tsv"
    rows = [f"{text}\tgood\n" for text in GOOD] + [f"{text}\tbad\n" for text in BAD]
    file.write_text("".join(rows), encoding="utf-8")
    return file


def settings(base: Path, data: Path, **changes: object) -> FinetuneSettings:
    values: dict[str, object] = {
        "train": data,
        "validation": data,
        "model": base,
        "out": base.parent / "out",
        "text_column": "0",
        "label_column": "1",
        "header": False,
        "epochs": 16,
        "batch_size": 4,
        "learning_rate": 1e-2,
    }
    return FinetuneSettings(**{**values, **changes})  # type: ignore[arg-type]


def test_from_files_to_answers(base: Path, data: Path) -> None:
    events: list[Event] = []
    state = torch.get_rng_state()
    result = finetune(settings(base, data), on_event=events.append)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(result.metrics, ClassificationMetrics)
    assert result.metrics.accuracy >= 0.9
    assert result.metrics.labels == ("bad", "good")
    assert sum(isinstance(event, Step) for event in events) == 48
    assert any("classifier.weight" in event.message for event in events if isinstance(event, Notice))
    assert sorted(os.listdir(result.folder)) == [
        "README.md",
        "config.json",
        "confusion_matrix.png",
        "learning_curve.png",
        "model.safetensors",
        "report.html",
        "settings.yaml",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "vocab.txt",
    ]
    report = read_json(result.folder / "training.json")
    assert len(report["losses"]) == 48
    assert report["settings"]["learning_rate"] == 1e-2
    assert report["versions"]["torch"] == torch.__version__
    assert len(report["evaluations"]) == 16
    for picture in ("confusion_matrix.png", "learning_curve.png"):
        assert (result.folder / picture).read_bytes().startswith(b"\x89PNG")
    classify = pipeline("text-classification", model=result.folder)
    assert [answer.label for answer in classify([GOOD[0], BAD[0]])] == ["good", "bad"]


def test_training_goes_on_from_its_own_result_with_the_same_head(base: Path, data: Path) -> None:
    first = finetune(settings(base, data))
    quick = {"epochs": 1, "learning_rate": 1e-9}
    result = finetune(settings(first.folder, data, out=base.parent / "more", **quick))
    assert result.metrics is not None
    assert result.metrics == first.metrics


def test_other_labels_get_a_new_head(base: Path, data: Path) -> None:
    first = finetune(settings(base, data)).folder
    other = data.with_name("other.jsonl")
    rows = [{"text": text, "label": label} for text, label in zip(GOOD, ["x", "y", "z", "x", "y"], strict=True)]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes = {"train": other, "validation": None, "text_column": "text", "label_column": "label", "header": True}
    result = finetune(settings(first, data, out=base.parent / "xyz", **changes))
    model = load(result.folder)
    assert isinstance(model, BertForSequenceClassification)
    assert model.config.id2label == {0: "x", 1: "y", 2: "z"}
    assert result.metrics is None


def test_the_same_seed_gives_the_same_file(base: Path, data: Path) -> None:
    weights = []
    for name in ("one", "two"):
        folder = finetune(settings(base, data, out=base.parent / name)).folder
        weights.append((folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_an_output_folder_that_holds_something_is_refused_before_training(base: Path, data: Path) -> None:
    out = base.parent / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine", encoding="utf-8")
    events: list[Event] = []
    with pytest.raises(OutputExistsError, match="--overwrite"):
        finetune(settings(base, data), on_event=events.append)
    with pytest.raises(OutputExistsError, match=r"precious\.txt, which is no file of a model"):
        finetune(settings(base, data, overwrite=True), on_event=events.append)
    assert not events
    (out / "precious.txt").rename(out / "vocab.txt")
    finetune(settings(base, data, overwrite=True))
    # What a run has written may be replaced by another one.
    finetune(settings(base, data, overwrite=True))
    assert (out / "vocab.txt").read_text(encoding="utf-8") != "mine"


def test_a_full_disk_leaves_the_previous_folder(base: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = base.parent / "out"
    finetune(settings(base, data))
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("glassbert.checkpoint.saving.save_file", full)
    with pytest.raises(SaveError, match=r"out: No space left on device; what stood there still stands"):
        finetune(settings(base, data, overwrite=True))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert sorted(file.name for file in out.parent.iterdir() if file.name.startswith(".")) == []


def test_labels_that_training_lacks_are_named_before_training(base: Path, data: Path) -> None:
    valid = data.with_name("valid.tsv")
    valid.write_text("happy day\tgood\nodd day\tstrange\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"valid\.tsv:2: label 'strange'"):
        finetune(settings(base, data, validation=valid))
    assert not (base.parent / "out").exists()


def test_cut_texts_are_counted(base: Path, data: Path) -> None:
    notes: list[str] = []
    finetune(
        settings(base, data, max_length=4, epochs=1),
        on_event=lambda event: notes.append(event.message) if isinstance(event, Notice) else None,
    )
    assert "8 of 10 training texts are longer than 4 tokens and were cut" in notes


def test_without_matplotlib_there_are_no_pictures_but_all_else(
    base: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    notes: list[str] = []
    result = finetune(
        settings(base, data),
        on_event=lambda event: notes.append(event.message) if isinstance(event, Notice) else None,
    )
    assert "no pictures: matplotlib is not installed; it comes with: pip install 'glassbert[train]'" in notes
    assert (result.folder / "model.safetensors").exists()
    assert not (result.folder / "learning_curve.png").exists()


def test_records_are_needed(base: Path, data: Path) -> None:
    data.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no records"):
        finetune(settings(base, data))


def test_several_labels_and_their_thresholds_are_learned_and_kept(base: Path, tmp_path: Path) -> None:
    rows = [{"text": f"{good} {bad}", "label": ["good", "bad"]} for good, bad in zip(GOOD, BAD, strict=True)]
    rows += [{"text": text, "label": ["good"]} for text in GOOD] + [
        {"text": text, "label": []} for text in ("food", "a")
    ]
    data = tmp_path / "several.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes = {"text_column": "text", "label_column": "label", "header": True, "task": "multi-label-classification"}
    result = finetune(settings(base, data, **changes))
    assert result.metrics is not None
    assert result.metrics.main > 0.9
    assert result.metrics.main_name == "micro_f1"
    label = pipeline(model=result.folder)
    assert label.task == result.task
    assert isinstance(label.task, MultiLabelClassification)
    assert label.task.thresholds != (0.5, 0.5)
    both, one = label([f"{GOOD[0]} {BAD[0]}", GOOD[1]])
    assert isinstance(both, MultiLabel)
    assert set(both.labels) == {"good", "bad"}
    assert one.labels == ("good",)


def test_a_score_of_pairs_is_learned_on_its_own_scale(base: Path, tmp_path: Path) -> None:
    pairs = [
        (one, other, 5.0 if (one in GOOD) == (other in GOOD) else 1.0) for one in GOOD + BAD for other in GOOD + BAD
    ]
    data = tmp_path / "pairs.tsv"
    data.write_text("".join(f"{one}\t{other}\t{score}\n" for one, other, score in pairs), encoding="utf-8")
    training = {"epochs": 12, "batch_size": 8, "learning_rate": 1e-2}
    changes = {"task": "regression", "pair_column": "1", "label_column": "2", **training}
    result = finetune(settings(base, data, **changes))
    assert result.metrics is not None
    assert result.metrics.to_dict()["pearson"] > 0.9
    score = pipeline(model=result.folder)
    alike, unlike = score([(GOOD[0], GOOD[1]), (GOOD[0], BAD[1])])
    assert isinstance(alike, Estimate)
    assert alike.score > 3.5 > 2.5 > unlike.score


def test_tags_of_words_are_learned_in_windows_too(base: Path, tmp_path: Path) -> None:
    kinds = {"good": "B-UP", "lovely": "B-UP", "happy": "B-UP", "bad": "B-DOWN", "nasty": "B-DOWN", "sad": "B-DOWN"}
    sentences = [text.split() for text in GOOD + BAD]
    sentences.append([word for words in sentences for word in words])  # longer than the model takes
    rows = [{"words": words, "ner": [kinds.get(word, "O") for word in words]} for words in sentences]
    data = tmp_path / "tags.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    events: list[Event] = []
    changes = {"task": "token-classification", "text_column": "words", "label_column": "ner", "header": True}
    result = finetune(settings(base, data, **changes), on_event=events.append)
    notes = [event.message for event in events if isinstance(event, Notice)]
    assert "the 3 tags are read as IOB2; types of entities: DOWN, UP" in notes
    assert "1 of 11 training texts are longer than 16 tokens and are read in windows" in notes
    assert isinstance(result.metrics, TokenClassificationMetrics)
    assert result.metrics.main > 0.95
    assert result.metrics.words == sum(map(len, sentences))
    assert read_json(result.folder / "training.json")["evaluations"][-1]["types"]["UP"]["support"] == 18
    tag = pipeline(model=result.folder)
    assert tag.task == result.task
    answer = tag(f"{GOOD[1]}  {BAD[1]}")
    assert isinstance(answer, TaggedSentence)
    places = [(one.type, one.text, one.start, one.end) for one in answer.entities]
    assert places == [("UP", "lovely", 0, 6), ("UP", "lovely", 16, 22), ("DOWN", "nasty", 31, 36)]


def test_a_scheme_that_is_set_is_kept(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "tags.tsv"
    data.write_text("tokens\ttags\ngood day\tI-UP O\nbad day\tO O\n", encoding="utf-8")
    changes = {"task": "token-classification", "text_column": None, "label_column": None, "header": True}
    result = finetune(settings(base, data, options={"scheme": "BIO"}, epochs=1, **changes))
    assert isinstance(result.task, TokenClassification)
    assert result.task.scheme == "IOB2"
    assert pipeline(model=result.folder).task == result.task


def test_the_right_choice_is_learned(base: Path, tmp_path: Path) -> None:
    rows = [
        {"ask": "good", "one": good, "two": bad, "right": 0}
        if turn
        else {"ask": "good", "one": bad, "two": good, "right": 1}
        for good, bad, turn in zip(GOOD, BAD, (True, False, True, False, True), strict=True)
    ]
    data = tmp_path / "choices.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes = {
        "task": "multiple-choice",
        "text_column": "ask",
        "label_column": "right",
        "columns": {"choices": ["one", "two"]},
        "header": True,
    }
    result = finetune(settings(base, data, **changes))
    assert result.metrics is not None
    assert result.metrics.to_dict() == {"accuracy": 1.0, "chance": 0.5, "examples": 5}
    answer = pipeline(model=result.folder)({"question": "good", "choices": ["sad day", "bad day", "lovely day"]})
    assert isinstance(answer, Choice)
    assert answer.text == "lovely day"


def test_settings_that_a_task_does_not_have_are_refused(base: Path, data: Path) -> None:
    for changes, message in (
        ({"options": {"scheme": "IOB2"}}, "text-classification has no option 'scheme'; it has ignore"),
        (
            {"columns": {"tokens": "x"}},
            "no use for a tokens column; it reads text, pair, label",
        ),
        ({"task": "multiple-choice", "pair_column": "x"}, "multiple-choice has no use for a pair column"),
    ):
        with pytest.raises(ConfigError, match=message):
            finetune(settings(base, data, **changes))


def told(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_the_best_weights_are_kept_with_their_thresholds_and_training_stops(base: Path, data: Path) -> None:
    events: list[Event] = []
    wanted = settings(base, data, epochs=40, metric="f1.good", patience=3, seed=1)
    result = finetune(wanted, on_event=events.append)
    figures = [one.metrics.to_dict()["f1"]["good"] for one in result.evaluations]
    assert len(figures) < 40
    best = figures.index(max(figures))
    assert len(figures) == best + 1 + 3
    assert result.saved is result.evaluations[best]
    assert [one.best for one in result.evaluations][best:] == [True, False, False, False]
    assert "stopped: f1.good was no better for 3 evaluations, patience is over" in told(events)
    assert any(message.startswith(f"kept: step {result.saved.step}, the best with f1.good") for message in told(events))
    # The folder holds those weights.
    _, metrics = measured(result.folder, data)
    assert metrics == result.saved.metrics == result.metrics
    report = read_json(result.folder / "training.json")
    assert report["saved"] == {"step": result.saved.step, "epoch": result.saved.epoch, "why": "the best f1.good"}


def measured(folder: Path, data: Path) -> tuple[list[Any], ClassificationMetrics]:
    classify = pipeline(model=folder)
    examples = list(read_examples(classify.task, data, ReadingSettings(header=False)))
    metrics, answers = classify.evaluate(examples)
    return answers, metrics


def test_without_a_wish_the_last_weights_are_kept(base: Path, data: Path) -> None:
    result = finetune(settings(base, data, epochs=3))
    assert result.saved is result.evaluations[-1]
    assert measured(result.folder, data)[1] == result.metrics
    assert read_json(result.folder / "training.json")["saved"]["why"] == "the last"


def test_a_metric_that_is_none_is_named(base: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"'f2' is none of the figures that are measured: accuracy, macro_f1, "):
        finetune(settings(base, data, metric="f2", epochs=1))


def test_parts_are_drawn_and_the_test_part_is_measured_once(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    rows = [f"{text},{label}" for label, texts in (("good", GOOD), ("bad", BAD)) for text in texts * 8]
    file.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    events: list[Event] = []
    changes = {"text_column": None, "label_column": None, "header": True, "validation": None, "epochs": 2}
    wanted = settings(base, file, validation_share=0.2, test_share=0.2, **changes)
    result = finetune(wanted, on_event=events.append)
    report = read_json(result.folder / "training.json")
    counts = {name: part["examples"] for name, part in report["data"].items()}
    assert sum(counts.values()) == 80
    assert f"examples drawn by chance (seed 0): {counts['training']} for training, " in told(events)[0]
    assert result.test is not None
    assert result.test is result.metrics
    assert result.test.to_dict()["examples"] == counts["test"]
    assert report["test"]["examples"] == counts["test"]
    assert report["data"]["test"]["sha256"] == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert result.evaluations[0].metrics.to_dict()["examples"] == counts["validation"]


def test_data_sets_in_memory(base: Path, data: Path) -> None:
    class DataSet(list[dict[str, Any]]):
        """What the library `datasets` gives: class numbers, whose names its features know."""

        features: ClassVar = {"label": type("ClassLabel", (), {"names": ["bad", "good"]})()}

    rows = DataSet({"text": text, "label": int(text in GOOD)} for text in GOOD + BAD)
    wanted = FinetuneSettings(train=rows, validation=rows, model=base, out=base.parent / "out", epochs=2)
    result = finetune(wanted)
    assert isinstance(result.metrics, ClassificationMetrics)
    assert result.metrics.labels == ("bad", "good")
    assert read_json(result.folder / "training.json")["settings"]["train"] == "<DataSet>"


def test_weights_of_classes_do_not_depend_on_the_token_budget(base: Path, data: Path) -> None:
    changes = {"epochs": 1, "batch_size": 10, "class_weights": {"good": 3.0}}
    one = finetune(settings(base, data, **changes))
    other = finetune(settings(base, data, **changes, token_budget=5, out=base.parent / "other"))
    assert other.history[0].loss == pytest.approx(one.history[0].loss, abs=1e-6)
    plain = finetune(settings(base, data, epochs=1, batch_size=10, out=base.parent / "plain"))
    assert abs(plain.history[0].loss - one.history[0].loss) > 1e-3


def test_balanced_classes_count_the_same(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "skew.csv"
    rows = [f"{text},good" for text in GOOD * 9] + [f"{BAD[0]},bad"]
    file.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    changes = {"text_column": None, "label_column": None, "header": True, "validation": None, "epochs": 1}
    given = {"good": 46 / (2 * 45), "bad": 46 / 2}
    losses = [
        finetune(settings(base, file, class_weights=weights, out=base.parent / f"o{n}", **changes)).history[0].loss
        for n, weights in enumerate(("balanced", given))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_smoothed_labels_are_learned_less_surely(base: Path, data: Path) -> None:
    sharp = finetune(settings(base, data))
    smooth = finetune(settings(base, data, label_smoothing=0.4, out=base.parent / "smooth"))
    scores = [[answer.score for answer in pipeline(model=result.folder)(GOOD + BAD)] for result in (sharp, smooth)]
    assert min(scores[0]) > max(scores[1])


def test_choices_of_the_loss_that_a_task_does_not_have_are_refused(base: Path, data: Path) -> None:
    for changes, message in (
        ({"task": "regression", "label_smoothing": 0.1}, "regression has no use for label_smoothing"),
        ({"task": "multiple-choice", "class_weights": "balanced"}, "multiple-choice has no use for class_weights"),
        ({"class_weights": {"nice": 2.0}}, "class_weights names 'nice'; the classes are bad, good"),
    ):
        with pytest.raises(ConfigError, match=message):
            finetune(settings(base, data, **changes))


def test_bad_records_are_skipped_and_told(base: Path, data: Path) -> None:
    with data.open("a", encoding="utf-8") as file:
        file.write("\tgood\nhappy food\t\n")
    events: list[Event] = []
    result = finetune(settings(base, data, validation=None, skip_bad=True, epochs=1), on_event=events.append)
    assert "2 bad records skipped:" in told(events)
    assert any(message.strip().endswith("train.tsv:11: the text is empty") for message in told(events))
    report = read_json(result.folder / "training.json")
    assert report["data"]["training"] | {"files": [], "sha256": []} == {
        "files": [],
        "sha256": [],
        "examples": 10,
        "skipped": 2,
    }


def test_options_belong_to_the_task_that_is_given(base: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"options is .*, but the task is given"):
        finetune(settings(base, data, options={"scheme": "IOB1"}), task=TokenClassification())


def test_a_run_of_settings_from_a_file_is_the_same_run(base: Path, data: Path) -> None:
    first = finetune(settings(base, data, epochs=2))
    again = FinetuneSettings.read(first.folder / "settings.yaml", out=base.parent / "again")
    paths: dict[str, Any] = {"train": str(data), "validation": str(data), "model": str(base)}
    assert again == settings(base, data, epochs=2, out=base.parent / "again", **paths)
    second = finetune(again)
    one, other = ((result.folder / "model.safetensors").read_bytes() for result in (first, second))
    assert one == other


def test_a_place_for_tensorboard_inside_the_result_is_refused_before_training(base: Path, data: Path) -> None:
    for place in ("out", "out/runs"):
        with pytest.raises(ConfigError, match=r"tensorboard is .*, inside .*; take a folder beside it"):
            finetune(settings(base, data, tensorboard=base.parent / place))
    pytest.importorskip("tensorboard")
    finetune(settings(base, data, tensorboard=base.parent / "runs", epochs=1))
    assert any((base.parent / "runs").iterdir())


def test_a_metric_is_tried_before_training(base: Path, data: Path) -> None:
    events: list[Event] = []
    with pytest.raises(ConfigError, match="'nope' is none of the figures"):
        finetune(settings(base, data, metric="nope"), on_event=events.append)
    assert not any(isinstance(event, Step) for event in events)


@pytest.mark.parametrize("kind", ["UP", "DOWN"])
def test_a_figure_of_a_class_that_only_later_examples_have_may_be_the_metric(
    base: Path, tmp_path: Path, kind: str
) -> None:
    # The first sentences are all the same, so that an untrained model, too, finds one kind in them at most.
    sentences = ["good\tO\n"] * 40 + ["bad\tB-DOWN\n", "happy\tB-UP\n"]
    file = tmp_path / "late.conll"
    file.write_text("\n".join(sentences), encoding="utf-8")
    changes = {"task": "token-classification", "text_column": None, "label_column": None, "header": True, "epochs": 1}
    result = finetune(settings(base, file, validation=file, metric=f"types.{kind}.f1", **changes))
    assert result.saved is not None
    assert result.saved.name == f"types.{kind}.f1"


def test_a_wish_to_stop_that_comes_with_a_notice_waits_for_the_first_step(base: Path, data: Path) -> None:
    def stop(event: Event) -> None:
        raise StopTraining

    result = finetune(settings(base, data), on_event=stop)
    assert len(result.history) == 1
    assert result.saved is result.evaluations[0]


def test_what_is_no_settings_task_or_callback_is_named(base: Path, data: Path) -> None:
    given = settings(base, data, epochs=1)
    calls: list[tuple[dict[str, Any], str]] = [
        ({"settings": "settings.yaml"}, r"settings is of type str, expected FinetuneSettings\(…\)"),
        ({"settings": given, "task": "regression"}, "task is of type str, expected an instance of a task"),
        ({"settings": given, "task": TextClassification}, "task is the class TextClassification, expected an instance"),
        ({"settings": given, "on_event": 3}, "on_event is of type int, expected a function"),
    ]
    for arguments, message in calls:
        with pytest.raises(ConfigError, match=message):
            finetune(**arguments)


def own(**parts: Any) -> TextClassification:
    made: TextClassification = type("Own", (TextClassification,), {"__module__": __name__, **parts})()
    return made


def test_a_task_of_ones_own_that_is_wrong_is_told_what_is_expected(base: Path, data: Path) -> None:
    cases: list[tuple[TextClassification, type[Exception], str]] = [
        (own(loss=lambda self, model, batch: 1.0), TrainingError, "the loss is of type float, expected a torch.Tensor"),
        (own(loss=lambda self, model, batch: model(**batch).logits), TrainingError, r"the loss has shape \(4, 2\)"),
        (
            own(loss=lambda self, model, batch: model(**batch).loss.detach()),
            TrainingError,
            "does not depend on weights",
        ),
        (
            own(measure=lambda self, examples, results: {}),
            TrainingError,
            r"Own\.measure gives dict, expected a dataclass",
        ),
        (
            own(model_class=torch.nn.Linear),
            ConfigError,
            r"Own\.model_class is .*Linear.*, expected a model of glassbert",
        ),
    ]
    for task, kind, message in cases:
        with pytest.raises(kind, match=message):
            finetune(settings(base, data, epochs=1), task=task)


def test_a_task_of_ones_own_is_named_in_what_it_leaves(base: Path, data: Path) -> None:
    folder = finetune(settings(base, data, epochs=1, task="regression"), task=own()).folder
    assert (
        "# This run had a task of its own, tests.train.test_finetuning.Own, " in (folder / "settings.yaml").read_text()
    )
    report = read_json(folder / "training.json")
    assert report["own_task"].endswith(".Own")
    # The name of the task is that of what was trained.
    assert report["settings"]["task"] == report["task"] == "text-classification"


def test_many_classes_are_written_by_their_confusions_alone(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    file.write_text("text,label\n" + "".join(f"good day,c{n}\nbad day,c{n}\n" for n in range(120)), encoding="utf-8")
    changes = {"text_column": None, "label_column": None, "header": True, "validation": file, "epochs": 1}
    folder = finetune(settings(base, file, **changes)).folder
    assert not (folder / "confusion_matrix.png").exists()
    (last,) = read_json(folder / "training.json")["evaluations"]
    assert "confusion" not in last
    assert sum(count for _, _, count in last["confusions"]) == 240 - round(240 * last["accuracy"])
    assert (folder / "report.html").stat().st_size < 300_000


def test_runs_in_threads_are_each_as_if_alone(base: Path, data: Path) -> None:
    config = read_json(base / "config.json") | {"hidden_dropout_prob": 0.3}
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    given = [settings(base, data, epochs=2, out=base.parent / name) for name in ("a", "b", "c")]
    expected = finetune(settings(base, data, epochs=2, out=base.parent / "alone")).folder
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(finetune, given))
    files = {(result.folder / "model.safetensors").read_bytes() for result in results}
    assert files == {(expected / "model.safetensors").read_bytes()}


def test_validation_data_that_is_the_training_data_is_told(base: Path, data: Path) -> None:
    events: list[Event] = []
    finetune(settings(base, data, epochs=1), on_event=events.append)
    assert "the validation data holds a file of the training data; its figures say little" in told(events)


def test_one_column_is_not_two_roles(base: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="the column '0' is given for text and for label"):
        finetune(settings(base, data, label_column="0"))


def test_a_share_that_leaves_nothing_is_named(base: Path, data: Path) -> None:
    with pytest.raises(DataError, match=r"a share of 0\.01 of 10 examples left none for validation"):
        finetune(settings(base, data, validation=None, validation_share=0.01))
