"""A config is checked by name, and keeps what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glassbert import BertConfig, BertModel, CheckpointError, ConfigError

BAD: list[dict[str, Any]] = [
    {"hidden_size": "8"},
    {"hidden_size": 8.0},
    {"hidden_size": float("nan")},
    {"hidden_size": True},
    {"num_attention_heads": 0},
    {"vocab_size": -1},
    {"vocab_size": 0},
    {"vocab_size": 10**12},
    {"num_hidden_layers": -1},
    {"num_hidden_layers": 10**9},
    {"max_position_embeddings": 0},
    {"pad_token_id": 30522},
    {"layer_norm_eps": "1e-12"},
    {"initializer_range": float("nan")},
    {"hidden_dropout_prob": 2.0},
    {"attention_probs_dropout_prob": 1.0},
    {"classifier_dropout": -0.1},
    {"hidden_act": "swish9"},
    {"problem_type": "ranking"},
    {"num_labels": 0},
    {"return_dict": "yes"},
    {"id2label": {0: "a", 2: "b"}},
    {"id2label": {0: "a", 1: "a"}},
]


@pytest.mark.parametrize("values", BAD, ids=lambda values: str(values)[:60])
def test_a_bad_value_is_named(values: dict[str, Any]) -> None:
    name = next(iter(values))
    with pytest.raises(ConfigError, match=name):
        BertConfig(**values)


def test_heads_must_divide_the_width_and_the_message_offers_some_that_do() -> None:
    with pytest.raises(ConfigError, match=r"464 does not divide by num_attention_heads 12; .* 2, 4, 8, 16"):
        BertConfig(hidden_size=464, num_attention_heads=12)


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="hiden_size"):
        BertConfig(hiden_size=8)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"is_encoder_decoder": True}, "is_encoder_decoder is True"),
        ({"add_cross_attention": True}, "is_decoder"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'"),
        ({"pruned_heads": {"12": [1]}}, "pruned_heads"),
        ({"pruned_heads": {"0": [12]}}, "pruned_heads"),
        ({"pruned_heads": {"0": [-1]}}, "pruned_heads"),
        ({"pruned_heads": {"first": [0]}}, "pruned_heads"),
        ({"pruned_heads": [0]}, "pruned_heads"),
        ({"pruned_heads": {"0": 1}}, "pruned_heads"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ],
    ids=str,
)
def test_what_would_change_the_model_is_refused_not_ignored(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BertConfig.from_dict(values)


def test_pruned_heads_are_numbers_in_order_whatever_a_file_says() -> None:
    config = BertConfig.from_dict({"pruned_heads": {"2": [3, 1, 3], "0": [5], "1": []}})
    assert config.pruned_heads == {0: [5], 2: [1, 3]}
    assert config.to_dict()["pruned_heads"] == {"0": [5], "2": [1, 3]}
    assert BertConfig.from_dict(config.to_dict()) == config


def test_a_function_as_activation_is_no_part_of_a_file() -> None:
    with pytest.raises(ConfigError, match="hidden_act is the function"):
        BertConfig(hidden_act=abs).to_dict()


def test_another_kind_of_model_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="roberta"):
        BertConfig.from_dict({"model_type": "roberta"})


def test_unknown_keys_are_kept_and_written_back(tmp_path: Path) -> None:
    published = {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "hidden_size": 32,
        "num_attention_heads": 4,
        "position_embedding_type": "absolute",
        "pooler_type": "first_token_transform",
        "directionality": "bidi",
        "id2label": {"0": "no", "1": "yes"},
        "label2id": {"no": 0, "yes": 1},
    }
    config = BertConfig.from_dict(published)
    assert config.extra["pooler_type"] == "first_token_transform"
    assert config.label2id == {"no": 0, "yes": 1}
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert {**written, **published} == written
    assert BertConfig.from_pretrained(tmp_path) == config


def test_the_number_of_labels_follows_their_names_and_names_follow_the_number() -> None:
    assert BertConfig(id2label={0: "a", 1: "b", 2: "c"}).num_labels == 3
    config = BertConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    config.num_labels = 5
    config.validate()
    assert len(config.id2label) == len(config.label2id) == 5


def test_a_field_that_does_not_exist_cannot_be_set() -> None:
    config = BertConfig()
    with pytest.raises(AttributeError, match="BertConfig has no field 'hiden_size'; did you mean 'hidden_size'"):
        config.hiden_size = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"no field 'foo'; a key of your own stands in extra\['foo'\]"):
        config.foo = 3  # type: ignore[attr-defined]
    config.extra["foo"] = 3
    assert config.copy().extra == {"foo": 3}

    class Own(BertConfig):
        foo: int = 2

    own = Own()
    own.foo = 3
    assert vars(own.copy())["foo"] == 3


def test_a_config_edited_badly_is_refused_when_a_model_is_made() -> None:
    config = BertConfig(vocab_size=10, hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8)
    config.num_attention_heads = 3
    with pytest.raises(ConfigError, match="does not divide"):
        BertModel(config)


@pytest.mark.parametrize("content", ["", "[1]", "{", '"text"', "\xff", "[" * 5000])
def test_a_file_that_is_no_object_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        BertConfig.from_json_file(file)


def test_a_bad_value_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"hidden_size": 9, "num_attention_heads": 2}', encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=r"config\.json: hidden_size 9"):
        BertConfig.from_json_file(file)
