"""Write `docs/parity.md`: our pipelines and those of transformers, on models that were trained on real texts.

`python docs/parity.py` needs the peers (`pip install 'glassbert[bench]'`) and the data beside the repository. It trains
a model for each task, some minutes each; with `--models FOLDER` they stay there and are taken from there the next time.
The tests hold the same promises with small models.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers

from docs.forms import minilm
from glassbert import FinetuneSettings, PrepareSettings, finetune, prepare, read_records
from glassbert.settings import PretrainSettings
from glassbert.tasks.pieces import Grouping
from glassbert.train import pretrain
from tests.infer import parity
from tests.infer.parity import Compared

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PEER = f"transformers {transformers.__version__}"
HEAD = """# Parity with the pipelines of transformers and sentence-transformers

The same model folder, read by both, and the same texts: how many have equal answers, and the largest difference
between two scores; fp32, one thread. The models are all-MiniLM-L6-v2, as it is or after a short training on the data
named in the last column. Ours were told `word_boundaries="marks"` for tags, and `scoring="windows"`, `overlap` and
`max_answer_length=15` for questions. Written by `docs/parity.py`; `tests/infer/test_parity.py` holds the same with
small models.

| what | peer | texts | equal answers | of | largest difference | model |
| --- | --- | --- | --- | --- | --- | --- |
"""
TAIL = """
An answer is equal where the most probable class is the same; where the same labels reach their thresholds; where a
number differs by less than 1e-4; where all entities of a text have the same type, begin and end (scores are compared
there); where the best answer has the same text, begin and end (scores are compared of the five best); where the
same choice is the most probable, the same five tokens in the same order, the same of "follows" and "does not"; where
there are as many vectors; where the nearest other text is the same; where the same documents come in the same order.

See [differences.md](differences.md) for the options that make answers equal, and for what differs on purpose.
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: task and options.
        peer: what it is compared with.
        found: the comparison.
        things: what was compared beside texts, such as entities.
        model: what the model was trained on.
    """

    what: str
    peer: str
    found: Compared
    things: str
    model: str

    def __str__(self) -> str:
        """Return it in Markdown."""
        same = f"{self.found.same} ({100 * self.found.same / self.found.texts:.1f}%)"
        numbers = f"{self.found.texts} | {same} | {self.found.things} {self.things} | {self.found.difference:.1e}"
        return f"| {self.what} | {self.peer} | {numbers} | {self.model} |\n"


class Models:
    """Trained models, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, steps: int, **settings: Any) -> Path:
        """Return the folder of a model; it is trained where it is not there."""
        folder = self._folder / name
        if not (folder / "config.json").exists():
            torch.manual_seed(0)
            usual: dict[str, Any] = {"batch_size": 16, "learning_rate": 1e-4}
            finetune(FinetuneSettings(model=minilm(), out=folder, steps=steps, **(usual | settings)))
        return folder

    def pretrained(self, name: str, steps: int) -> Path:
        """Return the folder of a model with the heads of pretraining, which has learned some steps."""
        folder = self._folder / name
        if not (folder / "config.json").exists():
            text = self._folder / "text.txt"
            text.write_text("\n".join(sentences("wnut17train.conll", 3000)) + "\n", encoding="utf-8")
            shards = self._folder / "shards"
            settings = PrepareSettings(texts=[text], vocab=minilm(), out=shards, max_length=48, overwrite=True)
            prepare(settings)
            usual: dict[str, Any] = {"batch_size": 16, "learning_rate": 1e-3}
            pretrain(PretrainSettings(shards=shards, model=minilm(), out=folder, steps=steps, **usual))
        return folder

    def write(self, name: str, rows: list[dict[str, Any]]) -> Path:
        """Write records for training."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path


def sentences(file: str, count: int) -> list[str]:
    """Return the sentences of a file of words, as texts."""
    records = read_records(DATA / "wnut17" / file)
    return [" ".join(record.strings("tokens")) for record, _ in zip(records, range(count), strict=False)]


def classes(models: Models) -> Iterator[Row]:
    """Classes of single texts."""
    folder = models.get(
        "single",
        150,
        train=DATA / "sst2" / "train.tsv",
        task="text-classification",
        header=False,
        text_column=0,
        label_column=1,
    )
    lines = (DATA / "sst2" / "dev.tsv").read_text(encoding="utf-8").splitlines()[:300]
    texts = [line.split("\t")[0] for line in lines]
    yield Row("text classification", PEER, parity.text_classification(folder, texts), "probabilities", "SST-2")


def labels(models: Models) -> Iterator[Row]:
    """Several labels a text: which types of entities are in it?"""
    files = {}
    for part, file in (("train", "wnut17train.conll"), ("validation", "emerging.dev.conll")):
        rows = [
            {
                "text": " ".join(record.strings("tokens")),
                "labels": sorted({tag[2:] for tag in record.strings("tags") if tag != "O"}),
            }
            for record in read_records(DATA / "wnut17" / file)
        ]
        files[part] = models.write(f"{part}.jsonl", rows)
    folder = models.get("multi", 300, **files, task="multi-label-classification")
    found = parity.multi_label(folder, sentences("emerging.dev.conll", 300))
    yield Row("several labels a text", PEER, found, "labels", "WNUT-17, the types in a sentence")


def numbers(models: Models) -> Iterator[Row]:
    """A number for a pair of texts."""
    train = DATA / "stsb" / "stsb-en-train.csv"
    columns: dict[str, Any] = {"header": False, "text_column": 0, "pair_column": 1, "label_column": 2}
    folder = models.get("regression", 150, train=train, task="regression", **columns)
    records = read_records(DATA / "stsb" / "stsb-en-dev.csv", header=False)
    pairs = [(record.get(0), record.get(1)) for record, _ in zip(records, range(300), strict=False)]
    yield Row("regression, pairs", PEER, parity.regression(folder, pairs), "numbers", "STS-B")


def entities(models: Models) -> Iterator[Row]:
    """Entities, with each grouping."""
    train = DATA / "wnut17" / "wnut17train.conll"
    folder = models.get("ner", 400, train=train, task="token-classification")
    texts = sentences("emerging.dev.conll", 1009)
    for grouping in get_args(Grouping):
        found = parity.token_classification(folder, texts, grouping)
        yield Row(f'token classification, `grouping="{grouping}"`', PEER, found, "entities", "WNUT-17")


def questions(file: str, count: int) -> list[tuple[str, str]]:
    """Return questions of a file, each with its context, of as many contexts as there are."""
    articles = json.loads((DATA / file).read_text(encoding="utf-8-sig"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    asked = [(paragraph["qas"][0]["question"], paragraph["context"]) for paragraph in paragraphs]
    return asked[:count]


def answers(models: Models) -> Iterator[Row]:
    """Answers to questions, on contexts of one window and of many."""
    train = DATA / "squad2" / "dev-v2.0.json"
    folder = models.get("qa", 150, train=train, task="question-answering", max_length=96, learning_rate=2e-4)
    peer = "transformers 4.4.2, its steps on 5.x's model"
    for what, asked in (
        ("question answering", questions("xquad/xquad.en.json", 200)),
        ("question answering, long contexts", questions("covidqa/200423_covidQA.part.json", 10)),
    ):
        for may_be_none, more in ((False, ""), (True, ", perhaps none")):
            found = parity.question_answering(folder, asked, may_be_none=may_be_none)
            yield Row(what + more, peer, found, "answers", "SQuAD 2.0, dev")


def choices(models: Models) -> Iterator[Row]:
    """The right one of several choices."""
    train = DATA / "commonsenseqa" / "dev_rand_split.jsonl"
    rows = [json.loads(line) for line in train.read_text(encoding="utf-8").splitlines()]
    asked = [(row["question"], row["choices"]["text"]) for row in rows]
    file = models.write("choices.jsonl", [{"question": one, "choices": some, "label": 0} for one, some in asked[200:]])
    folder = models.get("choice", 60, train=file, task="multiple-choice")
    found = parity.multiple_choice(folder, asked[:200])
    yield Row("multiple choice", f"{PEER}, the model", found, "probabilities", "CommonsenseQA, dev")


def words(models: Models) -> Iterator[Row]:
    """What heads of pretraining say, after some steps."""
    folder = models.pretrained("words", 150)
    texts = [text for text in sentences("emerging.dev.conll", 400) if len(text.split()) > 4][:200]
    masked = []
    for number, text in enumerate(texts):
        parts = text.split()
        for place in range(number % 3, len(parts), 6):
            parts[place] = "[MASK]"
        masked.append(" ".join(parts))
    yield Row("fill-mask", PEER, parity.fill_mask(folder, masked), "masks", "pretraining on WNUT-17, 150 steps")
    pairs = list(itertools.pairwise(texts))
    found = parity.next_sentence(folder, pairs)
    yield Row("next sentence", f"{PEER}, the model", found, "probabilities", "the same")


def vectors(models: Models) -> Iterator[Row]:
    """Vectors of tokens and of texts, what is made of them, and pairs that are scored."""
    import sentence_transformers

    peer, folder = f"sentence-transformers {sentence_transformers.__version__}", minilm()
    texts = sentences("emerging.dev.conll", 300)
    yield Row("feature extraction", PEER, parity.feature_extraction(folder, texts), "vectors", "as it is")
    yield Row("sentence embedding", peer, parity.sentence_embedding(folder, texts), "numbers", "as it is")
    yield Row("search", peer, parity.search(folder, texts[:50], texts[50:]), "documents", "as it is")
    scored = models.get("regression", 150)
    yield Row("rank", f"{peer}, CrossEncoder", parity.rank(scored, texts[:10], texts[10:60]), "documents", "STS-B")


# One function for each task; another one needs nothing but its place here.
ROWS: tuple[Callable[[Models], Iterator[Row]], ...] = (
    classes,
    labels,
    numbers,
    entities,
    answers,
    choices,
    words,
    vectors,
)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="folder in which trained models stay")
    given = parser.parse_args().models
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        models = Models(given or Path(name))
        rows = [row for compute in ROWS for row in compute(models)]
    text = HEAD + "".join(map(str, rows)) + TAIL
    Path(__file__).with_name("parity.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
