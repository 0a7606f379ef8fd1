"""The card: what the hub reads, what people read, and programs that run."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from glassbert import OutputExistsError
from glassbert.checkpoint.hub import CARD
from glassbert.files import check_output
from glassbert.tasks import TASKS
from glassbert.tasks.text_classification import measure
from glassbert.train.card import card, hub_name, write_card
from tests.train.test_report import METRICS, record

TAGS = {
    "text-classification": ("text-classification", "accuracy"),
    "multi-label-classification": ("text-classification", "f1"),
    "regression": ("text-classification", "spearmanr"),
    "token-classification": ("token-classification", "f1"),
    "multiple-choice": ("multiple-choice", "accuracy"),
    "question-answering": ("question-answering", "f1"),
    "sentence-embedding": ("sentence-similarity", "spearmanr"),
}


def front(text: str) -> dict[str, Any]:
    """Return what the hub reads at the head of a card."""
    data: Any = ModelCard(text).data
    found: dict[str, Any] = data.to_dict()
    return found


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


@pytest.mark.parametrize("task", list(TASKS))
def test_the_card_of_each_task(task: str, tmp_path: Path) -> None:
    run = record(task)
    run["settings"] |= {"out": "runs/my-model", "model": "owner/some-bert", "max_length": 64}
    write_card(tmp_path, run)
    whole = (tmp_path / CARD).read_text(encoding="utf-8")
    data = front(whole)
    tag, metric = TAGS[task]
    assert data["pipeline_tag"] == tag
    assert data["base_model"] == "owner/some-bert"
    assert data["library_name"] == ("sentence-transformers" if task == "sentence-embedding" else "transformers")
    assert data["tags"] == ["bert", "glassbert"]
    assert data["metrics"][0] == metric
    (index,) = data["model-index"]
    assert index["name"] == "my-model"
    (result,) = index["results"]
    assert result["metrics"][0] == {
        "type": metric,
        "value": METRICS[task].main,
        "name": result["metrics"][0]["name"],
    }
    assert (result["dataset"]["split"], result["task"]["type"]) == ("validation", tag)
    text = ModelCard(whole).text
    assert f"**{METRICS[task].main:.4f}** on 4 validation examples" in text
    assert "glassbert predict my-model" in text
    assert "64 tokens are" in text
    assert "1,234 examples of `train.csv`" in text
    programs = blocks(text, "python")
    assert len(programs) == 2
    for program in programs:
        assert '"my-model"' in program
        ast.parse(program)


def test_results_on_test_data_go_first() -> None:
    run = record("regression")
    run["test"] = METRICS["regression"].to_dict() | {"spearman": 0.125}
    run["data"]["test"] = {"files": ["x/test.csv"], "sha256": ["0"], "examples": 4, "skipped": 0}
    text = card(run)
    assert "Spearman **0.1250** on 4 test examples" in text
    assert "| Spearman | 0.1250 | 0.2500 |" in text
    found = front(text)["model-index"][0]["results"][0]
    assert (found["dataset"]["name"], found["dataset"]["split"]) == ("test.csv", "test")
    assert "somewhat too good" not in text
    assert "somewhat too good" in card(record("regression"))


def test_what_is_not_known_is_not_said() -> None:
    text = card({"task": "text-classification"})
    data = front(text)
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["bert", "glassbert"],
    }
    assert "It was not evaluated." in text
    for word in ("## Labels", "## Versions", "None ", "| Setting"):
        assert word not in text


def test_folders_of_this_machine_are_not_told(tmp_path: Path) -> None:
    run = record()
    run["settings"] |= {"train": f"{tmp_path}/train.csv", "model": str(tmp_path), "out": f"{tmp_path}/out/name"}
    run["data"]["training"]["files"] = [f"{tmp_path}/train.csv"]
    text = card(run)
    assert str(tmp_path.parent) not in text
    assert "base_model" not in text
    assert "| Train | `train.csv` |" in text


def test_names_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_name("owner/name") == "owner/name"
    assert hub_name("bert-base-uncased") == "bert-base-uncased"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for local in ("owner/name", "./x", "/x/y", "a/b/c", "~/x", "", "x" * 200, "C:\\x"):
        assert hub_name(local) is None, local


STRANGE = "a: |`'\"# {x} ``` <details>\n---\n- b\t\\ é نعم"


def test_whatever_names_hold_is_quoted() -> None:
    run = record(metrics=measure([STRANGE, "b"], ["b", "b"], [STRANGE, "b"]))
    run["settings"] |= {"out": STRANGE, STRANGE: STRANGE, "model": STRANGE}
    run["data"]["validation"] = {"files": [STRANGE], "sha256": ["0"], "examples": 4, "skipped": 0}
    run["notes"], run["versions"][STRANGE] = [STRANGE], STRANGE
    text = card(run)
    (index,) = front(text)["model-index"]
    assert index["name"] == STRANGE
    name = index["results"][0]["dataset"]["name"]
    assert name == Path(STRANGE).name
    # Every row of a table has the cells of its head.
    for table in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}
        assert len(counts) == 1, table
    (program, _) = re.findall(r"^````python\n(.*?)^````$", text, flags=re.M | re.S)
    call: Any = ast.parse(program).body[1]
    assert call.value.keywords[0].value.value == STRANGE


def test_a_card_that_nobody_changed_may_be_replaced_and_another_may_not(tmp_path: Path) -> None:
    write_card(tmp_path, record())
    assert check_output(tmp_path, overwrite=True) == tmp_path
    file = tmp_path / CARD
    file.write_text(file.read_text("utf-8").replace("## Limits", "## Limits\n\nIt likes cats."), "utf-8")
    with pytest.raises(OutputExistsError, match=r"README\.md"):
        check_output(tmp_path, overwrite=True)
    for text in ("", "a card of mine\n", "<!-- glassbert 123 -->\n"):
        file.write_text(text, "utf-8")
        with pytest.raises(OutputExistsError, match=r"README\.md"):
            check_output(tmp_path, overwrite=True)


@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification", "regression"])
def test_a_model_of_pairs_is_shown_with_pairs(task: str) -> None:
    text = card(record(task) | {"pairs": True})
    assert '--pair "another"' in text
    assert 'answer(("a text", "another"))' in text
    assert 'classify({"text": "a text", "text_pair": "another"}' in text
    assert "--pair" not in card(record(task) | {"pairs": False})
