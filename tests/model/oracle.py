"""Cases that transformers 4.4.2 computed: weights, inputs, outputs, gradients."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.checkpoint.keys import rename
from glassbert.model import AttentionBackend, BertConfig, BertPreTrainedModel
from glassbert.train import AdamW, clip_gradients, get_scheduler, parameter_groups

HERE = Path(__file__).parent / "golden"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "oracle" / "model"
FORWARD = (
    "model_plain",
    "model_padding_mask",
    "model_padding_mask_left",
    "model_mask_3d",
    "model_token_type_ids",
    "model_position_ids",
    "model_inputs_embeds",
    "model_head_mask_1d",
    "model_head_mask_2d",
    "model_all_outputs",
    "model_outputs_from_config",
    "model_relative_key",
    "model_relative_key_query",
    "model_relative_key_full_length",
    "model_full_length",
    "model_chunk_1",
    "model_pruned",
    "model_act_gelu",
    "model_act_relu",
    "model_act_gelu_new",
    "model_act_silu",
    "model_no_pooler",
    "model_layer_norm_eps",
    "model_types_5",
    "decoder_causal",
    "decoder_causal_cache_returned",
    "decoder_mask_3d",
    "decoder_left_padding",
    "decoder_relative_key",
    "decoder_cross_attention",
    "decoder_cross_attention_no_mask",
    "decoder_cross_attention_unused",
    "decoder_cross_encoder_mask_3d",
    "decoder_steps",
    "decoder_steps_mask",
    "decoder_cross_steps",
    "pretraining",
    "pretraining_no_labels",
    "pretraining_one_label",
    "masked_lm",
    "masked_lm_untied",
    "masked_lm_relu",
    "masked_lm_relative",
    "lm_head",
    "lm_head_cross",
    "lm_head_steps",
    "next_sentence",
    "sequence_classification",
    "sequence_regression",
    "multiple_choice",
    "multiple_choice_no_labels",
    "token_classification",
    "token_classification_no_mask",
    "question_answering",
    "question_answering_outside",
    "tuple_output",
)
GRADIENTS = (
    "gradient_sequence_classification",
    "gradient_masked_lm",
    "gradient_masked_lm_relative",
    "gradient_lm_head_cross",
)

TRAINING = ("training_sequence_classification", "training_masked_lm_no_bias_correction")


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: what was computed, and the tensors by name."""

    values: dict[str, Any]
    tensors: dict[str, Tensor]

    def model(self, backend: AttentionBackend) -> BertPreTrainedModel:
        """Build the model with the case's weights, in eval mode."""
        config = BertConfig.from_dict(self.values["config"])
        model = MODEL_CLASSES[self.values["class"]](config, **self.values["init"])
        given = {name.removeprefix("weight."): t for name, t in self.tensors.items() if name.startswith("weight.")}
        names = rename(given, set(model.state_dict()), "bert")
        model.load_state_dict({name: given[key] for key, name in names.items()})
        if "prune_heads" in self.values:
            model.prune_heads({int(layer): heads for layer, heads in self.values["prune_heads"].items()})
        model.attention_backend = backend
        return model.eval()

    @property
    def calls(self) -> int:
        """How many forward calls there are."""
        return len(self.values["calls"])

    def arguments(self, call: int = 0, earlier: Sequence[Any] = ()) -> dict[str, Any]:
        """Return the keyword arguments of one call; some are outputs of earlier ones."""
        given: dict[str, Any] = self.values["calls"][call]["arguments"]
        return {name: self._argument(value, earlier) for name, value in given.items()}

    def _argument(self, value: Any, earlier: Sequence[Any]) -> Any:
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            return self.tensors[value["tensor"]].clone()  # so that a model that writes into it is found out
        return getattr(earlier[value["call"]], value["output"])

    def outputs(self, call: int = 0) -> dict[str, Any]:
        """Return what it gave, tuples as lists."""
        named: dict[str, Any] = self.values["calls"][call]["outputs"]
        return {name: self._tensors(where) for name, where in named.items()}

    def step(self, number: int) -> dict[str, Tensor]:
        """Return the batch of one step of a training run."""
        return {name: self.tensors[f"in.step{number}.{name}"] for name in self.values["arguments"]}

    def _tensors(self, where: Any) -> Any:
        return [self._tensors(one) for one in where] if isinstance(where, list) else self.tensors[where]


def case(name: str) -> Case:
    """Load a case, from this folder or from the collection beside the repository; skip where it is in neither."""
    for folder in (HERE, SHARED):
        if (folder / f"{name}.json").is_file():
            values = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            return Case(values, load_file(folder / f"{name}.safetensors"))
    pytest.skip(f"the golden case {name} is not on this machine")


def real_rows(found: Tensor, expected: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Leave out rows of padding, which no backend owes anyone, where the tensors have rows (B, S, …)."""
    if mask is None or found.dim() < 2:
        return found, expected
    if found.dim() == 4:  # attentions (B, A, S, …) and cached keys: rows are queries
        found, expected = found.transpose(1, 2), expected.transpose(1, 2)
    if tuple(found.shape[:2]) != tuple(mask.shape):
        return found, expected
    real = mask.bool()
    return found[real], expected[real]


def largest_difference(found: Any, expected: Any, mask: Tensor | None) -> float:
    """Compare two tensors, or two sequences of them, on real rows."""
    if not isinstance(expected, Tensor):
        assert isinstance(found, tuple)
        assert len(found) == len(expected)
        return max(largest_difference(one, other, mask) for one, other in zip(found, expected, strict=True))
    assert found.shape == expected.shape
    found, expected = real_rows(found, expected, mask)
    return float((found.double() - expected.double()).abs().max())


def compare(golden: Case, backend: AttentionBackend) -> dict[str, float]:
    """Run the calls of a case and return the largest difference of each output, on real rows.

    Weights and caches are formed by `eager` and `sdpa` whatever is set, so that cases which ask for them run a second
    time without, to see the backend itself.
    """
    largest = _compare(golden, backend, {})
    asked = {key for call in golden.values["calls"] for key in call["outputs"]}
    if backend != "eager" and golden.calls == 1 and asked & {"attentions", "past_key_values"}:
        quick = {"output_attentions": False}
        if golden.values["config"].get("is_decoder"):
            quick["use_cache"] = False
        for key, value in _compare(golden, backend, quick).items():
            largest[key] = max(largest[key], value)
    return largest


def _compare(golden: Case, backend: AttentionBackend, changes: dict[str, Any]) -> dict[str, float]:
    model = golden.model(backend)
    earlier: list[Any] = []
    largest: dict[str, float] = {}
    for number in range(golden.calls):
        arguments = golden.arguments(number, earlier) | changes
        with torch.inference_mode():
            result = model(**arguments)
        earlier.append(result)
        expected = golden.outputs(number)
        if changes:
            for key in ("attentions", "cross_attentions", "past_key_values"):
                expected.pop(key, None)
        if isinstance(result, tuple):
            order = [key for key in golden.values["calls"][number]["output_order"] if key in expected]
            result = dict(zip(order, result, strict=True))
        # One loss is ours alone: that of one label in pretraining.
        assert result.keys() - {"loss"} == expected.keys() - {"loss"}
        mask = arguments.get("attention_mask")
        if mask is not None and tuple(mask.shape) != tuple(arguments.get("input_ids", mask).shape):
            mask = None if mask.dim() == 3 else mask[:, -arguments["input_ids"].shape[1] :]
        for key, values in expected.items():
            largest[key] = max(largest.get(key, 0.0), largest_difference(result[key], values, mask))
    return largest


def train(golden: Case, backend: AttentionBackend) -> dict[str, float]:
    """Make the optimizer steps of a training case; return the largest differences, those of norms relative."""
    values, settings, model = golden.values, golden.values["optimizer"], golden.model(backend).train()
    optimizer = AdamW(
        parameter_groups(model, settings["weight_decay"]),
        lr=settings["lr"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        correct_bias=settings["correct_bias"],
    )
    plan = values["schedule"]
    schedule = get_scheduler(plan["name"], optimizer, plan["num_warmup_steps"], plan["num_training_steps"])
    largest = {"rates": 0.0, "losses": 0.0, "norms": 0.0, "weights": 0.0}

    def note(name: str, difference: float) -> None:
        largest[name] = max(largest[name], difference)

    for step in range(values["steps"]):
        note("rates", abs(schedule.get_last_lr()[0] - values["learning_rates"][step]))
        loss = model(**golden.step(step)).loss
        note("losses", abs(float(loss.detach()) - values["losses"][step]))
        loss.backward()
        norm = clip_gradients(model, values["clip_grad_norm"])
        note("norms", abs(norm / values["grad_norms"][step] - 1.0))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        for done, prefix in ((2, "after2."), (values["steps"], "final.")):
            if step + 1 == done:
                for key, parameter in model.named_parameters():
                    note("weights", largest_difference(parameter.detach(), golden.tensors[prefix + key], None))
    return largest


BACKENDS: tuple[AttentionBackend, ...] = ("eager", "sdpa", "packed")


def seeded(config: BertConfig, model_class: type[BertPreTrainedModel], seed: int = 0) -> BertPreTrainedModel:
    """Build a model whose weights are all random and large, biases and LayerNorm too, so that mix-ups show."""
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model.eval()
