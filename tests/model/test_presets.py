"""Presets have the sizes that Google has published, and nothing else has a name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from glassbert import BertConfig, BertForPreTraining, BertModel, ConfigError
from glassbert.presets import PRESETS, preset_sizes

NAMED = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "medium": (8, 512), "base": (12, 768)}
LAYERS = (2, 4, 6, 8, 10, 12)
WIDTHS = (128, 256, 512, 768)
# Millions of parameters of the five with a name (arXiv 1908.08962), which count the heads of pretraining, and of the
# encoder with its pooler alone.
MILLIONS = {
    "tiny": (4.4, 4.4),
    "mini": (11.3, 11.2),
    "small": (29.1, 28.8),
    "medium": (41.7, 41.4),
    "base": (110.1, 109.5),
}


def by_hand(layers: int, width: int) -> int:
    """Count the parameters of an encoder and its pooler."""
    embeddings = (30522 + 512 + 2) * width + 2 * width
    attention = 4 * (width * width + width) + 2 * width
    feed_forward = 2 * width * 4 * width + 4 * width + width + 2 * width
    return embeddings + layers * (attention + feed_forward) + width * width + width


def count(model_class: type[Any], config: BertConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in model_class(config).parameters())


@pytest.mark.parametrize("name", MILLIONS)
def test_a_named_one_has_as_many_parameters_as_google_says(name: str) -> None:
    config = BertConfig.preset(name)
    whole, encoder = (count(kind, config) for kind in (BertForPreTraining, BertModel))
    assert (round(whole / 1e6, 1), round(encoder / 1e6, 1)) == MILLIONS[name]
    assert encoder == by_hand(*NAMED[name])


def test_large_is_that_of_the_first_paper() -> None:
    config = BertConfig.preset("large")
    assert (config.num_hidden_layers, config.hidden_size) == (24, 1024)
    assert (config.num_attention_heads, config.intermediate_size) == (16, 4096)
    assert count(BertModel, config) == by_hand(24, 1024) == 335_141_888
    assert config == BertConfig.preset("24x1024") == BertConfig.preset("L-24_H-1024")


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("width", WIDTHS)
def test_each_of_the_24_is_there_in_every_way_to_write_it(layers: int, width: int) -> None:
    config = BertConfig.preset(f"{layers}x{width}")
    assert count(BertModel, config) == by_hand(layers, width)
    assert config.num_attention_heads == width // 64
    assert config == BertConfig.preset(f"L-{layers}_H-{width}")
    assert config == BertConfig.preset(f"uncased_L-{layers}_H-{width}_A-{width // 64}")


def test_all_are_listed_those_with_a_name_first() -> None:
    assert list(PRESETS)[:6] == [*NAMED, "large"]
    assert len(PRESETS) == 6 + 25
    assert {name: tuple(PRESETS[name]) for name in NAMED} == NAMED
    for name, (layers, width) in PRESETS.items():
        assert BertConfig.preset(name) == BertConfig.preset(f"{layers}x{width}")


def test_base_is_the_usual_config() -> None:
    assert BertConfig.preset("base") == BertConfig()


def test_changes_take_the_place_of_what_the_preset_says() -> None:
    config = BertConfig.preset("mini", vocab_size=800, max_position_embeddings=64, num_hidden_layers=3)
    assert (config.vocab_size, config.max_position_embeddings, config.num_hidden_layers) == (800, 64, 3)
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (256, 4, 1024)


def test_bad_changes_are_refused_as_by_the_config() -> None:
    with pytest.raises(TypeError, match="vocabulary"):
        BertConfig.preset("tiny", vocabulary=800)
    with pytest.raises(ConfigError, match="vocab_size is 0"):
        BertConfig.preset("tiny", vocab_size=0)


def test_a_subclass_makes_its_own() -> None:
    class Own(BertConfig):
        foo: int = 2

    assert type(Own.preset("tiny")) is Own


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("tinny", "tiny"),
        ("Base", "base"),
        ("larg", "large"),
        ("5x256", "6x256"),
        ("12x1024", "12x768"),
        ("L-3_H-130", "4x128"),
        ("uncased_L-4_H-256_A-8", "4x256"),
        ("0x0", "2x128"),
        ("999999x999999", "24x1024"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_and_all(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BertConfig.preset(name)
    message = str(caught.value)
    assert message.startswith(f"preset is {name!r}, expected one of tiny, mini, small, medium, base, large, 2x128, ")
    assert message.endswith(f"24x1024; did you mean {near!r}?")


@pytest.mark.parametrize("name", ["", "bert-base-uncased-whole", "4 x 256", "4x256\n", None, 4, ["tiny"]])
def test_what_is_near_to_none_is_told_without_a_guess(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"preset is .*, expected one of tiny, "):
        BertConfig.preset(name)


def test_names_are_checked_without_torch() -> None:
    assert preset_sizes("tiny")["hidden_size"] == 128
    code = (
        "import sys, glassbert.settings; from glassbert.presets import preset_sizes; preset_sizes('4x256');"
        "print(*({'torch', 'numpy', 'glassbert.model'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
