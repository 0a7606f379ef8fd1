"""Vectors of texts: losses beside those of sentence-transformers, metrics, folders that it loads."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert import (
    BertConfig,
    BertModel,
    BertTokenizer,
    ConfigError,
    DataError,
    FinetuneSettings,
    InputError,
    SentenceEncoder,
    finetune,
    pipeline,
)
from glassbert.model.losses import cosine_regression, in_batch_negatives, over_widths
from glassbert.tasks import Embedding, RetrievalMetrics, SentenceEmbedding, SimilarityMetrics
from glassbert.tasks import EmbeddingExample as Example
from glassbert.tasks.metrics import ranks_of
from glassbert.train import Notice
from glassbert.train.loop import backward

TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh")
TOKENIZER = BertTokenizer({token: number for number, token in enumerate(TOKENS)}, model_max_length=16)
PAIRS = [Example(text="a b", pair="b a"), Example(text="c", pair="d d"), Example(text="e f", pair="g")]


def encoder() -> SentenceEncoder:
    torch.manual_seed(0)
    return SentenceEncoder(config()).eval()


def config() -> BertConfig:
    return BertConfig(
        vocab_size=len(TOKENS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def batch_of(task: SentenceEmbedding, *examples: Example) -> dict[str, Tensor]:
    return task.collate(list(task.features(examples, TOKENIZER, max_length=8)), TOKENIZER)


def draw(*shape: int) -> Tensor:
    # Double precision: the peer's sums are taken in another order.
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


# -- losses


def test_the_loss_of_scores_is_that_of_sentence_transformers() -> None:
    losses = pytest.importorskip("sentence_transformers.losses", reason="the peer is not installed")
    one, other, scores = draw(6, 16), draw(6, 16).flip(0), torch.linspace(0, 1, 6, dtype=torch.float64)
    peer = losses.CosineSimilarityLoss(model=torch.nn.Identity())
    expected = peer.compute_loss_from_embeddings([one, other], scores)
    assert float(cosine_regression(one, other, scores)) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("texts", [2, 3, 4])
def test_the_loss_of_negatives_is_that_of_sentence_transformers(texts: int) -> None:
    losses = pytest.importorskip("sentence_transformers.losses", reason="the peer is not installed")
    vectors = list(draw(texts, 5, 16))
    for scale in (1.0, 20.0):
        peer = losses.MultipleNegativesRankingLoss(model=torch.nn.Identity(), scale=scale)
        expected = peer.compute_loss_from_embeddings(vectors, torch.empty(0))
        found = in_batch_negatives(vectors[0], torch.cat(vectors[1:]), scale=scale)
        assert float(found) == pytest.approx(float(expected), abs=1e-6)
    # Matryoshka: the same over the beginnings of the vectors.
    parts = [peer.compute_loss_from_embeddings([one[:, :width] for one in vectors], None) for width in (16, 4)]
    found = over_widths(in_batch_negatives, (vectors[0], torch.cat(vectors[1:])), (16, 4))
    assert float(found) == pytest.approx(float(sum(parts)) / 2, abs=1e-6)


def test_the_same_text_once_more_is_no_wrong_choice() -> None:
    task = SentenceEmbedding()
    examples = [
        Example(text="a", pair="b", negative="c"),
        Example(text="a", pair="d", negative="e"),  # the same anchor: each pair is right for both
        Example(text="f", pair="b", negative="f"),  # the pair of the first; its negative is its own text
    ]
    batch = batch_of(task, *examples)
    assert batch["labels"].tolist() == [[0, 0, 1], [2, 3, 2], [4, 5, 1]]
    model = encoder()
    vectors = pipeline(model=model, tokenizer=TOKENIZER)
    found = {text: cast(Tensor, vectors(text).vector) for text in "abcdef"}
    # By hand: what each anchor chooses from, its own first.
    choices = {("a", "b"): "bcef", ("a", "d"): "dcef", ("f", "b"): "bdce"}
    total = 0.0
    for (anchor, _), texts in choices.items():
        cosines = torch.tensor([20.0 * float(found[anchor] @ found[text]) for text in texts])
        total += float(torch.logsumexp(cosines, 0) - cosines[0])
    with torch.inference_mode():
        assert float(task.loss(model, batch)) == pytest.approx(total / 3, abs=1e-4)


def test_a_batch_of_pairs_is_computed_at_once_and_one_of_scores_need_not_be() -> None:
    scored = [Example(text=one.text, pair=one.pair, score=score) for one, score in zip(PAIRS, (0.0, 4.0, 5.0))]
    for examples, whole in ((PAIRS, True), (scored, False)):
        task = SentenceEmbedding().learn(examples)
        assert task.whole_batch is whole
        features = list(task.features(examples, TOKENIZER, max_length=8))
        assert [len(feature) for feature in features] == [8, 7, 7]
        losses = []
        for budget in (None, 8):
            model = encoder()
            collate = functools.partial(task.collate, tokenizer=TOKENIZER)
            losses.append(backward(model, features, collate, budget, task.weight, task.loss)[0])
        assert (abs(losses[0] - losses[1]) < 1e-6) is not whole
    assert list(SentenceEmbedding().notes(PAIRS, features)) == [
        "learning to find each text's pair among those of its batch, since no column of scores is named"
    ]


# -- examples and features


def test_scores_are_scaled_to_cosines() -> None:
    examples = [Example(text="a", pair="b", score=score) for score in (1.0, 5.0, 2.0)]
    task = SentenceEmbedding().learn(examples)
    assert (task.low, task.high) == (1.0, 5.0)
    assert batch_of(task, *examples)["labels"].tolist() == [0.0, 1.0, 0.25]
    assert list(task.notes(examples, [])) == ["learning that scores from 1 to 5 are cosines from 0 to 1"]
    within = SentenceEmbedding().learn([Example(text="a", pair="b", score=score) for score in (0.2, 0.9)])
    assert (within.low, within.high) == (0.0, 1.0)
    chosen = SentenceEmbedding(low=0.0, high=5.0, scale=10.0, widths=(4,))
    assert chosen.learn(examples) == SentenceEmbedding(scored=True, low=0.0, high=5.0, scale=10.0, widths=(4,))
    assert chosen.learn(PAIRS) == chosen


def test_all_first_texts_come_first() -> None:
    batch = batch_of(
        SentenceEmbedding(), Example(text="a b", pair="c", negative="d"), Example(text="e", pair="f", negative="g")
    )
    assert batch["input_ids"][:, 1].tolist() == TOKENIZER.convert_tokens_to_ids(["a", "e", "c", "f", "d", "g"])
    alone = batch_of(SentenceEmbedding(), Example(text="a"))
    assert "labels" not in alone


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([Example(text="a", file="f", line=1)], "f:1: no second text"),
        ([Example(text="a", pair="b", negative="c", score=1.0)], "a score and a negative"),
        ([*PAIRS, Example(text="a", pair="b", score=1.0)], "1 of 4 pairs have a score"),
        ([Example(text="a", pair="b", score=1.0)] * 2, "all scores are 1.0"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(examples: list[Example], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SentenceEmbedding().learn(examples)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Example(text="a", pair=" ", file="f", line=2), r"f:2: the second text \(pair\) is empty"),
        (Example(text="a", pair="b", negative="", file="f", line=2), r"f:2: the third text \(negative\) is empty"),
        (Example(text="a", negative="b", file="f", line=2), "f:2: a negative, but no second text"),
        (Example(text="a", file="f", line=2), "f:2: a second or third text stands here"),
        (Example(text="a", pair="\ud800", file="f", line=2), "f:2: .*surrogate"),
    ],
)
def test_bad_examples_are_named_by_file_and_line(bad: Example, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(SentenceEmbedding().features([PAIRS[0], bad], TOKENIZER, max_length=8))
    with pytest.raises(InputError, match="type int"):
        list(SentenceEmbedding().features([Example(text=cast(str, 3))], TOKENIZER, max_length=8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 2.0},
        {"high": math.inf},
        {"scale": 0},
        {"widths": [4, 4]},
        {"widths": [0]},
        {"widths": 4},
        {"widths": "a"},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} is"):
        SentenceEmbedding(**wrong)


def test_settings_are_kept_in_the_config() -> None:
    task = SentenceEmbedding(scored=True, low=1.0, high=5.0, scale=10.0, widths=(16, 4))
    assert SentenceEmbedding.of_model(task.configure(config())) == task
    with pytest.raises(ConfigError, match=r"widths is \[16, 4\], but vectors have 8"):
        task.configure(BertConfig(hidden_size=8, num_attention_heads=2))


# -- answers and metrics


def test_answers_name_the_vectors() -> None:
    embed = pipeline(model=encoder(), tokenizer=TOKENIZER)
    alone, pair = embed("a b"), embed(("a b", "c"))
    assert alone.similarity is None
    assert torch.allclose(alone.vector, pair.vector, atol=1e-6)
    assert pair.similarity == pytest.approx(float(alone.vector @ embed("c").vector), abs=1e-6)
    assert list(json.loads(json.dumps(alone.to_dict()))) == ["vector", "cut"]
    assert list(pair.to_dict()) == ["vector", "pair", "similarity", "cut"]
    assert len(alone.to_dict()["vector"]) == 16
    three = embed(("a b", "c", "d"))
    assert three.negative is not None
    assert embed("a " * 40).cut == 40 - 14


def test_similarity_is_measured_where_there_are_scores() -> None:
    examples = [Example(text="a", pair="b", score=score) for score in (3.0, 1.0, 2.0)]
    vectors = F.normalize(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.6, 0.8, 0.0]]), dim=-1)
    results = [Embedding(vector=vectors[0], pair=vector) for vector in vectors]
    metrics = SentenceEmbedding(widths=(1, 3)).measure(examples, results)
    assert isinstance(metrics, SimilarityMetrics)
    assert metrics.spearman == metrics.main == pytest.approx(1.0)
    assert metrics.pearson == pytest.approx(float(np.corrcoef([3, 1, 2], [1, 0, 0.6])[0, 1]))
    # One number alone has the cosine 1 or, of 0, none.
    assert metrics.by_width == pytest.approx({1: math.sqrt(0.75), 3: 1.0})
    assert json.dumps(metrics.to_dict())


def test_retrieval_is_measured_where_there_are_none() -> None:
    examples = [
        Example(text="a", pair="x"),
        Example(text="b", pair="y"),
        Example(text="a", pair="z"),
        Example(text="c", pair="x"),
    ]
    places = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.6, 0.8], "x": [1.0, 0.0], "y": [0.0, 1.0], "z": [0.8, 0.6]}
    results = [
        Embedding(vector=torch.tensor(places[one.text]), pair=torch.tensor(places[one.pair or ""])) for one in examples
    ]
    metrics = SentenceEmbedding().measure(examples, results)
    assert isinstance(metrics, RetrievalMetrics)
    # a finds x, which is its own in both examples; b finds y; c finds z, y, then x.
    assert metrics.accuracy_at_1 == 0.75
    assert metrics.main == pytest.approx((1 + 1 + 1 + 1 / 3) / 4)
    assert metrics.main_name == "mean_reciprocal_rank"


def test_negatives_are_among_those_to_choose_from() -> None:
    task = SentenceEmbedding(widths=(1,))
    query, near, far = torch.tensor([1.0, 0.0]), torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])
    examples = [Example(text="a", pair="p", negative="n"), Example(text="a", pair="q", negative="m")]

    def metrics(first: Tensor, second: Tensor) -> RetrievalMetrics:
        results = [
            Embedding(vector=query, pair=far, negative=first),
            Embedding(vector=query, pair=far, negative=second),
        ]
        found = task.measure(examples, results)
        assert isinstance(found, RetrievalMetrics)
        return found

    assert metrics(-query, -query).mean_reciprocal_rank == 1.0
    # Every text chooses among the negatives of all.
    assert metrics(near, -query).mean_reciprocal_rank == 0.5
    found = metrics(near, near)
    assert found.mean_reciprocal_rank == pytest.approx(1 / 3)
    assert found.accuracy_at_1 == 0.0
    assert found.by_width == {1: pytest.approx(1 / 3)}  # equal ones win nothing
    # A text that belongs to the same first text is no wrong one, wherever it stands.
    examples = [Example(text="a", pair="p", negative="q"), Example(text="a", pair="q", negative="p")]
    assert metrics(near, near).mean_reciprocal_rank == 1.0


def test_equal_cosines_win_nothing() -> None:
    same = np.ones((3, 2), dtype=np.float32) / np.float32(math.sqrt(2))
    assert ranks_of(same, same, [{0}, {1}, {0, 2}]) == [3, 3, 2]


def test_what_cannot_be_measured_is_refused() -> None:
    task, vector = SentenceEmbedding(), torch.ones(2)
    with pytest.raises(InputError, match="no examples"):
        task.measure([], [])
    with pytest.raises(DataError, match="no second text"):
        task.measure([Example(text="a")], [Embedding(vector=vector)])
    mixed = [Example(text="a", pair="b"), Example(text="a", pair="b", score=1.0)]
    with pytest.raises(DataError, match="some pairs have a score"):
        task.measure(mixed, [Embedding(vector=vector, pair=vector)] * 2)


# -- the recipe


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    BertModel(config()).save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def train(base: Path, rows: Sequence[tuple[object, ...]], **more: Any) -> tuple[Any, list[str]]:
    data = base.parent / "data.tsv"
    data.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    training = {"epochs": 12, "batch_size": 4, "learning_rate": 1e-2, "token_budget": 12}
    settings = FinetuneSettings(
        train=data,
        validation=data,
        model=base,
        out=base.parent / "out",
        task="sentence-embedding",
        text_column="0",
        pair_column="1",
        header=False,
        **{**training, **more},
    )
    notes: list[str] = []
    return finetune(
        settings, on_event=lambda one: notes.append(one.message) if isinstance(one, Notice) else None
    ), notes


def test_scores_are_learned_and_the_folder_is_one_of_sentence_transformers(base: Path) -> None:
    texts = ["a b", "b a a", "c d", "d c", "a a", "d d c"]
    rows = [(one, other, 5.0 if ("a" in one) == ("a" in other) else 0.0) for one in texts for other in texts]
    result, notes = train(base, rows, label_column="2", options={"widths": [16, 4]})
    assert notes[0] == "learning that scores from 0 to 5 are cosines from 0 to 1"
    assert result.metrics.spearman > 0.8
    assert set(result.metrics.by_width) == {16, 4}
    embed = pipeline(model=result.folder)
    assert embed.task == result.task == SentenceEmbedding(scored=True, high=5.0, widths=(16, 4))
    assert embed(("a b", "a a")).similarity > 0.7 > 0.3 > embed(("a b", "d c")).similarity
    peer = pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    theirs = peer.SentenceTransformer(str(result.folder), device="cpu").encode(texts)
    assert np.abs(theirs - np.stack([answer.vector for answer in embed(texts)])).max() < 1e-5


def test_pairs_find_each_other_after_training(base: Path) -> None:
    rows = [(one, f"{other} {other}", "h") for one, other in zip("abcdefg", "bcdefga")]
    result, notes = train(base, rows, columns={"negative": "2"}, epochs=20)
    assert notes[0].startswith("learning to find each text's pair")
    assert isinstance(result.metrics, RetrievalMetrics)
    assert result.metrics.main > 0.9
    assert result.evaluations[0].metrics.main < result.metrics.main


def test_a_folder_of_sentence_transformers_goes_on_as_it_is(base: Path) -> None:
    other = SentenceEncoder(config(), pooling="max", normalize=False, max_length=8)
    other.save_pretrained(base, overwrite=True)
    result, notes = train(base, [("a", "b", 0), ("c", "d", 1)], label_column="2", epochs=1)
    assert not any("random" in note for note in notes)
    loaded = SentenceEncoder.from_pretrained(result.folder)
    assert (loaded.pooling, loaded.normalize, loaded.max_length) == ("max", False, 8)
    assert pipeline(model=result.folder).max_length == 8


def test_the_prompt_of_a_folder_is_put_before_texts(base: Path) -> None:
    torch.manual_seed(0)
    prompts = {"query": "c: "}
    SentenceEncoder(config(), prompts=prompts, default_prompt="query").save_pretrained(base, overwrite=True)
    prompted = pipeline(model=base)
    plain = pipeline(model=encoder(), tokenizer=TOKENIZER)
    assert torch.allclose(prompted("a").vector, plain("c: a").vector, atol=1e-6)
    assert not torch.allclose(prompted("a").vector, plain("a").vector, atol=1e-2)


def test_columns_and_options_that_a_task_has_not_are_refused(base: Path) -> None:
    settings: dict[str, Any] = {"train": "x.tsv", "model": base, "out": base.parent / "out"}
    with pytest.raises(ConfigError, match=r"has no option 'widht'; it has low, high, scale, widths"):
        finetune(FinetuneSettings(**settings, task="sentence-embedding", options={"widht": 3}))
    with pytest.raises(ConfigError, match="regression has no option 'widths'; it has none"):
        finetune(FinetuneSettings(**settings, task="regression", options={"widths": 3}))
    with pytest.raises(ConfigError, match="doc_stride is 0"):
        finetune(FinetuneSettings(**settings, task="question-answering", options={"doc_stride": 0}))
    with pytest.raises(ConfigError, match="values by name"):
        FinetuneSettings(**settings, options=cast(Any, ["widths"]))
    with pytest.raises(ConfigError, match="no use for a negative column"):
        finetune(FinetuneSettings(**settings, columns={"negative": "2"}))
