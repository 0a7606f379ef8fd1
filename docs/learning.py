"""Pretrains tiny BERTs from nothing and tells what they have learned: `.venv/bin/python docs/learning.py english`.

- `english`: two novels and WikiText-2's validation text. `chinese`: 2,500 documents of CLUECorpusSmall. Both print what
  the commands print.
- `banking`: words of Banking77's questions, without their labels; then the labels of 2,000 of them, from these weights
  and from fresh ones of the same shape, over five seeds.

The texts are those of the shared folder; they are not a part of the repository.
"""

from __future__ import annotations

import json
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import torch

from bench.common import SHARED
from glassbert import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    FinetuneSettings,
    finetune,
    read_records,
)

# A small model on little text needs no dropout.
_PLAIN: Final = "--model-config hidden_dropout_prob=0 --model-config attention_probs_dropout_prob=0"
_TRAINING: Final = f"--preset tiny --warmup 0.05 --evaluate-every 1000 {_PLAIN}"
# BERT's own 0.02 is for vectors of 768 numbers; with 128 a model takes several times as long to look beyond a word.
_SHORT: Final = "--model-config initializer_range=0.1 --learning-rate 3e-3 --steps 6000 --batch-size 64"
_PAIRS: Final = "--out shards --copies 4 --max-length 32 --short-sequences 0"
_LONGER: Final = "--warmup 0.05 --learning-rate 1e-3 --steps 1000 --batch-size 32 --evaluate-every 250"
_SEEDS: Final = 5
_RATES: Final = (1e-3, 5e-4, 3e-4)


def command(line: str, folder: Path) -> None:
    """Show a command and run it."""
    print(f"\n$ glassbert {line}", flush=True)
    subprocess.run([sys.executable, "-m", "glassbert", *shlex.split(line)], cwd=folder, check=True)


def english(folder: Path) -> None:
    """Pretrain on books and articles."""
    (folder / "pride.txt").write_bytes((SHARED / "gutenberg" / "1342-0.txt").read_bytes())
    holmes = (SHARED / "gutenberg" / "1661-8.txt").read_text(encoding="latin-1")
    (folder / "holmes.txt").write_text(holmes, encoding="utf-8")
    # The text marks words that its own vocabulary lacks.
    articles = (SHARED / "wikitext2" / "valid.txt").read_text(encoding="utf-8").replace("<unk>", "[UNK]")
    (folder / "articles.txt").write_text(articles, encoding="utf-8")
    texts = "pride.txt holmes.txt articles.txt"
    command(f"vocab {texts} --size 3000 --out vocabulary", folder)
    start = "^Chapter|^CHAPTER|^ = [^=]|^ADVENTURE|^[IVX]+[.] THE ADV"
    command(f"prepare {texts} --vocab vocabulary {_PAIRS} --held-out 0.1 --document-start '{start}'", folder)
    command(f"pretrain shards {_TRAINING} {_SHORT} --out english-bert", folder)
    command(
        f"prepare {texts} --vocab vocabulary --out long --copies 4 --held-out 0.1 --document-start '{start}'", folder
    )
    command(f"pretrain long --model english-bert {_LONGER} --out longer", folder)
    _fill(folder / "english-bert", ["I have no doubt [MASK] he will come.", "She was very [MASK] to see him."])
    _fill(folder / "english-bert", ['"My dear Mr. [MASK]," said his lady to him.', "Mr. Sherlock [MASK] sat down."])


def chinese(folder: Path) -> None:
    """Pretrain on Chinese documents."""
    text = SHARED / "clue_corpus_small_sample" / "CLUECorpusSmall_bert_sampled.txt"
    command(f"vocab {text} --size 8000 --out vocabulary", folder)
    command(f"prepare {text} --vocab vocabulary {_PAIRS} --held-out 0.05 --language zh", folder)
    command(f"pretrain shards {_TRAINING} {_SHORT} --out chinese-bert", folder)
    command(f"prepare {text} --vocab vocabulary --out long --copies 4 --held-out 0.05 --language zh", folder)
    command(f"pretrain long --model chinese-bert {_LONGER} --out longer", folder)
    _fill(
        folder / "chinese-bert",
        ["中[MASK]人民共和国", "今[MASK]的天气很好。", "我们[MASK]须努力学习。", "他是一[MASK]老师。"],
    )


def _fill(model: Path, texts: list[str]) -> None:
    """Show what a model puts in the place of a mask."""
    tokenizer, bert = BertTokenizer.from_pretrained(model), BertForPreTraining.from_pretrained(model).eval()
    for text in texts:
        batch = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            scores = bert(**batch).prediction_logits[batch["input_ids"] == tokenizer.mask_token_id]
        shares, words = scores[0].softmax(dim=-1).topk(5)
        found = zip(tokenizer.convert_ids_to_tokens(words.tolist()), shares.tolist(), strict=True)
        print(f"{text}  →  {', '.join(f'{word} {share:.2f}' for word, share in found)}")


def banking(folder: Path) -> None:
    """Pretrain on a task's texts, then learn the task from these weights and from fresh ones."""
    rows = [
        {"text": " ".join(record.get("text").split()), "label": record.get("category")}
        for record in read_records(SHARED / "banking77" / "train.csv")
    ]
    random.Random(0).shuffle(rows)
    held_out, rest = rows[:3000], rows[3000:]
    (folder / "questions.txt").write_text("\n".join(row["text"] for row in rest), encoding="utf-8")
    for name, some in (("train", rest[:2000]), ("test", held_out)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    command("vocab questions.txt --size 2000 --out vocabulary", folder)
    kind = "--objective mlm --documents lines --max-length 64 --short-sequences 0 --held-out 0.03"
    command(f"prepare questions.txt --vocab vocabulary {kind} --out shards", folder)
    command(f"pretrain shards {_TRAINING} --learning-rate 2e-3 --steps 6000 --batch-size 64 --out pretrained", folder)
    tokenizer = BertTokenizer.from_pretrained(folder / "vocabulary")
    for rate in _RATES:
        for begin in ("fresh", "pretrained"):
            found = [_accuracy(folder, begin, tokenizer, rate, seed) for seed in range(_SEEDS)]
            error = statistics.stdev(found) / _SEEDS**0.5
            print(f"{begin:10}  rate {rate:.0e}  accuracy {statistics.mean(found):.4f}, standard error {error:.4f}")


def _accuracy(folder: Path, begin: str, tokenizer: BertTokenizer, rate: float, seed: int) -> float:
    if begin == "fresh":
        torch.manual_seed(100 + seed)
        BertModel(BertConfig.preset("tiny", vocab_size=len(tokenizer))).save_pretrained(folder / begin, overwrite=True)
        tokenizer.save_pretrained(folder / begin, overwrite=True)
    settings = FinetuneSettings(
        train=folder / "train.jsonl",
        test=folder / "test.jsonl",
        model=folder / begin,
        out=folder / "classifier",
        overwrite=True,
        epochs=20,
        batch_size=32,
        learning_rate=rate,
        max_length=64,
        seed=seed,
        keep_checkpoints=0,
    )
    result = finetune(settings)
    assert result.metrics is not None
    return result.metrics.main


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        {"english": english, "chinese": chinese, "banking": banking}[sys.argv[1]](Path(name))
