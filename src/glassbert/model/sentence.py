"""A text's vector: BERT, pooling, and normalization to length 1.

Source: arXiv 1908.10084 (Sentence-BERT).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import ConfigError, InputError
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import BertModel
from glassbert.model.config import BertConfig
from glassbert.model.heads import _WITHOUT_POOLER
from glassbert.model.inputs import Inputs, has_values
from glassbert.model.outputs import SentenceEncoderOutput

Pooling = Literal["cls", "mean", "max"]
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]


def pool(states: Tensor, real: Tensor | None, pooling: Pooling) -> Tensor:
    """Make one vector of each text's vectors.

    Args:
        states: (B, S, H).
        real: (B, S) bool, true at real tokens; None where all are.
        pooling: "cls" takes the first token, "mean" the mean and "max" the largest of each coordinate over real tokens.

    Returns:
        (B, H); zeros for a text without real tokens.
    """
    if pooling == "cls":
        return states[:, 0]
    if real is None:
        return states.mean(dim=1) if pooling == "mean" else states.amax(dim=1)
    if has_values(states) and has_values(real) and bool(real.all()):
        # As below to the last bit, in fewer steps.
        return states.sum(dim=1) / states.shape[1] if pooling == "mean" else states.amax(dim=1)
    real = real[:, :, None].to(states.device)  # tokens may have come from the CPU to an engine on a GPU
    if pooling == "mean":
        # Padding may hold anything, also what 0 does not extinguish.
        return states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
    largest = states.masked_fill(~real, torch.finfo(states.dtype).min).amax(dim=1)
    return largest.masked_fill(~real.any(dim=1), 0.0)


class SentenceEncoder(BertPreTrainedModel):
    """One vector for a text.

    Its settings stand in the config's `extra` under "sentence_encoder", so that a saved folder knows them.

    Attributes:
        pooling: how the vectors of tokens become one.
        layers: over how many of the last layers they are averaged before.
        normalize: whether the vector is brought to length 1.
        max_length: longest text in tokens that the model was made for; None leaves it to the tokenizer.
        prompts: texts to put before a text, by name.
        default_prompt: name of the prompt for texts where no other is asked for.
        similarity: how two vectors are meant to be compared: "cosine", "dot", "euclidean", "manhattan", or None where
            nobody says.
        truncate_dim: how many numbers of a vector are kept, the first ones, after it was brought to length 1; None
            keeps all.
        lower_case: whether texts are put in lower case before the tokenizer, whatever that does itself.
    """

    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = _WITHOUT_POOLER

    def __init__(
        self,
        config: BertConfig,
        pooling: Pooling | None = None,
        layers: int | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        prompts: dict[str, str] | None = None,
        default_prompt: str | None = None,
        similarity: Similarity | None = None,
        truncate_dim: int | None = None,
        lower_case: bool | None = None,
    ) -> None:
        """Make BERT without a pooler.

        Args:
            config: of the BERT; what it says of "sentence_encoder" holds where an argument is not given.
            pooling: "mean" (the default), "cls" or "max".
            layers: the states that are pooled are the mean of the last so many layers; 1 where nothing is said.
            normalize: bring each vector to length 1; true where nothing is said.
            max_length: longest text in tokens; whoever cuts texts asks for it.
            prompts: texts to put before a text, by name; whoever has the text asks for them.
            default_prompt: the name of one of them.
            similarity: how two vectors are compared; whoever compares them asks for it.
            truncate_dim: keep so many numbers of a vector; from hidden_size on, all.
            lower_case: put texts in lower case first; whoever has the text asks for it. False where nothing is said.

        Raises:
            ConfigError: a pooling that does not exist, more layers than there are, or another setting out of bounds.
        """
        super().__init__(config)
        stored = config.extra.get("sentence_encoder", {})
        stored = stored if isinstance(stored, dict) else {}
        self.pooling: Pooling = stored.get("pooling", "mean") if pooling is None else pooling
        self.layers: int = stored.get("layers", 1) if layers is None else layers
        self.normalize: bool = stored.get("normalize", True) if normalize is None else normalize
        if self.pooling not in get_args(Pooling):
            raise ConfigError(f"pooling is {self.pooling!r}, expected one of {', '.join(get_args(Pooling))}")
        if type(self.layers) is not int or not 1 <= self.layers <= config.num_hidden_layers + 1:
            raise ConfigError(f"layers is {self.layers!r}, expected 1 to {config.num_hidden_layers + 1}")
        if type(self.normalize) is not bool:
            raise ConfigError(f"normalize is {self.normalize!r}, expected true or false")
        self.max_length: int | None = stored.get("max_length") if max_length is None else max_length
        self.prompts: dict[str, str] = dict(stored.get("prompts") or {}) if prompts is None else dict(prompts)
        self.default_prompt: str | None = stored.get("default_prompt") if default_prompt is None else default_prompt
        if self.max_length is not None and (type(self.max_length) is not int or self.max_length < 3):
            raise ConfigError(f"max_length is {self.max_length!r}, expected a whole number from 3")
        if not all(isinstance(name, str) and isinstance(text, str) for name, text in self.prompts.items()):
            raise ConfigError(f"prompts is {self.prompts!r}, expected texts by name")
        if self.default_prompt is not None and self.default_prompt not in self.prompts:
            raise ConfigError(f"default_prompt is {self.default_prompt!r}, expected one of {sorted(self.prompts)}")
        self.similarity: Similarity | None = stored.get("similarity") if similarity is None else similarity
        self.truncate_dim: int | None = stored.get("truncate_dim") if truncate_dim is None else truncate_dim
        if self.similarity is not None and self.similarity not in get_args(Similarity):
            raise ConfigError(f"similarity is {self.similarity!r}, expected one of {', '.join(get_args(Similarity))}")
        if self.truncate_dim is not None and (type(self.truncate_dim) is not int or self.truncate_dim < 1):
            raise ConfigError(f"truncate_dim is {self.truncate_dim!r}, expected a whole number from 1")
        self.lower_case: bool = stored.get("lower_case", False) if lower_case is None else lower_case
        if type(self.lower_case) is not bool:
            raise ConfigError(f"lower_case is {self.lower_case!r}, expected true or false")
        settings = {
            "pooling": self.pooling,
            "layers": self.layers,
            "normalize": self.normalize,
            "max_length": self.max_length,
            "prompts": self.prompts,
            "default_prompt": self.default_prompt,
            "similarity": self.similarity,
            "truncate_dim": self.truncate_dim,
            "lower_case": self.lower_case,
        }
        config.extra["sentence_encoder"] = settings
        self.bert = BertModel(config, add_pooling_layer=False)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SentenceEncoderOutput | tuple[Any, ...]:
        """Encode texts; the arguments are those of `BertModel.forward`.

        Raises:
            InputError: as `BertModel`.
        """
        if output_hidden_states is not None and type(output_hidden_states) is not bool:
            raise InputError(f"output_hidden_states is {output_hidden_states!r}, expected True or False")
        inputs = Inputs.check(
            self.config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=True if self.layers > 1 else output_hidden_states,
        )
        encoded = self.bert.encode(inputs, rows="first" if self.pooling == "cls" else "all")
        if self.layers > 1:
            assert encoded.hidden_states is not None
            states = torch.stack(encoded.hidden_states[-self.layers :]).mean(dim=0)
        else:
            states = encoded.first() if self.pooling == "cls" else encoded.padded()
        vectors = pool(states, inputs.real(), self.pooling)
        if self.normalize:
            vectors = F.normalize(vectors, dim=-1)
        vectors = vectors[:, : self.truncate_dim]
        asked = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = SentenceEncoderOutput(
            sentence_embedding=vectors,
            hidden_states=encoded.hidden_states if asked else None,
            attentions=encoded.attentions,
        )
        return self.as_asked(output, return_dict)
