"""Pretraining on shards: its losses, its figures, what it learns, how it goes on, and what it leaves behind."""

from __future__ import annotations

import math
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional

import glassbert
from glassbert import (
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    ConfigError,
    DataError,
    FinetuneSettings,
    OutputExistsError,
    finetune,
    learn_vocabulary,
)
from glassbert.data.preparing import masking_of
from glassbert.data.shards import Shards
from glassbert.files import read_json
from glassbert.settings import PretrainSettings
from glassbert.train import Evaluation, Event, Notice, PretrainingMetrics, Step, StopTraining, TrainingResult, pretrain
from glassbert.train.interruption import Interruption
from glassbert.train.pretraining import pretraining_loss
from glassbert.train.reading import Phase, Reader, Visit
from tests.train.runs import make, make_model, make_shards, outcome, pretraining_settings

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bare model, and shards of all kinds."""
    folder = tmp_path_factory.mktemp("place")
    make(folder)
    make_shards(folder, max_length=12)
    make_shards(folder, "longer", seed=1)
    for objective in ("mlm", "sop"):
        make_shards(folder, objective, objective=objective)
    make_shards(folder, "static", static_masks=True, copies=2)
    make_shards(folder, "none", held_out=0.0)
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> TrainingResult:
    """Return what a short run has given, in the folder `trained`."""
    return pretrain(settings(place, "trained", steps=6))


def settings(place: Path, out: str | Path, **changes: Any) -> PretrainSettings:
    """Return settings of a run with one folder of shards."""
    values = {"shards": place / "shards", "model": place / "base", "out": place / out, "steps": 8, "batch_size": 8}
    return PretrainSettings(**{**values, "learning_rate": 5e-3, "evaluate_every": 3, **changes})


def told_by(changes: PretrainSettings) -> tuple[TrainingResult, list[Event]]:
    told: list[Event] = []
    return pretrain(changes, on_event=told.append), told


def messages(told: list[Event]) -> list[str]:
    return [event.message for event in told if isinstance(event, Notice)]


def reader_of(sequences: Any, shards: Shards, **changes: Any) -> tuple[Reader, list[Visit]]:
    masking = masking_of(shards.tokenizer(), None, None, False)
    read = Reader([Phase(sequences, 1)], masking, 0, **changes)
    lengths = sequences.lengths(range(len(sequences)))
    return read, [Visit(0, number, 0, length) for number, length in enumerate(lengths)]


# -- the loss --


@pytest.mark.parametrize("name", ["shards", "sop", "static", "mlm"])
def test_the_parts_of_the_loss_are_those_of_the_full_projection(place: Path, name: str) -> None:
    shards = Shards(place / name)
    read, visits = reader_of(shards.training, shards)
    batch = read(visits[:12])
    kind = BertForMaskedLM if name == "mlm" else BertForPreTraining
    torch.manual_seed(0)
    model = kind(BertModel.from_pretrained(place / "base").config).eval()
    found = pretraining_loss(model, batch)
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "next_sentence_label")}
    with torch.no_grad():
        output = model(**inputs)
    scores = output.logits if name == "mlm" else output.prediction_logits
    guessed = batch["labels"] != -100
    words = batch["labels"][guessed]
    logarithms = scores[guessed].log_softmax(dim=-1)
    expected = {
        "masked_lm_loss": -logarithms[range(len(words)), words].mean(),
        "masked_lm_accuracy": (scores[guessed].argmax(dim=-1) == words).double().mean(),
    }
    if name != "mlm":
        pairs, labels = output.seq_relationship_logits, batch["next_sentence_label"]
        expected["next_sentence_loss"] = functional.cross_entropy(pairs, labels)
        expected["next_sentence_accuracy"] = (pairs.argmax(dim=-1) == labels).double().mean()
    assert list(found) == list(expected)
    for part, value in expected.items():
        assert found[part].item() == pytest.approx(float(value), abs=1e-6)
        assert found[part].requires_grad == part.endswith("loss")


def test_what_is_computed_at_once_changes_nothing(place: Path) -> None:
    usual = {"model_config": NO_DROPOUT, "steps": 5, "batch_size": 12}
    results = [
        pretrain(settings(place, f"at-once-{number}", **{**usual, **changes}))
        for number, changes in enumerate([{}, {"token_budget": 30}, {"batch_size": 4, "accumulation": 3}])
    ]
    for result in results[1:]:
        for one, other in zip(result.history, results[0].history, strict=True):
            assert one.loss == pytest.approx(other.loss, abs=1e-6)
            assert one.figures == pytest.approx(other.figures, abs=1e-6)
            assert one.grad_norm == pytest.approx(other.grad_norm, abs=1e-5)
        assert result.metrics is not None
        assert results[0].metrics is not None
        assert result.metrics.figures() == pytest.approx(results[0].metrics.figures(), abs=1e-5)


def test_the_loss_of_a_step_is_the_sum_of_both(trained: TrainingResult) -> None:
    for step in trained.history:
        parts = step.figures
        assert step.loss == pytest.approx(parts["masked_lm_loss"] + parts["next_sentence_loss"], abs=1e-6)
        assert 0.0 <= parts["masked_lm_accuracy"] <= 1.0
        assert 0.0 <= parts["next_sentence_accuracy"] <= 1.0


# -- figures on held-out text --


@pytest.mark.parametrize("name", ["shards", "sop", "static", "mlm"])
def test_figures_are_those_of_a_plain_computation(place: Path, tmp_path: Path, name: str) -> None:
    changes = {"shards": place / name, "steps": 3, "token_budget": 50}
    metrics = pretrain(settings(place, tmp_path / "out", **changes)).metrics
    assert isinstance(metrics, PretrainingMetrics)
    shards = Shards(place / name)
    read, visits = reader_of(shards.held_out, shards, measuring=True)
    model = glassbert.load(tmp_path / "out")
    losses: list[float] = []
    hits: list[bool] = []
    pair_losses: list[float] = []
    pair_hits: list[bool] = []
    words: Counter[int] = Counter()
    for visit in visits:
        batch = read([visit])
        with torch.no_grad():
            output = model(**{key: value for key, value in batch.items() if "label" not in key})
        scores = output.logits if name == "mlm" else output.prediction_logits
        for place_of, label in enumerate(batch["labels"][0].tolist()):
            if label != -100:
                words[label] += 1
                losses.append(-float(scores[0, place_of].log_softmax(dim=-1)[label]))
                hits.append(int(scores[0, place_of].argmax()) == label)
        if name != "mlm":
            label = int(batch["next_sentence_label"][0])
            pair_losses.append(-float(output.seq_relationship_logits[0].log_softmax(dim=-1)[label]))
            pair_hits.append(int(output.seq_relationship_logits[0].argmax()) == label)
    entropy = -sum(count / len(losses) * math.log(count / len(losses)) for count in words.values())
    assert metrics.words == len(losses)
    assert metrics.examples == len(visits)
    assert metrics.masked_lm_loss == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert metrics.masked_lm_accuracy == pytest.approx(sum(hits) / len(hits), abs=1e-6)
    assert metrics.unigram_entropy == pytest.approx(entropy, abs=1e-9)
    if name == "mlm":
        assert metrics.next_sentence_loss is metrics.next_sentence_accuracy is metrics.next_sentence_chance is None
        assert metrics.loss == metrics.masked_lm_loss
        return
    labels = [int(label) for label in shards.held_out.rows(range(len(visits))).labels]  # type: ignore[union-attr]
    assert metrics.next_sentence_loss == pytest.approx(sum(pair_losses) / len(visits), abs=1e-5)
    assert metrics.next_sentence_accuracy == pytest.approx(sum(pair_hits) / len(visits), abs=1e-6)
    assert metrics.next_sentence_chance == max(labels.count(0), labels.count(1)) / len(labels)
    assert metrics.loss == metrics.masked_lm_loss + (metrics.next_sentence_loss or 0.0)


def test_held_out_text_is_measured_up_to_a_number(place: Path, tmp_path: Path) -> None:
    result, _ = told_by(settings(place, tmp_path / "some", held_out_sequences=3, steps=1))
    assert result.metrics is not None
    assert result.metrics.to_dict()["examples"] == 3


def test_other_shards_may_be_measured_on(place: Path, tmp_path: Path) -> None:
    shards = Shards(place / "longer")
    result, told = told_by(settings(place, tmp_path / "other", validation=place / "longer", steps=1))
    assert result.metrics is not None
    assert result.metrics.to_dict()["examples"] == len(shards.training)
    assert not any("say little" in message for message in messages(told))
    _, told = told_by(settings(place, tmp_path / "same", validation=place / "shards", steps=1))
    assert "the validation shards are among those of the training; their figures say little" in messages(told)


def test_without_held_out_text_there_are_no_figures(place: Path, tmp_path: Path) -> None:
    result, told = told_by(settings(place, tmp_path / "out", shards=place / "none", steps=2, evaluate_every=None))
    assert result.metrics is None
    assert "nothing is held out: no figures but those of the training itself" in messages(told)
    assert "It was not evaluated." in (tmp_path / "out" / "README.md").read_text()
    for name, value in {"keep": "best", "metric": "loss", "patience": 2, "evaluate_every": 1}.items():
        changes = {"shards": place / "none", "evaluate_every": None, name: value}
        with pytest.raises(ConfigError, match=f"^{name} is .*holds nothing out; give validation"):
            pretrain(settings(place, tmp_path / "no", **changes))


@pytest.mark.parametrize(("name", "metric"), [("shards", "foo"), ("mlm", "next_sentence_loss")])
def test_a_metric_that_does_not_exist_is_refused_before_the_training(place: Path, name: str, metric: str) -> None:
    told: list[Event] = []
    with pytest.raises(ConfigError, match=f"'{metric}' is none of the figures"):
        pretrain(settings(place, "no", shards=place / name, metric=metric), on_event=told.append)
    assert told == []


def test_the_lowest_loss_is_the_best_and_patience_waits_for_it(place: Path, tmp_path: Path) -> None:
    # With such a rate it becomes worse.
    changes = {"steps": 12, "evaluate_every": 1, "patience": 3, "learning_rate": 0.5, "schedule": "constant"}
    result, told = told_by(settings(place, tmp_path / "out", **changes))
    losses = [one.metrics.figure("loss") for one in told if isinstance(one, Evaluation)]
    assert result.saved is not None
    assert result.metrics is not None
    assert result.metrics.figure("loss") == min(losses)
    assert len(losses) == result.saved.step + 3 < 12
    assert any("loss was no better for 3 evaluations" in message for message in messages(told))
    # Accuracy is better where there is more of it.
    changes = {"steps": 6, "evaluate_every": 1, "metric": "masked_lm_accuracy", "keep": "best"}
    result, told = told_by(settings(place, tmp_path / "accuracy", **changes))
    shares = [one.metrics.figure("masked_lm_accuracy") for one in told if isinstance(one, Evaluation)]
    assert result.saved is not None
    assert result.saved.value == max(shares)


def test_who_listens_may_end_the_training(place: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 4:
            raise StopTraining

    result = pretrain(settings(place, tmp_path / "out"), on_event=stop)
    assert [one.step for one in result.evaluations] == [3, 4]
    assert len(result.history) == 4


# -- what is learned --


def test_it_learns_what_follows_what_and_what_belongs_together(tmp_path: Path) -> None:
    chance = random.Random(0)
    topics = [[first + second for first in "bdfgk" for second in vowels] for vowels in ("ae", "io")]
    lines = []
    for document in range(240):
        # Each word has one that follows it, so a word that is hidden is known from its neighbours.
        topic, place = topics[document % 2], chance.randrange(10)
        for _ in range(5):
            words = chance.randint(4, 7)
            lines.append(" ".join(topic[(place + 3 * step) % len(topic)] for step in range(words)))
            place += 3 * words
        lines.append("")
    vocabulary = learn_vocabulary(lines, size=60, min_frequency=1)
    make_model(tmp_path)
    BertTokenizer(vocabulary).save_pretrained(tmp_path / "vocab")
    make_shards(tmp_path, texts=lines, vocab=tmp_path / "vocab")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, **NO_DROPOUT}
    result = pretrain(
        PretrainSettings(
            shards=tmp_path / "shards",
            preset="tiny",
            model_config={**sizes, "max_position_embeddings": 16, "initializer_range": 0.1},
            out=tmp_path / "out",
            steps=300,
            batch_size=32,
            learning_rate=3e-3,
            warmup=0.1,
        )
    )
    assert isinstance(metrics := result.metrics, PretrainingMetrics)
    assert metrics.next_sentence_accuracy is not None
    assert metrics.next_sentence_chance is not None
    assert metrics.unigram_entropy > 2.5
    assert metrics.masked_lm_loss < 0.3 * metrics.unigram_entropy
    assert metrics.masked_lm_accuracy > 0.8
    assert metrics.next_sentence_accuracy > metrics.next_sentence_chance + 0.1
    assert result.history[-1].figures["masked_lm_loss"] < 0.5 * result.history[0].figures["masked_lm_loss"]


# -- going on --


def test_an_interrupted_run_ends_as_the_undisturbed_one(place: Path) -> None:
    values = pretraining_settings(place, "whole")
    pretrain(PretrainSettings(**values))
    cut = PretrainSettings(**{**values, "out": place / "cut", "resume": True})
    # In the first phase, at its last step, where an evaluation is due, in the second phase.
    for last in (4, 9, 18, 20):

        def on_event(event: Event, last: int = last) -> None:
            if isinstance(event, Step) and event.step == last:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            pretrain(cut, on_event=on_event)
        assert (place / "cut-checkpoints" / f"step-{last:08d}").is_dir()
        assert not (place / "cut").exists()
    result, told = told_by(cut)
    assert any("20 of 24 steps are made" in message for message in messages(told))
    assert outcome(place / "cut") == outcome(place / "whole")
    assert len(result.history) == 24
    assert not (place / "cut-checkpoints").exists()


def test_an_evaluation_that_is_given_up_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"steps": 12, "keep": "best", "evaluate_every": 2, "token_budget": 64}
    pretrain(settings(place, "undisturbed", **changes))
    for calls in (4, 2, 6, 1, 5, 3):  # in steps, and in evaluations
        count = 0
        check = Interruption.check

        def counted(self: Interruption, calls: int = calls, check: Any = check) -> None:
            nonlocal count
            count += 1
            if count == calls:
                self.note(signal.SIGINT)
            check(self)

        monkeypatch.setattr(Interruption, "check", counted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(settings(place, "given-up", resume=True, check=False, **changes))
        monkeypatch.undo()
    pretrain(settings(place, "given-up", resume=True, **changes))
    assert outcome(place / "given-up") == outcome(place / "undisturbed")


def test_files_need_not_all_be_read_before_somebody_ends_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[int] = []

    def check(self: Shards, tell: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        tell(1, 2)
        reached.append(1)

    monkeypatch.setattr(Shards, "check", check)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings(place, "no"))
    assert not reached


class Cut(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 3}, "seed was 0 and is now 3"),
        ({"steps": 9}, "steps was 8 and is now 9"),
        ({"masked_share": 0.3}, r"masked_share was None and is now 0\.3"),
        ({"held_out_sequences": 3}, "held_out_sequences was 1000 and is now 3"),
        ({"model_config": NO_DROPOUT}, "model_config"),
        ({"shards": "longer"}, r"data\.shards was"),
        ({"validation": "longer"}, r"data\.held-out was"),
    ],
)
def test_another_run_is_refused_by_what_differs(place: Path, changes: dict[str, Any], named: str) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, Step) and event.step == 5:
            raise Cut

    if not (place / "other-checkpoints").exists():
        with pytest.raises(Cut):
            pretrain(settings(place, "other", save_every=2), on_event=cut)
        with pytest.raises(OutputExistsError, match="checkpoint of step 4; resume=True"):
            pretrain(settings(place, "other"))
    for name in {"shards", "validation"} & changes.keys():
        changes = {**changes, name: place / changes[name]}
    with pytest.raises(ConfigError, match=f"step-00000004 is of another run: .*{named}") as caught:
        pretrain(settings(place, "other", resume=True, **changes))
    assert "\n" not in str(caught.value)


def test_settings_that_are_written_repeat_the_run(place: Path, tmp_path: Path, trained: TrainingResult) -> None:
    again = PretrainSettings.read(place / "trained" / "settings.yaml", out=tmp_path / "again")
    pretrain(again)
    assert outcome(tmp_path / "again") == outcome(place / "trained")


# -- other models --


def test_a_model_is_gone_on_with_as_it_is(place: Path, tmp_path: Path, trained: TrainingResult) -> None:
    # In the first step the rate is 0.
    changes = {"model": place / "trained", "steps": 2, "warmup": 0.5, "evaluate_every": 1}
    result, told = told_by(settings(place, tmp_path / "out", **changes))
    assert trained.metrics is not None
    first = result.evaluations[0].metrics.figures()
    assert first == pytest.approx(trained.metrics.figures(), abs=1e-6)
    assert not any("new, with random weights" in message for message in messages(told))


def test_heads_that_a_folder_lacks_are_new_and_said(place: Path, tmp_path: Path) -> None:
    _, told = told_by(settings(place, tmp_path / "bare", steps=1))
    (line,) = [message for message in messages(told) if message.startswith("new, with random weights")]
    assert "cls.predictions.transform.dense.weight" in line
    assert "cls.seq_relationship.weight" in line
    assert "bert." not in line
    words = pretrain(settings(place, tmp_path / "words", shards=place / "mlm", steps=4))
    _, told = told_by(settings(place, tmp_path / "pairs", model=tmp_path / "words", steps=2, warmup=0.5))
    (line,) = [message for message in messages(told) if message.startswith("new, with random weights")]
    names = {name.strip() for name in line.removeprefix("new, with random weights:").split(",")}
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert names == {*pooler, "cls.seq_relationship.weight", "cls.seq_relationship.bias"}
    # And back: what is of pairs is left out.
    changes = {"shards": place / "mlm", "model": tmp_path / "pairs", "steps": 2, "warmup": 0.5, "evaluate_every": 1}
    _, told = told_by(settings(place, tmp_path / "back", **changes))
    assert not any("new, with random weights" in message for message in messages(told))
    assert words.metrics is not None
    kinds = [type(glassbert.load(tmp_path / name)) for name in ("words", "pairs", "back")]
    assert kinds == [BertForMaskedLM, BertForPreTraining, BertForMaskedLM]


def test_a_tokenizer_that_reads_otherwise_is_said(place: Path, tmp_path: Path) -> None:
    make(tmp_path)
    tokenizer = BertTokenizer.from_pretrained(place / "base")
    BertTokenizer(tokenizer.get_vocab(), do_lower_case=False).save_pretrained(tmp_path / "base", overwrite=True)
    _, told = told_by(settings(place, tmp_path / "out", model=tmp_path / "base", steps=1))
    (line,) = [message for message in messages(told) if "do_lower_case" in message]
    assert line == "do_lower_case was False in base; the shards were prepared with True, which is kept"
    assert BertTokenizer.from_pretrained(tmp_path / "out").do_lower_case


def test_sizes_of_a_new_model_are_those_of_its_shards(place: Path, tmp_path: Path) -> None:
    changes = {"model": None, "preset": "tiny", "model_config": {"num_hidden_layers": 1}, "steps": 1}
    pretrain(settings(place, tmp_path / "out", **changes))
    model = glassbert.load(tmp_path / "out")
    tokenizer = BertTokenizer.from_pretrained(tmp_path / "out")
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.max_position_embeddings) == (128, 1, 512)
    assert (config.vocab_size, config.pad_token_id) == (len(tokenizer), tokenizer.pad_token_id)
    assert tokenizer.model_max_length == 512


def test_the_word_that_fills_up_is_that_of_the_vocabulary(place: Path, tmp_path: Path) -> None:
    tokens = list(BertTokenizer.from_pretrained(place / "base").get_vocab())
    assert tokens[0] == "[PAD]"
    BertTokenizer({token: place for place, token in enumerate([*tokens[1:], "[PAD]"])}).save_pretrained(
        tmp_path / "base"
    )
    make_shards(tmp_path)
    pretrain(settings(tmp_path, "out", model=None, preset="tiny", steps=1))
    assert glassbert.load(tmp_path / "out").config.pad_token_id == len(tokens) - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_sise": 8}, r"model_config has no setting 'hidden_sise'; did you mean 'hidden_size'\?"),
        ({"hidden_dropout_prob": 2}, "hidden_dropout_prob is 2, expected"),
        ({"vocab_size": 9}, "the model has rows for 9"),
        ({"max_position_embeddings": 8}, "sequences of up to 12 tokens, but the model takes 8"),
        ({"type_vocab_size": 1}, "type_vocab_size is 1, but the shards have pairs"),
        ({"is_decoder": True}, "is_decoder is true, but masked words are guessed from both sides"),
    ],
)
@pytest.mark.parametrize("given", ["preset", "model"])
def test_a_config_that_cannot_be_is_refused(place: Path, changes: dict[str, Any], message: str, given: str) -> None:
    of = {"preset": "tiny", "model": None} if given == "preset" else {}
    told: list[Event] = []
    with pytest.raises(ConfigError, match=message):
        pretrain(settings(place, "no", model_config=changes, **of), on_event=told.append)
    assert told == []
    assert not (place / "no").exists()


def test_a_config_may_ask_for_other_output(place: Path, tmp_path: Path) -> None:
    changes = {"return_dict": False, "torchscript": True, "output_hidden_states": True}
    assert len(pretrain(settings(place, tmp_path / "out", model_config=changes, steps=2)).history) == 2


# -- shards that do not fit --


def test_shards_of_another_objective_are_refused(place: Path) -> None:
    given: dict[str, dict[str, Any]] = {
        "sop": {"validation": place / "sop"},
        "mlm": {"validation": place / "mlm"},
        "longer": {"shards": [place / "sop", place / "longer"]},
    }
    for name, changes in given.items():
        with pytest.raises(ConfigError, match=f"{name} was prepared for .*; one model learns one of them"):
            pretrain(settings(place, "no", **changes))


def test_shards_of_another_vocabulary_are_refused(place: Path, tmp_path: Path) -> None:
    make_model(tmp_path)
    BertTokenizer(learn_vocabulary(["good people"], size=40, min_frequency=1)).save_pretrained(tmp_path / "vocab")
    other = make_shards(tmp_path, vocab=tmp_path / "vocab")
    with pytest.raises(ConfigError, match=r"shards was prepared with another vocabulary than that of .*base; prepare"):
        pretrain(settings(place, "no", shards=other))
    with pytest.raises(ConfigError, match="were prepared with different vocabularies"):
        pretrain(settings(place, "no", validation=other))


def test_longer_held_out_sequences_than_the_model_takes_are_refused(place: Path, tmp_path: Path) -> None:
    long = make_shards(place, "long", max_length=30)
    with pytest.raises(ConfigError, match="up to 30 tokens, but the model takes 16"):
        pretrain(settings(place, "no", validation=long))


def test_fewer_sequences_than_a_step_reads_are_refused(place: Path) -> None:
    with pytest.raises(DataError, match="sequences, fewer than the 10000 of one step; lower batch_size"):
        pretrain(settings(place, "no", batch_size=1000, accumulation=10))


def test_words_are_chosen_once(place: Path) -> None:
    for changes in ({"masked_share": 0.2}, {"max_predictions": 3}, {"whole_words": True}):
        (name,) = changes
        with pytest.raises(ConfigError, match=f"{name} is given, but the words to guess were chosen"):
            pretrain(settings(place, "no", shards=place / "static", **changes))


# -- the folder --


def test_the_folder_holds_all_that_belongs_to_a_model(place: Path, trained: TrainingResult) -> None:
    names = {entry.name for entry in (place / "trained").iterdir()}
    assert names >= {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}
    assert names >= {"settings.yaml", "training.json", "report.html", "README.md"}
    card = (place / "trained" / "README.md").read_text("utf-8")
    assert "Masked LM loss" in card
    assert str(place) not in card  # where shards lie is nobody's business
    page = (place / "trained" / "report.html").read_text("utf-8")
    assert "Training sequences" in page
    assert "Epoch" not in page  # those of a phase say nothing alone
    assert "next sentence chance" in page.lower()
    record = read_json(place / "trained" / "training.json")
    assert record["task"] == "pretraining"
    assert record["steps"] == 6
    assert set(record["figures"]) == {*trained.history[0].figures}
    assert record["data"]["training"]["tokens"] == Shards(place / "shards").training.tokens
    assert [one["step"] for one in record["evaluations"]] == [3, 6]
    assert type(glassbert.load(place / "trained")) is BertForPreTraining


@pytest.mark.parametrize("name", ["shards", "mlm"])
def test_transformers_reads_it_and_computes_the_same(place: Path, tmp_path: Path, name: str) -> None:
    pretrain(settings(place, tmp_path / "out", shards=place / name, steps=2))
    kind = transformers.AutoModelForMaskedLM if name == "mlm" else transformers.AutoModelForPreTraining
    assert f"import {kind.__name__}" in (tmp_path / "out" / "README.md").read_text("utf-8")
    theirs, ours = kind.from_pretrained(tmp_path / "out").eval(), glassbert.load(tmp_path / "out")
    assert type(theirs).__name__ == type(ours).__name__
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("good people", "bad food", return_tensors="pt")
    with torch.no_grad():
        one, two = theirs(**batch), ours(**batch)
    for part in ["logits"] if name == "mlm" else ["prediction_logits", "seq_relationship_logits"]:
        torch.testing.assert_close(getattr(one, part), getattr(two, part), rtol=0.0, atol=1e-5)


def test_a_report_of_words_alone_shows_their_loss_once(place: Path, tmp_path: Path) -> None:
    pretrain(settings(place, tmp_path / "out", shards=place / "mlm", steps=2))
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Masked LM accuracy" in page
    assert "Masked LM loss" not in page


def test_a_pretrained_model_can_be_fine_tuned(place: Path, tmp_path: Path, trained: TrainingResult) -> None:
    data = place / "train.jsonl"
    values: dict[str, Any] = {"train": data, "validation": data, "model": place / "trained", "out": tmp_path / "out"}
    finetune(FinetuneSettings(**values, steps=2))
    assert type(glassbert.load(tmp_path / "out")) is BertForSequenceClassification
