"""Models of a user's own: whatever is done to ours is done to them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from glassbert import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertPreTrainedModel,
    CheckpointError,
    ConfigError,
)
from glassbert.model import AttentionBackend, BertEncoder
from tests.model.oracle import BACKENDS, largest_difference, seeded

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(5))
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0]])
TYPES = torch.tensor([[0, 0, 0, 1, 1, 1, 1]]).repeat(3, 1)


class Plain(BertPreTrainedModel):
    """The document's own form: BERT, a head, init_weights; what BERT gives is read by places."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^head\.",)

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.head = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.init_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        outputs = self.bert(input_ids, attention_mask, token_type_ids)
        sequence, pooled = outputs[0], outputs[1]
        scores: Tensor = self.head(self.dropout(torch.cat((sequence[:, 0], pooled), dim=-1)))
        return scores


class Several(BertPreTrainedModel):
    """Several heads, arguments of its own with defaults, and a second BERT."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^heads\.", r"^second\.")

    def __init__(self, config: BertConfig, topics: int = 4, activation: str = "tanh") -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.second = BertModel(config, add_pooling_layer=False)
        self.heads = nn.ModuleDict({"topic": nn.Linear(24, topics), "tone": nn.Linear(24, 2)})
        self.activation = activation
        self.init_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        one = self.bert(input_ids, attention_mask, token_type_ids)[1]
        other = self.second(input_ids, attention_mask, token_type_ids).last_hidden_state[:, 0]
        states = one + getattr(torch, self.activation)(other)
        return torch.cat([head(states) for head in self.heads.values()], dim=-1)


class Tagger(BertPreTrainedModel):
    """No pooler, and a buffer."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^tags\.", r"^offsets$")
    _keys_to_ignore_on_load_unexpected: ClassVar[Sequence[str]] = (r"^bert\.pooler\.",)
    offsets: Tensor

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.tags = nn.Linear(config.hidden_size, 3)
        self.register_buffer("offsets", torch.tensor([0.5, 0.0, -0.5]))
        self.init_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        outputs = self.bert(input_ids, attention_mask, token_type_ids)
        scores: Tensor = self.tags(outputs[0]) + self.offsets
        return scores[:, 0]


class Words(BertPreTrainedModel):
    """A vocabulary projection of its own, which shares the words' weight."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^words\.",)

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.words = nn.Linear(config.hidden_size, config.vocab_size)
        self.init_weights()

    def get_output_embeddings(self) -> nn.Linear:
        return self.words

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.words = new_embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        scores: Tensor = self.words(self.bert(input_ids, attention_mask, token_type_ids)[0])
        return scores[:, 0]


class Finer(BertForSequenceClassification):
    """A subclass of one of ours."""

    def __init__(self, config: BertConfig, temperature: float = 2.0) -> None:
        super().__init__(config)
        self.temperature = temperature

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        return super().forward(*inputs, **settings)[0] / self.temperature


class Body(BertModel):
    """A bare BERT of one's own: no prefix."""

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        return super().forward(*inputs, **settings)[1]


CLASSES: tuple[type[BertPreTrainedModel], ...] = (Plain, Several, Tagger, Words, Finer, Body)
HEADED = CLASSES[:-1]


def build(model_class: type[BertPreTrainedModel], **settings: Any) -> BertPreTrainedModel:
    return seeded(BertConfig(**{**SMALL, **settings}), model_class)


def scores(model: BertPreTrainedModel) -> Tensor:
    with torch.inference_mode():
        return cast(Tensor, model(IDS, MASK, TYPES))


def difference(found: Tensor, expected: Tensor) -> float:
    return largest_difference(found, expected, None)


@pytest.fixture
def plain_folder(tmp_path: Path) -> Path:
    build(BertModel).save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


# Everything that is done to a whole model


@pytest.mark.parametrize("model_class", CLASSES)
def test_the_backend_is_set_for_every_bert_inside(model_class: type[BertPreTrainedModel]) -> None:
    model = build(model_class)
    found = []
    for backend in BACKENDS:
        model.attention_backend = backend
        inside = [part for part in model.modules() if isinstance(part, BertPreTrainedModel)]
        assert all(part.attention_backend == backend for part in inside)
        found.append(scores(model))
    assert difference(found[0], found[1]) < 1e-5
    assert difference(found[0], found[2]) < 1e-5


@pytest.mark.parametrize("model_class", CLASSES)
def test_a_subclass_is_saved_and_loaded(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    model = build(model_class)
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert type(loaded) is model_class
    assert not loaded.training
    assert loaded.loading_info.fresh == loaded.loading_info.ignored == ()
    assert loaded.config.architectures == [model_class.__name__]
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    assert torch.equal(scores(loaded), scores(model))
    with pytest.raises(TypeError, match="topix"):
        model_class.from_pretrained(tmp_path, topix=3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model_class", CLASSES)
def test_a_subclass_is_loaded_with_the_backend_that_is_asked_for(
    model_class: type[BertPreTrainedModel], backend: AttentionBackend, tmp_path: Path
) -> None:
    build(model_class).save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path, attention_backend=backend)
    inside = [part for part in loaded.modules() if isinstance(part, BertPreTrainedModel)]
    assert {part.attention_backend for part in inside} == {backend}


@pytest.mark.parametrize("model_class", CLASSES)
def test_heads_of_a_subclass_are_pruned(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    model, whole = build(model_class), build(model_class)
    model.prune_heads({0: [1], -1: [0, 2]})
    assert model.config.pruned_heads == {0: [1], 1: [0, 2]}
    with torch.no_grad():
        # A head whose part of the output projection is zero says nothing.
        for layer, heads in model.config.pruned_heads.items():
            weight = whole.base_model.get_submodule(f"encoder.layer.{layer}.attention.output.dense").weight
            assert isinstance(weight, Tensor)
            for head in heads:
                weight[:, 8 * head : 8 * head + 8] = 0.0
    assert difference(scores(model), scores(whole)) < 1e-5
    assert difference(scores(model), scores(build(model_class))) > 1e-3


@pytest.mark.parametrize("model_class", [Plain, Tagger, Words, Finer, Body])
def test_a_pruned_subclass_is_saved_and_loaded(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    model = build(model_class)
    model.prune_heads({0: [1], -1: [0, 2]})
    model.save_pretrained(tmp_path)
    assert torch.equal(scores(model_class.from_pretrained(tmp_path)), scores(model))


@pytest.mark.parametrize("model_class", CLASSES)
def test_the_vocabulary_of_a_subclass_is_resized(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    model = build(model_class)
    table = model.get_input_embeddings()
    assert table is model.base_model.get_input_embeddings()
    before = scores(model)
    if model_class is Several:
        # The second BERT has words of its own, so it stays out of this.
        model.get_submodule("second").requires_grad_(False)
    resized = model.resize_token_embeddings(61)
    assert model.get_input_embeddings() is resized is not table
    assert model.config.vocab_size == 61
    after = scores(model)
    assert difference(after[:, : before.shape[1]], before) < 1e-5
    if model_class is not Several:
        with torch.inference_mode():
            model(torch.full((1, 3), 60))
        model.save_pretrained(tmp_path)
        assert torch.equal(scores(model_class.from_pretrained(tmp_path)), after)


@pytest.mark.parametrize("model_class", CLASSES)
def test_checkpointing_of_a_subclass_changes_no_gradient(model_class: type[BertPreTrainedModel]) -> None:
    plain, saving = build(model_class).train(), build(model_class).train()
    saving.gradient_checkpointing_enable()
    encoders = [module for module in saving.modules() if isinstance(module, BertEncoder)]
    assert encoders
    assert all(encoder.gradient_checkpointing for encoder in encoders)
    for model in (plain, saving):
        model(IDS, MASK, TYPES).square().mean().backward()
    gradients = 0
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) is (other.grad is None)
        if one.grad is not None and other.grad is not None:
            assert torch.equal(one.grad, other.grad)
            gradients += 1
    assert gradients > 30
    saving.gradient_checkpointing_disable()
    assert not any(encoder.gradient_checkpointing for encoder in encoders)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model_class", CLASSES)
def test_a_step_of_training_lowers_the_loss(model_class: type[BertPreTrainedModel], backend: AttentionBackend) -> None:
    torch.manual_seed(0)
    model = model_class(BertConfig(**SMALL)).train()
    model.attention_backend = backend
    labels = torch.tensor([0, 1, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(model(IDS, MASK, TYPES), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("model_class", CLASSES)
def test_a_subclass_is_copied_and_counted(model_class: type[BertPreTrainedModel]) -> None:
    model = build(model_class)
    twin = copy.deepcopy(model)
    assert torch.equal(scores(twin), scores(model))
    with torch.no_grad():
        twin.get_input_embeddings().weight.zero_()
    assert difference(scores(twin), scores(model)) > 1e-3
    assert model.num_parameters() == sum(parameter.numel() for parameter in model.parameters())
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.to(torch.float64).dtype == scores(model).dtype == torch.float64


@pytest.mark.parametrize("model_class", CLASSES)
def test_fresh_weights_of_a_subclass(model_class: type[BertPreTrainedModel]) -> None:
    torch.manual_seed(0)
    model = model_class(BertConfig(**SMALL, initializer_range=0.1))
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        if name.endswith("bias"):
            assert not values.any(), name
        elif "LayerNorm" in name:
            assert (values == 1).all(), name
        else:
            assert 0.05 < float(values.std()) < 0.15, name


# Reading a plain BERT, and being read


@pytest.mark.parametrize("model_class", CLASSES)
def test_a_plain_bert_is_loaded_and_only_what_is_new_is_fresh(
    model_class: type[BertPreTrainedModel], plain_folder: Path
) -> None:
    torch.manual_seed(0)
    loaded = model_class.from_pretrained(plain_folder)
    body = build(BertModel)
    for name, tensor in loaded.base_model.state_dict().items():
        assert torch.equal(tensor, body.state_dict()[name]), name
    new = {name for name in loaded.state_dict() if not name.startswith("bert.")} if model_class is not Body else set()
    if model_class is Words:
        new -= {"words.weight"}  # which is the words' own
    assert set(loaded.loading_info.fresh) == new
    pooler = {"pooler.dense.bias", "pooler.dense.weight"}
    assert set(loaded.loading_info.ignored) == (pooler if model_class is Tagger else set())
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
    assert bool(scores(loaded).isfinite().all())


def test_what_is_missing_and_not_named_is_an_error(plain_folder: Path) -> None:
    class Strict(Plain):
        _keys_to_ignore_on_load_missing = ()

    with pytest.raises(CheckpointError, match=r"head\.weight, head\.bias of Strict are missing; fresh=\['head'\]"):
        Strict.from_pretrained(plain_folder)
    torch.manual_seed(0)
    assert Strict.from_pretrained(plain_folder, fresh=[r"^head\."]).loading_info.fresh == ("head.weight", "head.bias")


def test_what_is_not_wanted_and_not_named_is_an_error(tmp_path: Path) -> None:
    class Strict(Tagger):
        _keys_to_ignore_on_load_unexpected = ()

    build(BertModel).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"pooler\.dense\.\w+ have no place in Strict; ignore=\['pooler'\]"):
        Strict.from_pretrained(tmp_path)


@pytest.mark.parametrize("model_class", HEADED)
def test_the_bert_inside_is_saved_and_read_as_a_plain_one(
    model_class: type[BertPreTrainedModel], tmp_path: Path
) -> None:
    model = build(model_class)
    model.base_model.save_pretrained(tmp_path)
    settings = {"add_pooling_layer": False} if model_class is Tagger else {}
    loaded = BertModel.from_pretrained(tmp_path, **settings)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK, TYPES)[0], model.base_model(IDS, MASK, TYPES)[0])


@pytest.mark.parametrize("model_class", HEADED)
def test_a_plain_bert_is_read_out_of_a_subclass(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    patterns = [r"^(head|heads|second|tags|offsets|words|classifier)\b"]
    reader = cast(type[BertModel], type("Reader", (BertModel,), {"_keys_to_ignore_on_load_unexpected": patterns}))
    model = build(model_class)
    model.save_pretrained(tmp_path)
    settings = {"add_pooling_layer": False} if model_class is Tagger else {}
    loaded = reader.from_pretrained(tmp_path, **settings)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK, TYPES)[0], model.base_model(IDS, MASK, TYPES)[0])
    assert set(loaded.loading_info.ignored) == {
        name for name in load_file(tmp_path / "model.safetensors") if not name.startswith("bert.")
    }


def test_a_bert_without_a_pooler_is_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**SMALL), add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    loaded = BertModel.from_pretrained(tmp_path, add_pooling_layer=False)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS)[0], model(IDS)[0])
    with pytest.raises(CheckpointError, match=r"pooler\.dense\.bias of BertModel are missing; .*add_pooling_layer"):
        BertModel.from_pretrained(tmp_path)


def test_arguments_of_its_own_are_given_again_when_loading(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Several(BertConfig(**SMALL), topics=9, activation="sin").eval()
    model.save_pretrained(tmp_path)
    loaded = Several.from_pretrained(tmp_path, topics=9, activation="sin")
    assert torch.equal(scores(loaded), scores(model))
    with pytest.raises(CheckpointError, match=r"heads\.topic\.\w+ has the shape \(9.*expected \(4"):
        Several.from_pretrained(tmp_path)


# Shared weights of its own


def test_a_projection_of_ones_own_shares_the_words_weight(plain_folder: Path, tmp_path: Path) -> None:
    model = build(Words)
    model.save_pretrained(tmp_path / "words")
    assert "words.weight" not in load_file(tmp_path / "words" / "model.safetensors")
    ways: list[BertPreTrainedModel] = [
        model,
        Words.from_pretrained(tmp_path / "words"),
        Words.from_pretrained(plain_folder),
        copy.deepcopy(model),
        build(Words).to(torch.float64),
    ]
    for one in ways:
        projection = one.get_output_embeddings()
        assert projection is not None
        assert projection.weight is one.get_input_embeddings().weight
    assert isinstance(model, Words)
    model.resize_token_embeddings(58)
    assert model.words.weight is model.get_input_embeddings().weight
    assert (model.words.out_features, len(model.words.bias)) == (58, 58)
    apart = build(Words, tie_word_embeddings=False)
    assert isinstance(apart, Words)
    assert apart.words.weight is not apart.get_input_embeddings().weight
    apart.resize_token_embeddings(58)
    assert tuple(apart.words.weight.shape) == tuple(apart.get_input_embeddings().weight.shape) == (58, 24)
    assert not torch.equal(apart.words.weight, apart.get_input_embeddings().weight)


def test_a_new_bias_of_the_projection_does_not_cost_the_words(plain_folder: Path) -> None:
    torch.manual_seed(0)
    loaded = Words.from_pretrained(plain_folder)
    assert isinstance(loaded, Words)
    assert loaded.loading_info.fresh == ("words.bias",)
    assert not loaded.words.bias.any()
    assert torch.equal(loaded.words.weight, build(BertModel).get_input_embeddings().weight)


def test_where_one_tensor_of_a_head_is_missing_the_other_is_kept(tmp_path: Path) -> None:
    model = build(Plain)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["head.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = Plain.from_pretrained(tmp_path)
    assert isinstance(loaded, Plain)
    assert loaded.loading_info.fresh == ("head.bias",)
    assert torch.equal(loaded.head.weight, model.state_dict()["head.weight"])


# What a constructor makes


class Made(BertPreTrainedModel):
    """Parts that are neither Linear nor Embedding, and values that the constructor chooses."""

    _keys_to_ignore_on_load_missing: ClassVar[Sequence[str]] = (r"^mix$", r"^recurrent\.", r"^gate\.", r"^norm\.")

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.recurrent = nn.LSTM(config.hidden_size, 5)
        self.gate = nn.Linear(5, 2)
        self.norm = nn.LayerNorm(5)
        self.init_weights()
        self.mix = nn.Parameter(torch.full((2,), 0.25))
        nn.init.constant_(self.gate.bias, -3.0)
        nn.init.constant_(self.norm.weight, 0.5)
        for parameter in self.recurrent.parameters():
            nn.init.constant_(parameter, 0.125)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        states = self.recurrent(self.bert(input_ids, attention_mask, token_type_ids)[0])[0]
        gated: Tensor = self.gate(self.norm(states[:, 0])) * self.mix
        return gated


class Remembers(Plain):
    """A tensor that is neither parameter nor buffer, and numbers taken out of one."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.prior = torch.tensor([0.5, -0.5])
        self.rates = [float(value) for value in torch.linspace(0.0, 1.0, 3)]

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        return super().forward(*inputs, **settings) + self.prior * self.rates[1]


def test_new_parts_have_the_values_that_the_constructor_gave_them(plain_folder: Path) -> None:
    torch.manual_seed(0)
    loaded = Made.from_pretrained(plain_folder)
    assert isinstance(loaded, Made)
    assert loaded.mix.tolist() == [0.25, 0.25]
    assert loaded.gate.bias.tolist() == [-3.0, -3.0]
    assert loaded.norm.weight.tolist() == [0.5] * 5
    assert all((parameter == 0.125).all() for parameter in loaded.recurrent.parameters())
    assert 0.0 < float(loaded.gate.weight.detach().std()) < 0.1


@pytest.mark.parametrize("model_class", [Made, Remembers])
def test_whatever_a_constructor_makes_comes_back(model_class: type[BertPreTrainedModel], tmp_path: Path) -> None:
    model = build(model_class)
    model.save_pretrained(tmp_path)
    assert torch.equal(scores(model_class.from_pretrained(tmp_path)), scores(model))


def test_a_plain_tensor_of_a_constructor_holds_its_values_after_loading(plain_folder: Path) -> None:
    torch.manual_seed(0)
    loaded = Remembers.from_pretrained(plain_folder)
    assert isinstance(loaded, Remembers)
    assert loaded.prior.tolist() == [0.5, -0.5]
    assert loaded.rates == [0.0, 0.5, 1.0]


class Choosy(Plain):
    """Says itself how attention is computed, and what is not trained."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.attention_backend = "sdpa"
        self.bert.embeddings.requires_grad_(False)


def test_what_a_constructor_chooses_stays_chosen_after_loading(tmp_path: Path) -> None:
    build(Choosy).save_pretrained(tmp_path)
    loaded = Choosy.from_pretrained(tmp_path)
    assert isinstance(loaded, Choosy)
    assert loaded.attention_backend == loaded.bert.attention_backend == "sdpa"
    assert not any(parameter.requires_grad for parameter in loaded.bert.embeddings.parameters())
    assert all(parameter.requires_grad for parameter in loaded.bert.encoder.parameters())


class Prefixed(BertPreTrainedModel):
    """Another name for the BERT inside."""

    base_model_prefix: ClassVar[str] = "body"

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.body = BertModel(config)
        self.init_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        pooled: Tensor = self.body(input_ids, attention_mask, token_type_ids)[1]
        return pooled


def test_the_bert_inside_may_have_another_name(plain_folder: Path, tmp_path: Path) -> None:
    loaded = Prefixed.from_pretrained(plain_folder)
    assert isinstance(loaded, Prefixed)
    assert loaded.base_model is loaded.body
    assert torch.equal(scores(loaded), scores(build(Body)))
    loaded.prune_heads({0: [1]})
    loaded.resize_token_embeddings(60)
    loaded.attention_backend = "eager"
    assert loaded.body.attention_backend == "eager"
    loaded.save_pretrained(tmp_path / "again")
    assert difference(scores(loaded), scores(build(Body))) > 1e-3
    assert {name.split(".")[0] for name in load_file(tmp_path / "again" / "model.safetensors")} == {"body"}


class Without(BertPreTrainedModel):
    """No BERT at all."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.layer = nn.Linear(config.hidden_size, 2)
        self.init_weights()


def test_a_model_without_a_bert_says_so(tmp_path: Path) -> None:
    model = build(Without)
    assert model.base_model is model
    for action in (
        model.get_input_embeddings,
        lambda: model.set_input_embeddings(nn.Embedding(50, 24)),
        lambda: model.resize_token_embeddings(60),
        lambda: model.prune_heads({0: [1]}),
    ):
        with pytest.raises(ConfigError, match="Without has no model under 'bert'"):
            action()
    model.save_pretrained(tmp_path)
    assert torch.equal(
        Without.from_pretrained(tmp_path).state_dict()["layer.weight"], model.state_dict()["layer.weight"]
    )


class Sized(BertPreTrainedModel):
    """A model whose constructor makes the config itself."""

    def __init__(self, *, width: int = 24) -> None:
        super().__init__(BertConfig(**{**SMALL, "hidden_size": width}))
        self.bert = BertModel(self.config)
        self.init_weights()


def test_a_constructor_need_not_take_a_config() -> None:
    assert Sized().bert.config.hidden_size == 24
    assert Sized(width=48).config.hidden_size == 48
    model = Sized()
    model.prune_heads({0: [1]})
    assert model.config is model.bert.config
    with pytest.raises(TypeError, match="config"):
        BertModel()  # type: ignore[call-arg]


def test_a_config_by_name_is_copied_too() -> None:
    config = BertConfig(**SMALL)
    model = BertModel(config=config)
    model.prune_heads({0: [1]})
    assert config.pruned_heads == {}
    assert model.config.pruned_heads == {0: [1]}
