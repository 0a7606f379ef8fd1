from __future__ import annotations

import builtins
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertPreTrainedModel,
    BertTokenizer,
    SentenceEncoder,
)
from glassbert.cli.main import main
from glassbert.errors import ConfigError, InputError, MissingExtraError
from glassbert.inspect import Attribution, attribution

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*NAMES, "good", "bad", "the", "soup", "was", "very", "tea", "and", "cold", "is", "##ish", "un", "##real")
TOKENIZER = BertTokenizer({word: number for number, word in enumerate(WORDS)}, model_max_length=16)


def tiny(kind: type[BertPreTrainedModel] = BertForSequenceClassification, **changes: object) -> Any:
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    values = {**sizes, "intermediate_size": 32, "max_position_embeddings": 16, "initializer_range": 0.5, **changes}
    torch.manual_seed(0)
    return kind(BertConfig.from_dict(values)).eval()


def explained(model: Any, text: str, *arguments: Any, **options: Any) -> Attribution:
    return attribution(model, text, *arguments, tokenizer=TOKENIZER, **options)


@pytest.fixture(scope="module")
def trained() -> BertForSequenceClassification:
    """A classifier that has learned what good and bad say."""
    labels = {"0": "sad", "1": "glad"}
    model: BertForSequenceClassification = tiny(initializer_range=0.1, hidden_dropout_prob=0.0, id2label=labels)
    model.train()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        ids = torch.randint(7, 15, (32, 7), generator=generator)
        classes = torch.randint(2, (32,), generator=generator)
        places = torch.randint(1, 6, (32,), generator=generator)
        ids[torch.arange(32), places] = torch.where(classes == 1, 5, 6)
        ids[:, 0], ids[:, -1] = 2, 3
        loss = model(ids, labels=classes).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    return model.eval()


def test_the_word_that_decides_has_the_largest_part(trained: BertForSequenceClassification) -> None:
    for text, word, label in (("the soup was good", "good", "glad"), ("bad and cold tea", "bad", "sad")):
        found = explained(trained, text)
        assert found.label == found.predicted == label
        largest = max(found.tokens, key=lambda one: one.value)
        assert largest.text == word
        assert largest.share is not None
        assert largest.share > 0.5
    against = explained(trained, "the soup was good", label="sad")
    assert min(against.tokens, key=lambda one: one.value).text == "good"
    assert "The model itself says “glad”; “sad” was asked for." in repr(against)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"position_embedding_type": "relative_key"},
        {"position_embedding_type": "relative_key_query"},
        {"num_labels": 5, "problem_type": "multi_label_classification"},
        {"num_labels": 1},
    ],
)
def test_attributions_sum_to_the_change(changes: dict[str, Any]) -> None:
    model = tiny(**changes)
    text = "the soup was very good"
    found = explained(model, text)
    ids = torch.tensor([TOKENIZER.encode(text)])
    blank = torch.tensor([[2, *[0] * 5, 3]])
    with torch.no_grad():
        score, baseline = (model(one).logits[0] for one in (ids, blank))
    number = 0 if found.label is None else int(score.argmax())
    assert found.score == pytest.approx(float(score[number]), abs=1e-5)
    assert found.baseline == pytest.approx(float(baseline[number]), abs=1e-5)
    whole = sum(one.value for one in found.tokens)
    assert abs(whole - (found.score - found.baseline)) == pytest.approx(found.gap, abs=1e-9)
    assert found.complete
    assert found.relative_gap is not None
    assert found.relative_gap <= 0.01
    assert found.tokens[0].value == found.tokens[-1].value == 0.0
    assert sum(one.share or 0.0 for one in found.tokens) == pytest.approx(whole / found.change)


def test_they_are_the_integral_of_the_gradients() -> None:
    """A Riemann sum of 2000 midpoints, written out."""
    model = tiny()
    ids, blank = torch.tensor([[2, 7, 8, 5, 3]]), torch.tensor([[2, 0, 0, 0, 3]])
    table = model.bert.embeddings.word_embeddings.weight.detach()
    start, way = table[blank], table[ids] - table[blank]
    label = int(model(ids).logits.argmax())
    total = torch.zeros_like(way)
    points = 2000
    for part in torch.arange(points).split(500):
        at = (start + ((part + 0.5) / points)[:, None, None] * way).requires_grad_()
        (slopes,) = torch.autograd.grad(model(inputs_embeds=at).logits[:, label].sum(), at)
        total += slopes.sum(dim=0, keepdim=True)
    expected = (way * total / points).sum(dim=-1)[0]
    found = explained(model, "the soup good", steps=100)
    assert [one.value for one in found.tokens] == pytest.approx(expected.tolist(), abs=2e-4)


def test_of_a_linear_score_they_are_known_by_hand() -> None:
    """Where nothing but a weighted sum stands between embeddings and score, each token has its own term."""
    model = tiny()
    weight = torch.linspace(-1.0, 1.0, 16)

    def linear(inputs_embeds: Tensor, **_: Any) -> Any:
        from glassbert.model.outputs import SequenceClassifierOutput

        score = inputs_embeds.sum(dim=1) @ weight
        return SequenceClassifierOutput(logits=torch.stack([score, -score - 100.0], dim=1))

    model.forward = linear
    found = explained(model, "soup was", steps=2)
    table = model.bert.embeddings.word_embeddings.weight.detach()
    expected = [0.0, *(float((table[one] - table[0]) @ weight) for one in (8, 9)), 0.0]
    assert [one.value for one in found.tokens] == pytest.approx(expected, abs=1e-5)


def test_steps_are_doubled_until_they_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(initializer_range=1.0)
    few = explained(model, "the soup was good", steps=2)
    assert few.steps in [2 << doubled for doubled in range(1, 9)]
    assert few.complete
    assert explained(model, "the soup was good", steps=400).steps == 400
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["glassbert.inspect.attribution"], "_MOST_STEPS", 7)
    rough = explained(model, "the soup was good", steps=2)
    assert rough.steps == 4
    assert not rough.complete
    assert rough.relative_gap is not None
    assert rough.relative_gap > 0.01
    assert "take the numbers as rough" in repr(rough)


def test_pieces_are_joined_to_words() -> None:
    found = explained(tiny(), "The  Unreal coldish tea", words=True)
    assert [one.text for one in found.tokens] == ["[CLS]", "the", "un", "##real", "cold", "##ish", "tea", "[SEP]"]
    assert [one.text for one in found.words] == ["[CLS]", "The", "Unreal", "coldish", "tea", "[SEP]"]
    assert found.words[2].value == pytest.approx(found.tokens[2].value + found.tokens[3].value)
    assert sum(one.value for one in found.words) == pytest.approx(sum(one.value for one in found.tokens))
    assert "Unreal" in repr(found)
    assert "##real" not in repr(found)


def test_a_pair_of_texts() -> None:
    found = explained(tiny(), "the soup", "is good")
    assert [one.of for one in found.tokens] == [None, 0, 0, None, 1, 1, None]
    assert [one.word for one in found.tokens] == [None, 0, 1, None, 0, 1, None]
    assert [one.text for one in found.words] == ["[CLS]", "the", "soup", "[SEP]", "is", "good", "[SEP]"]
    assert found.complete
    assert "good²" in repr(found)


def test_pruned_heads() -> None:
    model = tiny()
    model.prune_heads({0: [1]})
    assert explained(model, "the soup").complete


def test_the_model_is_left_as_it_was() -> None:
    model = tiny()
    model.train()
    model.bert.encoder.layer[1].eval()
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first = explained(model, "the soup was good")
    assert first == explained(model, "the soup was good")
    assert model.training
    assert not model.bert.encoder.layer[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    grads = {name for name, one in model.named_parameters() if one.grad is not None}
    assert grads == {"classifier.weight"}
    assert bool((model.classifier.weight.grad == 1.0).all())
    assert not model.bert.embeddings.word_embeddings.weight.requires_grad
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    with torch.no_grad():
        assert explained(model, "the soup was good") == first
    with torch.inference_mode():
        assert explained(model, "the soup was good") == first


@pytest.mark.parametrize(
    "kind",
    [
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForQuestionAnswering,
        BertForTokenClassification,
        BertModel,
        SentenceEncoder,
    ],
)
def test_other_models_are_refused_by_name(kind: type[BertPreTrainedModel]) -> None:
    with pytest.raises(InputError, match=rf"a {kind.__name__}; attribution explains .* BertForSequenceClassification"):
        explained(tiny(kind), "the soup")


def test_bad_input_is_refused() -> None:
    model = tiny(id2label={"0": "sad", "1": "glad"})
    with pytest.raises(ConfigError, match="label is 'mad', expected one of sad, glad"):
        explained(model, "the soup", label="mad")
    assert explained(model, "the soup", label="1").label == explained(model, "the soup", label=1).label == "glad"
    with pytest.raises(ConfigError, match="label is 2, expected one of sad, glad"):
        explained(model, "the soup", label=2)
    with pytest.raises(ConfigError, match="the model gives one number and has no classes"):
        explained(tiny(num_labels=1), "the soup", label="sad")
    for steps in (1, 801, 2.0, True):
        with pytest.raises(ConfigError, match="steps is"):
            explained(model, "the soup", steps=steps)
    for text in ("", " \n", "\u200b"):
        with pytest.raises(InputError, match="no tokens but the special ones"):
            explained(model, text)
    with pytest.raises(InputError, match="the text has 17 tokens, the model takes at most 16"):
        explained(model, " ".join(["the"] * 15))
    with pytest.raises(InputError, match="no tokenizer"):
        attribution(model, "the soup")
    paired = tiny(glassbert_task={"name": "text-classification", "pairs": True})
    with pytest.raises(InputError, match="learned pairs of texts; give a second"):
        explained(paired, "the soup")
    with torch.no_grad():
        model.classifier.weight[0, 0] = math.nan
    with pytest.raises(InputError, match="not finite numbers"):
        explained(model, "the soup")


def test_without_captum_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("captum"):
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"glassbert\[inspect\]"):
        explained(tiny(), "the soup")


def test_a_text_that_changes_nothing() -> None:
    model = tiny()
    with torch.no_grad():
        model.classifier.weight.zero_()
    found = explained(model, "the soup")
    assert (found.change, found.relative_gap, found.complete) == (0.0, None, True)
    assert [one.value for one in found.tokens] == [0.0] * 4
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert "The text" in found.page()


def test_a_terminal_has_colours_and_numbers(trained: BertForSequenceClassification) -> None:
    console = Console(force_terminal=True, color_system="truecolor", width=80, record=True, file=None, quiet=False)
    with console.capture() as capture:
        for one in explained(trained, "the soup was good").renderables():
            console.print(one)
    shown = capture.get()
    assert "48;2;86;148;230mgood" in shown  # the largest has the full colour under it
    assert "++++++++++++++++++++" in shown


def test_it_is_written_as_page_picture_and_json(tmp_path: Path) -> None:
    found = explained(tiny(id2label={"0": "$a", "1": "_<b>"}), "</script> שלום $ soup 👩‍👩‍👧", label="_<b>")
    found.write_html(tmp_path / "attribution.html")
    found.write_png(tmp_path / "attribution.png")
    assert (tmp_path / "attribution.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "attribution.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert page.count("leaning for") + page.count("leaning against") == len(found.tokens) - 2
    assert "leaning" in found._repr_html_()
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["change"] == found.change


def test_the_page_is_used_with_mouse_and_keys(
    trained: BertForSequenceClassification, tmp_path: Path, opened: Callable[[Path], Page]
) -> None:
    found = explained(trained, "The coldish tea is good")
    found.write_html(tmp_path / "attribution.html")
    page = opened(tmp_path / "attribution.html")
    pieces = page.locator(".coloured .piece")
    said = page.locator(".attribution .said")
    assert pieces.count() == 8
    page.get_by_role("button", name="Words").click()
    assert pieces.count() == 7
    page.keyboard.press("Tab")  # one stop for the whole text
    assert said.inner_text().startswith("The")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    good = found.words[5]
    assert said.inner_text() == f"good {good.value:+.4f}, {100 * (good.share or 0):.1f}% of the change"
    page.keyboard.press("End")
    assert said.inner_text() == "[SEP] stays the same in the baseline"
    pieces.nth(1).hover()
    assert said.inner_text().startswith("The")
    page.get_by_role("button", name="Tokens").click()
    assert page.get_by_role("button", name="Tokens").get_attribute("aria-pressed") == "true"
    assert pieces.count() == 8


def test_the_command(
    trained: BertForSequenceClassification, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    trained.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    assert main(["inspect", "attribution", str(folder), "the soup was good", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "glad"
    page = tmp_path / "page.html"
    assert main(["inspect", "attribution", str(folder), "bad tea", "--words", "--html", str(page)]) == 0
    assert page.exists()
    assert "what speaks for “sad”" in capsys.readouterr().out
    for wrong, message in (
        (["a", "--label", "mad"], "'mad'"),
        (["a", "--steps", "0"], "steps is 0"),
        ([""], "special"),
    ):
        assert main(["inspect", "attribution", str(folder), *wrong]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_a_label_turns_nothing_round() -> None:
    found = explained(tiny(id2label={"0": "\u05e9", "1": "b\u202e"}), "good soup", label="\u05e9")
    assert "“\u2068\u05e9\u2069”" in found.title
    assert "\u202e" not in repr(found)
    assert found.plot().texts[0].get_text() == found.title
