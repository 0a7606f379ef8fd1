"""Answers for batches of columns, alone and on a local cluster of Ray."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from glassbert import (
    BatchAnswers,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertTokenizer,
    ConfigError,
    DataError,
    InputError,
    SentenceEncoder,
    learn_vocabulary,
    pipeline,
)

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["the cat sat", "a dog", "the cat and the dog ran on and on"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    vocabulary = learn_vocabulary(TEXTS, size=60, min_frequency=1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, kind in (
            ("classifies", BertForSequenceClassification),
            ("asks", BertForQuestionAnswering),
            ("embeds", SentenceEncoder),
        ):
            kind(config).save_pretrained(folder / name)
            BertTokenizer(vocabulary, model_max_length=32).save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("kind", [object, np.str_])
def test_columns_in_and_columns_out(models: Path, kind: type) -> None:
    answers = BatchAnswers("text-classification", models / "classifies")
    batch = {"text": np.array(TEXTS, dtype=kind), "id": np.arange(3)}
    found = answers(batch)
    assert list(found) == ["text", "id", "label", "score", "scores", "cut"]
    expected = pipeline(model=models / "classifies")(TEXTS)
    assert found["label"].tolist() == [one.label for one in expected]
    np.testing.assert_array_equal(found["score"], [one.score for one in expected])
    assert [str(found[name].dtype) for name in ("score", "cut")] == ["float64", "int64"]
    assert found["scores"].tolist() == [one.scores for one in expected]
    assert found["id"] is batch["id"]
    assert answers({"text": np.array([], dtype=object)}).keys() == {"text"}


def test_vectors_are_one_array(models: Path) -> None:
    found = BatchAnswers(None, str(models / "embeds"), "body", prefix="its_")({"body": np.array(TEXTS, dtype=object)})
    assert found["its_vector"].shape == (3, 16)
    assert str(found["its_vector"].dtype) == "float32"
    expected = [one.vector.numpy() for one in pipeline(model=models / "embeds")(TEXTS)]
    np.testing.assert_array_equal(found["its_vector"], np.stack(expected))


def test_columns_of_other_roles(models: Path) -> None:
    answers = BatchAnswers(None, models / "asks", "q", columns={"context": "where"})
    batch = {"q": np.array(["the cat", "a dog"], dtype=object), "where": np.array(TEXTS[:2], dtype=object)}
    found = answers(batch)
    expected = pipeline(model=models / "asks")([("the cat", TEXTS[0]), ("a dog", TEXTS[1])])
    assert found["text"].tolist() == [one.text for one in expected]
    assert found["candidates"].tolist() == [one.to_dict()["candidates"] for one in expected]


def test_it_goes_to_other_processes_by_its_arguments(models: Path) -> None:
    answers = BatchAnswers("feature-extraction", models / "embeds", pooling="mean", prefix="a_")
    sent = pickle.dumps(answers)
    assert len(sent) < 1000
    batch = {"text": np.array(TEXTS, dtype=object)}
    np.testing.assert_array_equal(pickle.loads(sent)(batch)["a_vectors"], answers(batch)["a_vectors"])


def test_what_cannot_be_is_named(models: Path) -> None:
    answers = BatchAnswers(None, models / "classifies")
    texts = np.array(TEXTS, dtype=object)
    with pytest.raises(InputError, match="no column 'text'; the columns are 'body'"):
        answers({"body": texts})
    with pytest.raises(InputError, match=r"both have a column 'label'; set prefix"):
        answers({"text": texts, "label": texts})
    with pytest.raises(DataError, match=r"inputs\[1\]: the text is empty"):
        answers({"text": np.array(["a", " "], dtype=object)})
    with pytest.raises(InputError, match="the input has 'text', 'tea'"):
        BatchAnswers(None, models / "classifies", columns={"tea": "text"})({"text": texts})
    with pytest.raises(ConfigError, match="no option 'top_k'"):
        BatchAnswers(None, models / "classifies", top_k=3)
    with pytest.raises(InputError, match="expected the name of a folder"):
        BatchAnswers(None, pipeline(model=models / "classifies"))  # type: ignore[arg-type]


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (pip install 'glassbert[scale]')"
)
def test_the_example_on_a_local_cluster(models: Path, tmp_path: Path) -> None:
    rows = "".join(f"{number},{text}\n" for number, text in enumerate(TEXTS * 30))
    (tmp_path / "texts.csv").write_text(f"label,text\n{rows}", encoding="utf-8")
    # More CPUs than there may be: they are only counted, and reading and answering each take one.
    code = (
        "import sys, ray; sys.path.insert(0, sys.argv.pop(1));"
        "ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27);"
        "from examples.ray_predict import main; main(*sys.argv[1:]); ray.shutdown()"
    )
    command = [sys.executable, "-c", code, str(ROOT), str(models / "classifies"), "texts.csv", str(tmp_path / "out")]
    quiet = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    place = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **quiet, **place},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(parquet.read_table(tmp_path / "out").to_pylist(), key=lambda row: row["label"])
    assert [row["text"] for row in found] == TEXTS * 30
    expected = pipeline(model=models / "classifies")(TEXTS)
    for number, row in enumerate(found):
        one = expected[number % 3]
        assert row["answer_label"] == one.label
        assert row["answer_scores"] == pytest.approx(one.scores, abs=1e-6)
