"""The model and the text that a finding is about, and how a model is run so that nothing of it changes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from glassbert.checkpoint import load, load_model, load_tokenizer
from glassbert.checkpoint.folder import MODEL_CLASSES
from glassbert.errors import CheckpointError, ConfigError, InputError
from glassbert.inspect.finding import named
from glassbert.model import BertConfig, BertModel, BertPreTrainedModel
from glassbert.model.bert import BertAttention, BertLayer
from glassbert.text import BertTokenizer, BertTokenizerFast, Encoding

# Called with what is being done, how much is done, and of how much.
OnStep = Callable[[str, int, int], object]
# A model, its folder, or its name on the hub.
Model = BertPreTrainedModel | str | Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at.

    Attributes:
        model: a model.
        tokenizer: its tokenizer; None where there is none.
        name: what it is called: the folder, or the model's class; as `named` has it.
    """

    model: BertPreTrainedModel
    tokenizer: BertTokenizer | None
    name: str

    @classmethod
    def of(cls, model: Model, tokenizer: BertTokenizer | None = None, *, kind: str | None = None) -> Subject:
        """Take a model as it is, or load one with its tokenizer.

        Args:
            model: a model; or a folder, or a name on the hub.
            tokenizer: its tokenizer, where that of the folder is not meant.
            kind: name of the class to load, such as BertModel; None takes what the folder says.

        Raises:
            CheckpointError: there is no such model.
            ConfigError: there is no such class, or a model that is there already was to be loaded as another.
        """
        if kind is not None and kind not in MODEL_CLASSES:
            raise ConfigError(f"class is {kind!r}, expected one of {', '.join(MODEL_CLASSES)}")
        if isinstance(model, BertPreTrainedModel):
            if kind not in (None, type(model).__name__):
                raise ConfigError(
                    f"class is {kind!r}, but the model is a {type(model).__name__} already; give a folder"
                )
            return cls(model=model, tokenizer=tokenizer, name=type(model).__name__)
        loaded = load(model) if kind is None else load_model(MODEL_CLASSES[kind], model)
        if tokenizer is None:
            # A model without a tokenizer can be looked at too; what needs one will say so.
            with contextlib.suppress(CheckpointError):
                tokenizer = load_tokenizer(BertTokenizerFast, model)
        return cls(model=loaded, tokenizer=tokenizer, name=named(Path(model).name or str(model)))

    @property
    def config(self) -> BertConfig:
        """The model's config."""
        return self.model.config

    @property
    def bert(self) -> BertModel:
        """The BERT in the model.

        Raises:
            InputError: there is none.
        """
        bert = self.model.base_model
        if not isinstance(bert, BertModel):
            raise InputError(f"{self.name} is a {type(self.model).__name__} without a BertModel under 'bert'")
        return bert

    def words(self) -> BertTokenizer:
        """Return the tokenizer.

        Raises:
            InputError: there is none.
        """
        if self.tokenizer is None:
            raise InputError(f"{self.name} has no tokenizer, so it takes no text; give one as tokenizer=, or token ids")
        return self.tokenizer

    @property
    def limit(self) -> int:
        """Most tokens of a text.

        Raises:
            InputError: there is no tokenizer.
        """
        return min(self.config.max_position_embeddings, self.words().model_max_length)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Batch:
        """Make the model's input of texts, or of pairs of texts, padded to the longest.

        Raises:
            InputError: no text, or one that is longer than the model takes, which is never cut here: what was asked to
                be shown is shown whole.
        """
        tokenizer = self.words()
        if not texts:
            raise InputError("there is no text; give one or more")
        encoded = tokenizer.encodings(texts, pairs, details=True)
        for number, one in enumerate(encoded):
            if len(one) > self.limit:
                which = "the text has" if len(encoded) == 1 else f"text {number + 1} has"
                raise InputError(f"{which} {len(one)} tokens, the model takes at most {self.limit}; give a shorter one")
        return self.batch(encoded)

    def batch(self, encodings: Sequence[Encoding]) -> Batch:
        """Make the model's input of what the tokenizer gave, padded to the longest."""
        tokenizer = self.words()
        longest = max(map(len, encodings))

        def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
            return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], device=self.model.device)

        return Batch(
            input_ids=padded([one.ids for one in encodings], self.config.pad_token_id),
            attention_mask=padded([[1] * len(one) for one in encodings], 0),
            token_type_ids=padded([one.types for one in encodings], 0),
            tokens=tuple(tuple(tokenizer.convert_ids_to_tokens(list(one.ids))) for one in encodings),
        )

    def check_finite(self, what: str, values: Tensor) -> None:
        """Refuse what damaged weights give.

        Args:
            what: what the values are, for the message: "the vectors of layer 2".
            values: of any shape.

        Raises:
            InputError: some are NaN or infinite.
        """
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"{self.name}: {what} are not finite numbers; the model's weights are damaged")

    def sample(self, texts: Sequence[str]) -> Batch:
        """Make the model's input of texts of our own, which nobody has asked for.

        Where there is no tokenizer, or one of them is too long, it is as many rows of random tokens, each of another
        length, the same every time.
        """
        if self.tokenizer is not None:
            with contextlib.suppress(InputError):
                return self.encode(texts)
        most = min(24, self.config.max_position_embeddings)
        lengths = torch.tensor([max(1, most * (1 + row) // len(texts)) for row in range(len(texts))])
        ids = torch.randint(self.config.vocab_size, (len(texts), most), generator=torch.Generator().manual_seed(0))
        real = (torch.arange(most) < lengths[:, None]).long()
        where = self.model.device
        return Batch(
            input_ids=ids.to(where),
            attention_mask=real.to(where),
            token_type_ids=torch.zeros_like(ids).to(where),
            tokens=(),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A model's input.

    Attributes:
        input_ids: (B, S) int64.
        attention_mask: (B, S) int64, 1 at real tokens.
        token_type_ids: (B, S) int64.
        tokens: of each text, without padding; empty where the ids are random.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    tokens: tuple[tuple[str, ...], ...]

    def arguments(self) -> dict[str, Tensor]:
        """Return what a model is called with."""
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "token_type_ids": self.token_type_ids,
        }


def nothing(doing: str, done: int, total: int) -> None:
    """Take no note of a step."""


# Modes, hooks and what they remember belong to a model, so two threads look into models one after the other.
_ONE_AT_A_TIME: Final = threading.RLock()


@contextlib.contextmanager
def quietly(model: torch.nn.Module, *, gradients: bool = False) -> Iterator[contextlib.ExitStack]:
    """Run a model in eval mode; afterwards every module is in the mode that it was in.

    Args:
        model: any module.
        gradients: whether what is computed can be differentiated.

    Gives a stack for what has to be taken back as well, such as hooks: `stack.callback(handle.remove)`. All of it is
    taken back however the block ends.
    """
    with _ONE_AT_A_TIME:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        with contextlib.ExitStack() as stack, torch.set_grad_enabled(gradients):
            try:
                yield stack
            finally:
                for module, training in modes:
                    module.training = training


def layers_of(bert: BertModel) -> list[BertLayer]:
    """Return the layers of an encoder, in order.

    Raises:
        InputError: there is none, or another module in the place of one.
    """
    layers = [layer for layer in bert.encoder.layer if isinstance(layer, BertLayer)]
    if not layers or len(layers) != len(bert.encoder.layer):
        kinds = ", ".join(sorted({type(layer).__name__ for layer in bert.encoder.layer})) or "none"
        raise InputError(f"the layers are {kinds}, expected BertLayer")
    if len(set(map(id, layers))) < len(layers):
        raise InputError("several layers are one module; what a run does in each cannot be told apart")
    return layers


def heads_there(attention: BertAttention) -> list[int]:
    """Return the heads that a layer still has, by their numbers in the whole layer."""
    total = attention.self.num_attention_heads + len(attention.pruned_heads)
    return [head for head in range(total) if head not in attention.pruned_heads]


def finite(value: Tensor | float) -> float | None:
    """Return a number, or None where it is NaN or infinite, which JSON does not have."""
    number = float(value)
    return number if math.isfinite(number) else None


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as one reads it: 384 × 1536."""
    return " × ".join(map(str, shape))
