"""The recipe: files in, a model folder out, and nothing lost when that fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
    finetune,
    learn_vocabulary,
    load,
    pipeline,
)
from glassbert.files import read_json
from glassbert.tasks import (
    Choice,
    ClassificationMetrics,
    Estimate,
    MultiLabel,
    MultiLabelClassification,
    TaggedSentence,
    TokenClassification,
    TokenClassificationMetrics,
)
from glassbert.train import Event, Notice, Step

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
        ({"options": {"scheme": "IOB2"}}, "text-classification has no option 'scheme'; it has none"),
        (
            {"columns": {"tokens": "x"}},
            "no use for a tokens column; it reads text, pair, label",
        ),
        ({"task": "multiple-choice", "pair_column": "x"}, "multiple-choice has no use for a pair column"),
    ):
        with pytest.raises(ConfigError, match=message):
            finetune(settings(base, data, **changes))
