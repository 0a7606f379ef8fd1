"""Real files of words with tags and of questions with choices, read as the tasks take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from glassbert import BertTokenizerFast, read_records
from glassbert.data import Record
from glassbert.settings import ReadingSettings
from glassbert.tasks import MultipleChoice, TokenClassification, TokenClassificationExample
from glassbert.tasks.tags import spans
from glassbert.train import read_examples

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data beside the repository")


def learned(
    records: Iterable[Record], *, tokens: str = "tokens", tags: str = "tags"
) -> tuple[TokenClassification, list[TokenClassificationExample], list[str]]:
    blank = TokenClassification()
    examples = list(blank.examples(records, {"tokens": tokens, "tags": tags}))
    task = blank.learn(examples)
    return task, examples, list(task.notes(examples, []))


def entities(task: TokenClassification, examples: list[TokenClassificationExample]) -> Counter[str]:
    assert task.scheme is not None
    return Counter(span.type for example in examples for span in spans(example.tags or (), task.scheme))


def sentences(name: str) -> Iterator[Record]:
    return read_records(DATA / name, format="conll")


def tokenizer(name: str) -> BertTokenizerFast:
    return BertTokenizerFast(DATA / "vocab" / f"{name}.vocab.txt", do_lower_case="uncased" in name)


def test_wnut17() -> None:
    task, examples, _ = learned(sentences("wnut17/wnut17train.conll"))
    assert (len(examples), len(task.tags), task.scheme) == (3394, 13, "IOB2")
    assert set(entities(task, examples)) == {"person", "location", "group", "corporation", "product", "creative-work"}
    # Words of U+FE0F alone among them: each word has its place.
    found = list(task.features(examples, tokenizer("bert-base-uncased"), max_length=64))
    assert sum(len(feature.places) for feature in found) == 62730
    assert {feature.example for feature in found} == set(range(3394))


def test_wikigold_is_iob1() -> None:
    task, examples, remarks = learned(sentences("wikigold/wikigold.conll.txt"))
    assert (len(examples), task.scheme) == (1696, "IOB1")
    assert remarks[0] == "the 5 tags are read as IOB1; types of entities: LOC, MISC, ORG, PER"
    assert task.tags == ("B-LOC", "B-MISC", "B-ORG", "B-PER", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O")
    assert entities(task, examples).total() == 3558


def test_resume_is_bmes_and_a_sentence_may_end_inside_an_entity() -> None:
    task, examples, _ = learned(sentences("resume_ner/train.char.bmes"))
    assert (len(examples), len(task.tags), task.scheme) == (3821, 33, "BMES")  # 28 of them occur
    held_out = list(task.examples(sentences("resume_ner/dev.char.bmes"), {"tokens": "tokens", "tags": "tags"}))
    assert len(list(task.features(held_out, tokenizer("bert-base-chinese"), max_length=64))) > len(held_out) == 463
    begun = sum(tag[0] in "BS" for example in examples for tag in example.tags or ())
    assert entities(task, examples).total() == begun + 2  # two begin with M, where a sentence was cut in two


def test_weibo_has_entities_that_begin_with_i() -> None:
    task, examples, (remark,) = learned(sentences("weibo_ner/weiboNER_2nd_conll.train"))
    assert (len(examples), len(task.tags), task.scheme) == (1350, 17, "IOB2")
    assert remark.endswith("entities that begin with I, against the scheme, and are taken as they are: 10")


def test_msra_has_sentences_longer_than_the_model_takes() -> None:
    task, examples, _ = learned(read_records(DATA / "msra_ner/uer_dev.tsv"), tokens="text_a", tags="label")
    assert (len(examples), len(task.tags), task.scheme) == (2318, 7, "IOB2")
    found = list(task.features(examples, tokenizer("bert-base-chinese"), max_length=512))
    windows = Counter(feature.example for feature in found)
    assert [examples[number].line for number, count in windows.items() if count > 1] == [346, 776, 1913, 2034]
    assert sum(len(feature.places) for feature in found) == sum(len(example.words) for example in examples)


LAYOUTS: list[tuple[str, int, int]] = [
    ("swag/swag.csv", 11, 4),
    ("swag/sample.json", 10, 4),
    ("turkish_plu/goal-inference-test.csv", 837, 4),
    ("cosmosqa/valid.csv", 2985, 4),
    ("commonsenseqa/dev_rand_split.jsonl", 1221, 5),
    ("xcopa/val.it.jsonl", 100, 2),
    ("xcopa/val.zh.jsonl", 100, 2),
]


@pytest.mark.parametrize(("name", "count", "choices"), LAYOUTS, ids=[layout[0] for layout in LAYOUTS])
def test_questions_of_all_layouts(name: str, count: int, choices: int) -> None:
    # Nobody says which column is which.
    examples = list(read_examples(MultipleChoice(), DATA / name, ReadingSettings()))
    assert len(examples) == count
    assert {len(example.choices) for example in examples} == {choices}
    some = examples[:50]
    found = list(MultipleChoice().features(some, tokenizer("bert-base-uncased"), max_length=512))
    assert [feature.label for feature in found] == [example.label for example in some]
    labels = Counter(example.label for example in examples)
    assert set(labels) <= set(range(choices))
    assert len(labels) > 1
