from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from glassbert import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    ConfigError,
    DataError,
    GlassbertError,
    InputError,
    learn_vocabulary,
    load,
    pipeline,
)
from glassbert.cli.main import main
from glassbert.inspect import importance, prune
from glassbert.inspect.pruning import _least
from glassbert.settings import ReadingSettings
from glassbert.tasks.text_classification import TextClassification

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORDS = [
    "the",
    "film",
    "was",
    "a",
    "long",
    "and",
    "warm",
    "story",
    "of",
    "rain",
    "on",
    "an",
    "island",
    "that",
    "nobody",
    "liked",
    "or",
    "forgot",
]
TOKENIZER = BertTokenizer(learn_vocabulary([" ".join(WORDS)], size=120, min_frequency=1), model_max_length=24)
TEXTS = [" ".join(WORDS[start : start + 4 + start % 4]) for start in range(14)]
RECORDS = [{"text": text, "label": "ab"[number % 2]} for number, text in enumerate(TEXTS)]


def classifier(**changes: Any) -> BertForSequenceClassification:
    torch.manual_seed(1)
    sizes = {"vocab_size": len(TOKENIZER), "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    more = {"intermediate_size": 16, "max_position_embeddings": 24, "initializer_range": 0.7}
    config = BertConfig.from_dict({**sizes, **more, "num_labels": 2, "id2label": {0: "a", 1: "b"}, **changes})
    return BertForSequenceClassification(config).eval()


def encoded(model: BertForSequenceClassification) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    batch = TOKENIZER(TEXTS, padding=True, return_tensors="pt")
    return dict(batch), torch.tensor([number % 2 for number in range(len(TEXTS))])


@pytest.mark.parametrize("pruned", [{}, {0: [1]}])
def test_ablation_is_what_a_head_mask_gives(pruned: dict[int, list[int]]) -> None:
    model = classifier()
    model.prune_heads(pruned)
    found = importance(model, RECORDS, tokenizer=TOKENIZER, limit=None)
    assert [(one.layer, one.head) for one in found.scores] == [
        (layer, head) for layer in range(2) for head in range(3) if head not in pruned.get(layer, [])
    ]
    batch, labels = encoded(model)
    errors = []
    for one in found.scores:
        mask = torch.ones(2, 3)
        mask[one.layer, one.head] = 0.0
        with torch.no_grad():
            logits = model(**batch, head_mask=mask).logits
        accuracy = float((logits.argmax(dim=1) == labels).double().mean())
        assert one.change == pytest.approx(accuracy - found.baseline)
        errors.append((one.error, float(cross_entropy(logits, labels))))
    assert len({one.change for one in found.scores}) > 1
    with torch.no_grad():
        whole = float(cross_entropy(model(**batch).logits, labels))
    assert [change for change, _ in errors] == pytest.approx([error - whole for _, error in errors], abs=1e-5)


@pytest.mark.parametrize("positions", ["absolute", "relative_key_query"])
def test_the_gradient_is_that_of_a_head_mask(positions: str) -> None:
    model = classifier(position_embedding_type=positions)
    found = importance(model, RECORDS, tokenizer=TOKENIZER, method="gradient")
    batch, labels = encoded(model)
    sums = torch.zeros(2, 3)
    for place in range(len(TEXTS)):
        mask = torch.ones(2, 3, requires_grad=True)
        one = {name: tensor[place : place + 1] for name, tensor in batch.items()}
        loss = model(**one, labels=labels[place : place + 1], head_mask=mask).loss
        (gradient,) = torch.autograd.grad(loss, mask)
        sums += gradient.abs()
    expected = sums / sums.norm(dim=1, keepdim=True)
    scores = [one.gradient for one in found.scores]
    assert scores == pytest.approx(expected.flatten().tolist(), abs=1e-5)
    assert all(one.change is None for one in found.scores)


def test_the_least_useful_come_first() -> None:
    found = importance(classifier(), RECORDS, tokenizer=TOKENIZER)
    changes = [(-(one.change or 0.0), one.error) for one in found.order("ablation")]
    assert changes == sorted(changes)
    assert all(one.error for one in found.scores)
    gradients = [one.gradient or 0.0 for one in found.order("gradient")]
    assert gradients == sorted(gradients)
    with pytest.raises(ConfigError, match="no head was taken away"):
        importance(classifier(), RECORDS, tokenizer=TOKENIZER, method="gradient").order("ablation")


def test_the_model_is_not_touched() -> None:
    model = classifier().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    importance(model, RECORDS, tokenizer=TOKENIZER)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_limit_draws_the_same_examples_again() -> None:
    first, again = (importance(classifier(), RECORDS, tokenizer=TOKENIZER, limit=5) for _ in range(2))
    assert (first.examples, first.of) == (5, 14)
    assert first.to_dict() == again.to_dict()


def test_data_of_one_class_are_told() -> None:
    found = importance(classifier(), RECORDS[::2], tokenizer=TOKENIZER, method="gradient")
    assert "All examples are of the class a" in repr(found)


def test_a_layer_keeps_one_head() -> None:
    order = [(0, 1), (0, 0), (0, 2), (1, 1), (1, 2), (1, 0)]
    assert _least(order, [3, 3], 3) == {0: [1, 0], 1: [1]}
    assert _least(order, [3, 3], 6) == {0: [1, 0], 1: [1, 2]}


def test_pruned_and_zeroed_answer_alike_also_by_a_peer(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = classifier()
    found = prune(model, RECORDS, tokenizer=TOKENIZER, share=0.5, out=tmp_path / "small", limit=None)
    gone = {layer: list(heads) for layer, heads in found.heads.items()}
    assert sum(map(len, gone.values())) == 3
    assert found.before.heads - found.after.heads == 3
    # Each head has 3 · (12 + 1) rows with a bias and 12 columns, each of 4 numbers.
    assert found.before.parameters - found.after.parameters == 3 * 4 * (3 * 13 + 12)
    assert found.examples == 7
    zeroed = prune(model, heads=gone, tokenizer=TOKENIZER, out=tmp_path / "zeros", zero=True)
    assert zeroed.before.metric is None
    batch, _ = encoded(model)
    small, whole = load(tmp_path / "small"), load(tmp_path / "zeros")
    peer = AutoModelForSequenceClassification.from_pretrained(tmp_path / "zeros")
    assert small.config.pruned_heads == gone
    assert whole.config.pruned_heads == {}
    with torch.no_grad():
        logits = [one(**batch).logits for one in (small, whole, peer)]
    torch.testing.assert_close(logits[0], logits[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[0], logits[2], atol=1e-5, rtol=0)
    assert (logits[0] - model(**batch).logits).abs().max() > 1e-2
    assert pipeline(model=tmp_path / "small")("warm rain").label in ("a", "b")


def test_the_half_that_chooses_does_not_measure() -> None:
    model = classifier()
    found = prune(model, RECORDS, tokenizer=TOKENIZER, share=0.4, limit=None, by="gradient")
    assert (found.examples, found.chosen_by) == (7, "gradient")
    assert found.before.metric_name == "accuracy"
    assert 0.0 <= (found.equal_answers or 0.0) <= 1.0


def test_a_layer_may_be_named_from_the_end_too() -> None:
    found = prune(classifier(), heads={1: [0], -1: [2]}, tokenizer=TOKENIZER)
    assert found.heads == {1: (0, 2)}
    assert found.left == (3, 1)


def test_what_is_known_of_the_data_is_told() -> None:
    found = prune(classifier(), RECORDS[::2], tokenizer=TOKENIZER, share=0.99, by="gradient")
    assert "All examples are of the class a" in repr(found)
    assert "Each layer keeps one head, so 4 heads are cut out and not 6." in repr(found)


def test_bad_records_are_skipped_and_told(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    lines = [json.dumps(record) for record in RECORDS]
    data.write_text("\n".join([*lines[:3], json.dumps({"text": "rain"}), *lines[3:]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.jsonl:4"):
        importance(classifier(), data, tokenizer=TOKENIZER, method="gradient")
    reading = ReadingSettings(skip_bad=True)
    found = importance(classifier(), data, tokenizer=TOKENIZER, method="gradient", reading=reading)
    assert found.examples == len(RECORDS)
    assert any("data.jsonl:4" in note for note in found.notes)


def test_wrong_arguments(tmp_path: Path) -> None:
    model = classifier()
    with pytest.raises(ConfigError, match="expected 0 to 2"):
        prune(model, heads={0: [3]}, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="layer 2 to prune, expected -2 to 1"):
        prune(model, heads={2: [0]}, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="every head of layer 0"):
        prune(model, heads={0: [0, 1, 2]}, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match=r"share is 1\.5"):
        prune(model, RECORDS, share=1.5, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match=r"no head of 6; give 0\.17 or more"):
        prune(model, RECORDS, share=0.01, tokenizer=TOKENIZER)
    pruned = classifier()
    pruned.prune_heads({0: [1]})
    with pytest.raises(ConfigError, match="head 1 of layer 0 is cut out already"):
        prune(pruned, heads={0: [1, 2]}, tokenizer=TOKENIZER)
    with pytest.raises(InputError, match="2 or more examples"):
        prune(model, RECORDS[:1], share=0.5, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="either the heads"):
        prune(model, RECORDS, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="give data, or name the heads"):
        prune(model, share=0.5, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="limit is 0"):
        importance(model, RECORDS, tokenizer=TOKENIZER, limit=0)
    with pytest.raises(ConfigError, match="method is 'all'"):
        importance(model, RECORDS, tokenizer=TOKENIZER, method="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no tokenizer"):
        importance(model, RECORDS)
    with pytest.raises(DataError, match="'c'"):
        importance(model, [{"text": "rain", "label": "c"}], tokenizer=TOKENIZER)
    with pytest.raises(GlassbertError, match="BertModel"):
        importance(BertModel(model.config), RECORDS, tokenizer=TOKENIZER)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier()
    TextClassification.of_model(model.config)
    model.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    data = tmp_path / "data.jsonl"
    data.write_text(lines, encoding="utf-8")
    page = tmp_path / "importance.html"
    picture = tmp_path / "importance.png"
    files = ["--html", str(page), "--png", str(picture)]
    assert main(["heads", "importance", str(tmp_path / "model"), str(data), "--json", *files]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["scores"]) == 6
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = str(tmp_path / "out")
    assert main(["heads", "prune", str(tmp_path / "model"), "--head", "0:1,2", "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["heads"] == {"0": [1, 2]}
    assert main(["heads", "prune", str(tmp_path / "model"), "--head", "0:1,2", "--out", out]) == 2
    assert main(["heads", "prune", str(tmp_path / "model"), "--head", "1", "--out", out, "--overwrite"]) == 2
    assert "such as 3:0,5" in capsys.readouterr().err


def test_the_page_shows_the_grids(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    importance(classifier(), RECORDS, tokenizer=TOKENIZER).write_html(tmp_path / "page.html")
    page = opened(tmp_path / "page.html")
    assert page.locator("table.heat").count() == 3
    assert page.locator("table.heat").first.locator("td").count() == 6
