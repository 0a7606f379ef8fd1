"""From a model to something that runs fast, with the same answers.

The engine uses the model's own layouts and heads. On a CPU the layers are kernels in C (`bundles.py`), where they could
be built and int8 is not asked for. Elsewhere they are torch's functions: queries, keys and values come from one product
in place of three, and weights are laid out for the processor in advance. Texts are computed in order of length and in
calls of a bounded number of tokens, and nothing is kept for a backward pass. Answers are other ones only where bfloat16
or int8 is asked for. Both round the layers' linear products; by torch's functions bfloat16 rounds the attention between
them too. Embeddings, what is added up from layer to layer, LayerNorm, pooler and head stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, final

import torch
from torch import Tensor, nn

from glassbert.errors import ConfigError, InputError
from glassbert.infer import cuda
from glassbert.infer.body import Body
from glassbert.infer.bundles import NativeBert
from glassbert.infer.cuda import CudaBert
from glassbert.infer.linear import BFloat16Linear, PreparedLinear, bfloat16_linear
from glassbert.infer.quantized import QuantizedLinear
from glassbert.infer.watch import Watch
from glassbert.model.attention import packed
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertLayer, BertModel, Encoded
from glassbert.model.config import HiddenAct
from glassbert.model.inputs import Inputs
from glassbert.model.layout import Packed
from glassbert.tasks.batching import Collate, FeaturesT, RowT, by_tokens, run, without_labels

Dtype = Literal["float32", "bfloat16", "int8"]
_Linear = PreparedLinear | BFloat16Linear | QuantizedLinear
# What makes the layers' products, of weight, bias and activation.
_LINEARS: Final[dict[Dtype, Callable[..., _Linear]]] = {
    "float32": PreparedLinear,
    "bfloat16": bfloat16_linear,
    "int8": QuantizedLinear,
}
# Most tokens of a call: of torch's functions few, since it costs much to bring large results in and out of memory; of
# the kernels in C, which keep theirs in the cache, many, since threads wait for each other at the end of each call.
NATIVE_TOKENS_PER_CALL: Final = 16384
TOKENS_PER_CALL: Final[dict[Dtype, int]] = {"float32": 4096, "bfloat16": 2048, "int8": 1024}


class FusedLayer(nn.Module):
    """One layer for inference: queries, keys and values in one product, all weights prepared."""

    def __init__(
        self,
        layer: nn.Module,
        activation: HiddenAct | Callable[[Tensor], Tensor],
        linear: Callable[..., _Linear],
    ) -> None:
        """Take the weights of a `BertLayer` into linear layers of one class."""
        super().__init__()
        assert isinstance(layer, BertLayer)
        attention, projection, output = layer.attention.self, layer.attention.output, layer.output
        joined = (attention.query, attention.key, attention.value)
        self.heads = attention.num_attention_heads
        self.relative = attention.relative()
        # (H, H) three times -> (3H, H)
        self.query_key_value = linear(
            torch.cat([one.weight for one in joined]), torch.cat([one.bias for one in joined])
        )
        self.projection = linear(projection.dense.weight, projection.dense.bias)
        self.attention_norm = projection.LayerNorm
        inner = layer.intermediate.dense
        self.intermediate = linear(inner.weight, inner.bias, activation)
        self.output = linear(output.dense.weight, output.dense.bias)
        self.output_norm = output.LayerNorm

    def forward(self, hidden: Tensor, layout: Packed) -> Tensor:
        """(T, H) -> (T, H), or the rows of a narrowed layout."""
        # (T, 3H) -> 3 times (T, A, D)
        query, key, value = self.query_key_value(hidden).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        context, _ = packed(layout.queries(query), key, value, layout, dropout=0.0, relative=self.relative)
        context, residual = layout.pick(context.flatten(-2)), layout.pick(layout.queries(hidden))
        attended = self.attention_norm(_added(self.projection(context), residual))
        normed: Tensor = self.output_norm(_added(self.output(self.intermediate(attended)), attended))
        return normed


def _added(product: Tensor, residual: Tensor) -> Tensor:
    """Return the sum, in the floats of the residual.

    A fresh product of the same floats is added to in place: nobody else holds it, and fresh memory is slow.
    """
    return product.add_(residual) if product.dtype == residual.dtype else residual + product


@final
class FusedBert(Body):
    """Stands in the place of a `BertModel` inside a head: the same `encode`, faster."""

    def __init__(self, bert: BertModel, dtype: Dtype = "float32") -> None:
        """Take over the embeddings and the pooler, and fuse every layer, for products of `dtype`."""
        super().__init__(bert)
        self.layers = nn.ModuleList(
            FusedLayer(layer, bert.config.hidden_act, _LINEARS[dtype]) for layer in bert.encoder.layer
        )

    def encode(
        self, inputs: Inputs, *, rows: Literal["all", "first", "asked"] = "all", asked: Tensor | None = None
    ) -> Encoded:
        """Do what `BertModel.encode` does.

        Raises:
            InputError: as there, and where the caller asks for what the engine does not keep or compute.
        """
        layout, last = self.layouts(inputs, rows=rows, asked=asked)
        hidden = self.embeddings(
            None if inputs.ids is None else layout.enter(inputs.ids),
            layout.enter(inputs.types),
            layout.enter(inputs.positions),
            None if inputs.embeds is None else layout.enter(inputs.embeds),
        )
        states = [hidden]
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, layout if index < len(self.layers) - 1 else last)
            if inputs.want_states:
                states.append(hidden)
        return Encoded(
            hidden=hidden,
            layout=last,
            hidden_states=tuple(map(layout.leave, states)) if inputs.want_states else None,
        )


class Engine:
    """A model made ready to run: many texts in, answers in their order out.

    It computes where the model is, on the CPU or on a CUDA device, and takes tokens from the CPU. It holds on to the
    model's tensors outside the layers, and to copies of those in them, so that a model that nobody else needs leaves
    nothing behind. After training on, make a new engine: one whose model changed refuses to answer.

    Args:
        model: a `BertModel`, or a head with its BERT under `bert`.
        dtype: "float32" computes in the floats of the model. "bfloat16" and "int8" round weights and inputs of the
            layers' products to 8 significant bits or to 8 bits in all, which takes less memory and changes the answers
            a little, int8's more. bfloat16 is much faster on processors that multiply it in tiles (AMX); on others it
            rounds the weights alone and gains nothing. int8 gains for many texts, not for single ones. On CUDA
            "bfloat16" computes the layers wholly in it, as a model that is bfloat16 or float16 itself computes them in
            its own; see `glassbert.infer.cuda`.
        tokens_per_call: most tokens that are computed at once; None takes what is fast.

    Raises:
        ConfigError: another dtype, or no number of tokens.
        InputError: something else than a model; one without a BERT that the engine knows, or a decoder; weights on
            several devices, or on one that is neither the CPU nor CUDA; for int8, weights that are not float32 on the
            CPU, or a torch without such products.
    """

    def __init__(
        self, model: BertPreTrainedModel, *, dtype: Dtype = "float32", tokens_per_call: int | None = None
    ) -> None:
        """Fuse the layers; the head, if there is one, is shared with `model`."""
        if not isinstance(dtype, str) or dtype not in _LINEARS:
            raise ConfigError(f"dtype is {dtype!r}, expected one of {', '.join(_LINEARS)}")
        if not isinstance(model, BertPreTrainedModel):
            raise InputError(f"the engine takes a model such as BertModel, not {type(model).__name__}")
        if tokens_per_call is not None and (not isinstance(tokens_per_call, int) or tokens_per_call < 1):
            raise ConfigError(f"tokens_per_call is {tokens_per_call!r}, expected a whole number above 0")
        watch = Watch(model)
        # Modules of its own, so that the model's train() and eval() do not reach it, around the same tensors.
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        model = copy.deepcopy(model, shared).eval()
        bert = model if isinstance(model, BertModel) else getattr(model, model.base_model_prefix, None)
        if not isinstance(bert, BertModel):
            raise InputError(f"the engine cannot run a {type(model).__name__}: it has no BertModel under 'bert'")
        if model.config.is_decoder:
            raise InputError(f"the engine cannot run a decoder; call the {type(model).__name__} itself")
        _check_device(model, dtype)
        # Nobody asks the engine for weights, or for states unless told so, whatever the folder's config says.
        model.config.output_attentions = model.config.output_hidden_states = model.config.torchscript = False
        model.config.return_dict = True
        self._watch = watch
        self.name = dtype
        self.config = model.config
        self.bert: NativeBert | FusedBert | CudaBert
        if bert.device.type == "cuda":
            fast = cuda.TOKENS_PER_CALL
            self.bert = CudaBert(bert, torch.bfloat16 if dtype == "bfloat16" else bert.dtype)
        else:
            native = dtype != "int8" and NativeBert.takes(bert)
            fast = NATIVE_TOKENS_PER_CALL if native else TOKENS_PER_CALL[dtype]
            self.bert = NativeBert(bert, bfloat16=dtype == "bfloat16") if native else FusedBert(bert, dtype)
        self.tokens_per_call = fast if tokens_per_call is None else tokens_per_call
        self.head: BertPreTrainedModel | None = None
        if model is not bert:
            # The head's own forward on top of the fused body.
            setattr(model, model.base_model_prefix, self.bert)
            self.head = model

    @property
    def nbytes(self) -> int:
        """Bytes of all weights that it computes with."""
        whole = self.head or self.bert
        linears = [one.nbytes for one in whole.modules() if isinstance(one, _Linear | NativeBert)]
        return sum(linears) + sum(tensor.nbytes for tensor in (*whole.parameters(), *whole.buffers()))

    @torch.inference_mode()
    def logits(self, features: Sequence[FeaturesT], collate: Collate[FeaturesT]) -> Tensor:
        """Return the head's scores, one row for each of `features`, in their order.

        Raises:
            InputError: the engine was made from a model without a head; or as `run`.
        """
        if self.head is None:
            raise InputError("a BertModel without a head gives no logits; use hidden_states")
        rows = self.run(features, collate, lambda output, _: list(output.logits.cpu()))
        return torch.stack(rows) if rows else torch.empty(0)

    @torch.inference_mode()
    def run(
        self,
        features: Sequence[FeaturesT],
        collate: Collate[FeaturesT],
        rows: Callable[[Any, Sequence[FeaturesT]], Sequence[RowT]],
        *,
        states: bool = False,
    ) -> list[RowT]:
        """Return a row for each of `features`, in their order.

        Args:
            features: any number.
            collate: makes the arguments of a call from some of them; labels are left aside.
            rows: takes the output of the head, or of a `BertModel` without one, apart.
            states: whether the output shall have the hidden states of all layers.

        Raises:
            InputError: the weights of the model changed after the engine was built.
        """
        self._watch.check()
        model: nn.Module = self.bert if self.head is None else self.head
        more = {"output_hidden_states": True} if states else {}

        def forward(batch: dict[str, Tensor], some: Sequence[FeaturesT]) -> Sequence[RowT]:
            return rows(model(**without_labels(batch), **more), some)

        return run(features, collate, forward, token_budget=self.tokens_per_call)

    @torch.inference_mode()
    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return the last layer's vectors of each sequence of ids, (length, H), in their order.

        Raises:
            InputError: an empty sequence, one that is longer than the model takes, or an id out of range; or as `run`.
        """
        self._watch.check()
        if not all(map(len, sequences)):
            raise InputError("a sequence without any ids; even an empty text has [CLS] and [SEP]")
        results: dict[int, Tensor] = {}
        for group in by_tokens([len(sequence) for sequence in sequences], self.tokens_per_call):
            rows = [torch.tensor(sequences[place], dtype=torch.int64) for place in group]
            ids, mask = rows[0][None], None
            if len(rows) > 1:
                lengths = torch.tensor([len(row) for row in rows])
                ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.bert.config.pad_token_id)
                mask = torch.arange(ids.shape[1]) < lengths[:, None]
            encoded = self.bert.encode(Inputs.check(self.bert.config, input_ids=ids, attention_mask=mask))
            assert isinstance(encoded.layout, Packed)
            results.update(zip(group, encoded.layout.sequences(encoded.hidden.cpu()), strict=True))
        return [results[place] for place in range(len(sequences))]


def _check_device(model: BertPreTrainedModel, dtype: Dtype) -> None:
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) != 1 or devices[0].split(":")[0] not in ("cpu", "cuda"):
        raise InputError(
            f"the engine runs on the CPU or on one CUDA device, and the weights are on {', '.join(devices)}; "
            "call model.to('cpu') first"
        )
    if dtype == "int8" and devices != ["cpu"]:
        raise InputError(
            f"dtype 'int8' runs on the CPU, and the weights are on {devices[0]}; call model.to('cpu') first, or take "
            "'bfloat16'"
        )
