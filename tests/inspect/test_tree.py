from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from glassbert import BertConfig, BertForSequenceClassification, BertModel
from glassbert.errors import ConfigError
from glassbert.inspect import tree

if TYPE_CHECKING:
    from playwright.sync_api import Page


def tiny(**changes: object) -> BertConfig:
    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
    return BertConfig.from_dict({**sizes, "intermediate_size": 16, "max_position_embeddings": 12, **changes})


def test_every_number_of_a_model_is_counted_once() -> None:
    model = BertForSequenceClassification(tiny())
    found = tree(model)
    assert found.parameters == found.root.parameters == sum(p.numel() for p in model.parameters())
    assert sum(one.parameters for one in found.root.branches) == found.parameters
    assert sum(found.classes.values()) == len(list(model.modules()))
    (bert, *_) = found.root.branches
    (layers,) = next(one for one in bert.branches if one.name == "encoder").branches
    assert [(one.name, one.repeats) for one in layers.branches] == [("0", 3)]


def test_the_counts_of_bert_base() -> None:
    with torch.device("meta"):
        model = BertModel(BertConfig())
    classes = Counter(type(module).__name__ for module in model.modules())
    assert (classes["Dropout"], classes["LayerNorm"], classes["Linear"]) == (37, 25, 73)


def test_layers_take_the_tensor_of_the_layer_before() -> None:
    found = tree(BertModel(tiny()))
    assert [one.reads for one in found.sequence] == ["embeddings", "layer 0", "layer 1"]
    assert found.in_sequence
    assert "takes the output of layer 1" in repr(found)


def test_a_layer_that_goes_its_own_way_is_seen() -> None:
    model = BertModel(tiny())

    def copied(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0].clone(), *inputs[1:])

    model.encoder.layer[1].register_forward_pre_hook(copied)
    found = tree(model)
    assert [one.reads for one in found.sequence] == ["embeddings", None, "layer 1"]
    assert not found.in_sequence
    assert found.to_dict()["in_sequence"] is False
    assert "layers 1 did not take" in repr(found)


def test_pruned_layers_stand_by_themselves() -> None:
    model = BertModel(tiny())
    model.prune_heads({1: [0]})
    (layers,) = tree(model).root.branches[1].branches
    assert [(one.name, one.repeats) for one in layers.branches] == [("0", 1), ("1", 1), ("2", 1)]


def test_the_model_is_left_as_it_was() -> None:
    model = BertModel(tiny())
    model.train()
    model.encoder.layer[1].eval()
    tree(model)
    assert model.training
    assert not model.encoder.layer[1].training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_it_is_written_as_page_and_picture(tmp_path: Path) -> None:
    found = tree(BertModel(tiny()))
    found.write_html(tmp_path / "tree.html")
    found.write_png(tmp_path / "tree.png")
    page = (tmp_path / "tree.html").read_text(encoding="utf-8")
    assert "takes the output of layer 1" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    assert "takes the output of layer 1" in found._repr_html_()


def test_the_page_opens_without_a_network(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    tree(BertModel(tiny())).write_html(tmp_path / "tree.html")
    page = opened(tmp_path / "tree.html")
    assert page.locator("svg rect.box").count() == 5
    assert page.get_by_role("heading", level=1).inner_text() == "BertModel: 2,240 parameters"


def test_a_class_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="class is 'BertModell'"):
        tree(BertModel(tiny()), kind="BertModell")
    with pytest.raises(ConfigError, match="already"):
        tree(BertModel(tiny()), kind="BertForMaskedLM")
