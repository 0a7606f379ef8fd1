"""A corpus becomes the same shards whatever the processes, parts and interruptions; what is bad in it is named."""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassbert import (
    BertTokenizer,
    ConfigError,
    DataError,
    GlassbertError,
    MissingExtraError,
    OutputExistsError,
    SaveError,
    VocabularyError,
)
from glassbert.data import PrepareSettings, Shards, documents, prepare, preparing
from glassbert.data.shards import Rows
from glassbert.text import load_vocabulary, save_vocabulary

from . import small
from .corpora import files_of, make, text

Prepare = Callable[..., Shards | None]
ROOT = Path(__file__).resolve().parents[2]
# What makes as many kinds of arrays as there are.
ALL: dict[str, Any] = {
    "static_masks": True,
    "whole_words": True,
    "segmented": True,
    "copies": 2,
    "held_out": 0.1,
    "max_length": 32,
    "sentences": "lines",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with texts and their vocabulary."""
    make(tmp_path)
    return tmp_path


@pytest.fixture
def shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks and shards short."""
    small.shrink(monkeypatch.setattr)


def _prepare(folder: Path, out: str = "out", **settings: Any) -> Shards | None:
    texts = settings.pop("texts", folder / "texts")
    values = {"vocab": folder / "vocab.txt", "workers": 1, "sentences": "lines", **settings}
    return prepare(PrepareSettings(texts=texts, out=folder / out, **values))


def _made(folder: Path, out: str = "out", **settings: Any) -> Shards:
    shards = _prepare(folder, out, **settings)
    assert shards is not None
    return shards


def _write(folder: Path, content: str | bytes, name: str = "text.txt") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def _save(tokens: Iterable[str], file: Path) -> None:
    save_vocabulary({token: index for index, token in enumerate(tokens)}, file)


def _same(one: Path, other: Path) -> None:
    found, expected = files_of(one), files_of(other)
    assert sorted(found) == sorted(expected)
    for name, content in expected.items():
        assert found[name] == content, name


# -- the same, whatever


def test_parts_in_any_order_make_the_same(corpus: Path, shrunk: None) -> None:
    whole = _made(corpus, "whole", **ALL)
    assert len(whole.manifest["shards"]) > 3
    whole.check()
    for order in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        out = "".join(map(str, order))
        for number in order:
            found = _prepare(corpus, out, part=f"{number}/3", **ALL)
            assert (found is not None) == (number == order[-1])
        _same(corpus / out, corpus / "whole")


def test_more_parts_than_shards(corpus: Path, shrunk: None) -> None:
    _made(corpus, "whole")
    count = len(list((corpus / "whole").glob("shard-*")))
    for number in range(1, count + 3):
        found = _prepare(corpus, part=f"{number}/{count + 2}")
        assert (found is not None) == (number >= count)
    _same(corpus / "out", corpus / "whole")


def test_two_workers_and_parts_at_once_and_killed_runs_make_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.data.killed", str(tmp_path), "5", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills: 5" in done.stdout
    assert "two workers: as the undisturbed run, to the byte\n" in done.stdout
    assert "three parts at once: as the undisturbed run, to the byte\n" in done.stdout


def test_another_process_that_makes_the_same(corpus: Path, shrunk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _made(corpus, "whole", **ALL)
    out = corpus / "out"
    write = Rows.write
    seen = set()

    def late(rows: Rows, folder: Path) -> None:
        # While the first shard is written, another process finishes it.
        write(rows, folder)
        if "shard-00000" in str(folder) and folder.name == "held-out":
            shutil.copytree(corpus / "whole" / "shard-00000", out / "shard-00000")
            seen.add(folder)

    monkeypatch.setattr(Rows, "write", late)
    _made(corpus, **ALL)
    assert seen
    _same(out, corpus / "whole")


def test_any_shard_that_is_gone_is_made_again(corpus: Path, shrunk: None) -> None:
    _made(corpus, "whole", **ALL)
    _made(corpus, **ALL)
    shards = sorted((corpus / "out").glob("shard-*"))
    for gone in ([shards[0]], [shards[-1]], shards[2:4], shards, [corpus / "out" / "manifest.json"]):
        for one in gone:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        said: list[str] = []
        settings = PrepareSettings(
            texts=corpus / "texts", vocab=corpus / "vocab.txt", out=corpus / "out", workers=1, **ALL
        )
        prepare(settings, say=said.append)
        left = len(shards) - sum(one in shards for one in gone)
        assert said == ([f"going on with {corpus / 'out'}; shards that are there: {left}"] if left else [])
        _same(corpus / "out", corpus / "whole")


def test_a_finished_folder_stays_as_it_is(corpus: Path, shrunk: None) -> None:
    _made(corpus)
    times = {file: file.stat().st_mtime_ns for file in (corpus / "out").rglob("*")}
    _made(corpus)
    assert {file: file.stat().st_mtime_ns for file in (corpus / "out").rglob("*")} == times


def test_what_a_killed_run_leaves_is_cleared_away(corpus: Path, shrunk: None) -> None:
    _made(corpus, "whole")
    out = corpus / "out"
    for name in (".shard-00001.abcd1234.part", ".shard-09999.abcd1234.part", ".tokenizer.abcd1234.part"):
        (out / name / "training").mkdir(parents=True)
    for name in (".plan.json.77.part", ".manifest.json.1.part"):
        (out / name).write_text("half")
    _made(corpus)
    _same(out, corpus / "whole")


def test_a_broken_manifest_is_written_anew(corpus: Path) -> None:
    _made(corpus, "whole")
    _made(corpus)
    for content in ("", "nonsense", "[]", '{"format": 7}'):
        (corpus / "out" / "manifest.json").write_text(content)
        _made(corpus)
        _same(corpus / "out", corpus / "whole")


def test_another_seed_makes_others(corpus: Path) -> None:
    one, other = _made(corpus, "one", seed=0), _made(corpus, "other", seed=1)
    assert one.fingerprint() != other.fingerprint()


def test_the_file_is_found_where_text_is_cut_between_files(corpus: Path, shrunk: None) -> None:
    # The same text in one file or several, compressed or not, as long as documents end where files do.
    a, b = (file.read_text("utf-8") for file in sorted((corpus / "texts").iterdir()))
    packed = _write(corpus, gzip.compress(a.encode()), "a.txt.gz")
    _made(corpus, "plain")
    _made(corpus, "packed", texts=[packed, _write(corpus, b, "b.txt")])
    _same(corpus / "packed", corpus / "plain")


# -- what is in them


def _decoded(shards: Shards) -> list[tuple[str, str, int]]:
    tokenizer = shards.tokenizer()
    found = []
    for number in range(len(shards.training)):
        rows = shards.training.rows([number])
        assert rows.seconds is not None
        assert rows.labels is not None
        cut = int(rows.seconds[0])
        first, second = (tokenizer.decode(part.tolist()) for part in (rows.ids[1 : cut - 1], rows.ids[cut:-1]))
        found.append((first, second, int(rows.labels[0])))
    return found


def test_pairs_are_of_the_text(corpus: Path) -> None:
    shards = _made(corpus, held_out=0.0, max_length=64)
    whole = [
        " ".join(document.lower().split())
        for file in sorted((corpus / "texts").iterdir())
        for document in file.read_text("utf-8").split("\n\n")
    ]
    neighbours = strangers = 0
    for first, second, label in _decoded(shards):
        # A cut within a word leaves its pieces, which is not looked at here.
        if "##" in first + second:
            continue
        assert any(first in document for document in whole)
        assert any(second in document for document in whole)
        together = any(first in document and second in document.split(first)[-1] for document in whole)
        neighbours += label == 0
        strangers += label == 1 and not together
        assert label == 1 or together
    assert neighbours > 30
    assert strangers > 30


def test_the_counts(corpus: Path) -> None:
    shards = _made(corpus, held_out=0.2)
    counts = shards.manifest["counts"]
    texts = [file.read_text("utf-8") for file in (corpus / "texts").iterdir()]
    assert counts["sentences"] == sum(len(list(filter(None, text.split("\n")))) for text in texts)
    assert counts["training documents"] + counts["held-out documents"] == 140
    assert 12 < counts["held-out documents"] < 45
    assert counts["training sequences"] == len(shards.training)
    assert counts["held-out sequences"] == len(shards.held_out)
    labels = shards.training.rows(range(len(shards.training))).labels
    assert labels is not None
    assert counts["training label 1"] == labels.sum()
    assert counts["unknown tokens"] == counts["divided"] == counts["long sentences"] == 0
    assert counts["characters"] > 0.9 * sum(map(len, texts))


def test_copies_are_other_pairs_of_the_same_text(corpus: Path) -> None:
    once, thrice = _made(corpus, "once", held_out=0.2), _made(corpus, "thrice", held_out=0.2, copies=3)
    assert 2.7 < len(thrice.training) / len(once.training) < 3.3
    assert len(thrice.held_out) == len(once.held_out)
    assert thrice.manifest["counts"]["tokens"] == once.manifest["counts"]["tokens"]
    pairs = _decoded(thrice)
    assert len(set(pairs)) > 2 * len(once.training)


def test_objectives(corpus: Path) -> None:
    swapped = _made(corpus, "sop", objective="sop")
    assert 0.4 < swapped.manifest["counts"]["training label 1"] / len(swapped.training) < 0.6
    alone = _made(corpus, "mlm", objective="mlm", held_out=0.0)
    assert not alone.training.pairs
    # Nothing is lost and nothing twice: what stands between [CLS] and [SEP] is the text.
    assert alone.training.tokens - 2 * len(alone.training) == alone.manifest["counts"]["tokens"]


def test_static_masks(corpus: Path) -> None:
    settings: dict[str, Any] = {"static_masks": True, "held_out": 0.0, "max_length": 64}
    plain = _made(corpus, "plain", held_out=0.0, max_length=64)
    static = _made(corpus, "static", masked_share=0.3, max_predictions=7, copies=2, **settings)
    rows, before = (one.training.rows(range(len(one.training))) for one in (static, plain))
    assert rows.masked is not None
    assert rows.masked_places is not None
    assert rows.masked_ids is not None
    wanted = np.minimum(7, np.maximum(1, np.rint(rows.lengths * 0.3)))
    assert (rows.masked == np.minimum(wanted, rows.lengths - 3)).all()
    starts = np.repeat(np.cumsum(rows.lengths) - rows.lengths, rows.masked)
    restored = rows.ids.copy()
    restored[starts + rows.masked_places] = rows.masked_ids
    # The first copy is what there is without masks.
    assert (restored[: len(before.ids)] == before.ids).all()
    mask_id = static.tokenizer().mask_token_id
    assert 0.75 < (rows.ids[starts + rows.masked_places] == mask_id).mean() < 0.85


def test_whole_words_by_segmentation(tmp_path: Path) -> None:
    characters = "河水一直流他坐下了"
    _save(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "。", *characters], tmp_path / "vocab.txt")
    rng = random.Random(0)

    def word() -> str:
        return "".join(rng.choices(characters, k=rng.randint(1, 4)))

    segmented = "\n\n".join("\n".join(" ".join(word() for _ in range(9)) + " 。" for _ in range(5)) for _ in range(40))
    file = _write(tmp_path, segmented)
    settings: dict[str, Any] = {"static_masks": True, "whole_words": True, "segmented": True, "masked_share": 0.3}
    shards = _made(tmp_path, texts=file, held_out=0.0, **settings)
    rows = shards.training.rows(range(len(shards.training)))
    assert rows.inside is not None
    assert rows.masked is not None
    assert rows.masked_places is not None
    assert 0.4 < rows.inside.mean() < 0.6
    chosen = np.zeros(len(rows.ids), dtype=bool)
    chosen[np.repeat(np.cumsum(rows.lengths) - rows.lengths, rows.masked) + rows.masked_places] = True
    first = np.zeros(len(rows.ids), dtype=bool)
    first[np.cumsum(rows.lengths) - rows.lengths] = True
    framed = np.isin(rows.ids, [2, 3])
    goes_on = rows.inside & ~framed & ~np.r_[True, framed[:-1]]
    assert (chosen[goes_on] == chosen[np.flatnonzero(goes_on) - 1]).all()
    # The words are those of the text.
    tokenizer = shards.tokenizer()
    words = set(segmented.split())
    assert rows.masked_ids is not None
    rows.ids[chosen] = rows.masked_ids
    ids, inside = rows.ids[: rows.lengths[0]], rows.inside[: rows.lengths[0]]
    begins = np.flatnonzero(~inside)[2:6]
    for begin, end in itertools.pairwise(begins):
        piece = "".join(tokenizer.convert_ids_to_tokens(ids[begin:end].tolist()))
        assert piece in words or "[SEP]" in piece


def test_lengths(corpus: Path) -> None:
    for length in (5, 6, 17, 512):
        shards = _made(corpus, f"of {length}", max_length=length, short_sequences=0.0)
        lengths = shards.training.lengths(range(len(shards.training)))
        assert max(lengths) == length if length < 100 else max(lengths) > 60
        assert min(lengths) >= 5
        assert (shards.manifest["counts"]["long sentences"] > 100) == (length < 10)
        shards.check()


# -- odd and bad corpora


@pytest.mark.parametrize("content", ["", "\ufeff", b""])
def test_an_empty_corpus(corpus: Path, content: str) -> None:
    file = _write(corpus, content)
    for sentences in ("auto", "lines"):
        with pytest.raises(DataError, match=r"text\.txt: the corpus holds no text"):
            _prepare(corpus, texts=file, sentences=sentences)
    # The same folder takes a better one.
    file.write_text("The cat sat. The dog ran.\n", "utf-8")
    _made(corpus, texts=file, sentences="auto", held_out=0.0)


@pytest.mark.parametrize("content", ["\n \n", "\0\0\n", "\u200b\n\n\u00ad"])
@pytest.mark.parametrize("sentences", ["lines", "split"])
def test_a_corpus_without_words(corpus: Path, content: str, sentences: str) -> None:
    with pytest.raises(DataError, match="the corpus holds no words"):
        _prepare(corpus, texts=_write(corpus, content), sentences=sentences)


@pytest.mark.parametrize("objective", ["nsp", "sop", "mlm"])
def test_a_corpus_of_one_sentence(corpus: Path, objective: str) -> None:
    shards = _made(corpus, texts=_write(corpus, "The cat sat."), held_out=0.0, objective=objective)
    assert len(shards.training) == 1
    assert len(shards.held_out) == 0
    shards.check()
    rows = shards.training.rows([0])
    tokenizer = shards.tokenizer()
    expected = {"nsp": "[CLS] the cat sat. [SEP] the cat sat. [SEP]", "mlm": "[CLS] the cat sat. [SEP]"}
    assert tokenizer.decode(rows.ids.tolist()) == expected.get(objective, tokenizer.decode(rows.ids.tolist()))


def test_a_corpus_of_one_token(corpus: Path) -> None:
    file = _write(corpus, "cat\n\ndog\n")
    with pytest.raises(DataError, match="no document has two tokens, and sop needs pairs; take objective mlm"):
        _prepare(corpus, texts=file, held_out=0.0, objective="sop")
    assert len(_made(corpus, "nsp", texts=file, held_out=0.0).training) == 2


def test_documents_of_one_sentence(corpus: Path) -> None:
    file = _write(corpus, "\n".join(["The cat sat.", "The dog ran.", "A house."] * 30))
    shards = _made(corpus, texts=file, documents="lines", held_out=0.0)
    assert shards.manifest["counts"]["training documents"] == 90
    assert shards.manifest["counts"]["training label 1"] == len(shards.training) == 90


def test_all_held_out(corpus: Path) -> None:
    with pytest.raises(DataError, match="all documents were held out by chance; lower held_out, or take another seed"):
        _prepare(corpus, texts=_write(corpus, "The cat sat."), held_out=0.99999)


def test_nothing_held_out(corpus: Path) -> None:
    shards = _made(corpus, held_out=0.0)
    assert len(shards.held_out) == 0
    assert shards.manifest["counts"]["held-out documents"] == 0
    shards.check()
    with pytest.raises(IndexError):
        shards.held_out.rows([0])


def test_odd_characters(corpus: Path) -> None:
    odd = (
        "\ufeffThe cat\0 sat.\r\nThe\u200b dog\x85 ran.\r\n\r\nA\u2028 house \u00ad walked.\r\n\x0c\r\nSun 😀 moon.\r\n"
    )
    plain = "The cat sat.\nThe dog ran.\n\nA house walked.\n\nSun 😀 moon.\n"
    one = _made(corpus, "one", texts=_write(corpus, odd), held_out=0.0, objective="mlm", seed=1)
    other = _made(corpus, "other", texts=_write(corpus, plain), held_out=0.0, objective="mlm", seed=1)
    assert one.training.rows([0, 1, 2]).ids.tolist() == other.training.rows([0, 1, 2]).ids.tolist()


def test_invalid_bytes_and_then_the_right_encoding(corpus: Path, shrunk: None) -> None:
    good = text(60).encode("latin-1")
    file = _write(corpus, good + "Café.\n".encode("latin-1"))
    with pytest.raises(DataError, match=rf"text\.txt:\d+: the byte 0xe9 at offset {len(good) + 3} is not utf-8"):
        _prepare(corpus, texts=file, part="1/7")
    with pytest.raises(DataError, match="name the file's encoding with --encoding"):
        _prepare(corpus, "fresh", texts=_write(corpus, b"caf\xe9\n", "b.txt"))
    _made(corpus, "fresh", texts=file, encoding="latin-1")


def test_a_line_of_many_megabytes(corpus: Path) -> None:
    file = _write(corpus, "the cat sat on a tree. " * 60_000 + "\n\nThe cat.\n")
    shards = _made(corpus, texts=file, sentences="split", max_length=512, objective="mlm", held_out=0.0)
    counts = shards.manifest["counts"]
    assert counts["divided"] in (1, 2)
    assert counts["unknown tokens"] == 0
    assert counts["tokens"] > 420_000


def test_a_document_longer_than_any_may_be(corpus: Path, shrunk: None) -> None:
    whole = "The cat sat.\n" * 1000
    shards = _made(corpus, texts=_write(corpus, whole), objective="mlm", held_out=0.0)
    counts = shards.manifest["counts"]
    assert counts["training documents"] == counts["divided"] + 1 > len(whole) // 700
    assert counts["sentences"] == 1000


def test_records_are_documents(corpus: Path) -> None:
    rows = ["The cat.\n\nThe dog.\n", "The sun.\n\n\nThe moon.", ""]
    file = _write(corpus, "".join(json.dumps({"body": row}) + "\n" for row in rows), "a.jsonl")
    said: list[str] = []
    settings = PrepareSettings(texts=file, vocab=corpus / "vocab.txt", out=corpus / "out", held_out=0.0, workers=1)
    shards = prepare(settings, say=said.append)
    assert shards is not None
    counts = shards.manifest["counts"]
    assert (counts["training documents"], counts["sentences"]) == (2, 4)
    assert said == [
        "sentences: lines (each line is a sentence), guessed from the first lines",
        "columns by name: text is 'body'",
    ]


def test_bad_records_are_skipped_and_listed(corpus: Path) -> None:
    file = _write(corpus, '{"text": "The cat."}\n{"text": \n{"other": 1}\n{"text": "The dog."}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        _prepare(corpus, texts=file)
    said: list[str] = []
    settings = PrepareSettings(
        texts=file, vocab=corpus / "vocab.txt", out=corpus / "out", held_out=0.0, workers=1, skip_bad=True
    )
    shards = prepare(settings, say=said.append)
    assert shards is not None
    assert shards.manifest["counts"]["training documents"] == 2
    assert any(line.startswith("2 bad records skipped") for line in said)


# -- wrong use


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": "0/4"}, "expected i/n with i from 1 to n"),
        ({"part": "5/4"}, "expected i/n with i from 1 to n"),
        ({"part": "x"}, "expected i/n such as 2/8"),
        ({"part": "1/"}, "expected i/n such as 2/8"),
        ({"part": "-1/4"}, "expected i/n such as 2/8"),
        ({"part": "²/4"}, "expected i/n such as 2/8"),
        ({"part": f"1/{'9' * 5000}"}, "expected i/n such as 2/8"),
        ({"part": "1/2", "overwrite": True}, "part is given with overwrite"),
        ({"masked_share": 0.0, "static_masks": True}, "a share between 0 and 1"),
        ({"masked_share": 1.0, "static_masks": True}, "a share between 0 and 1"),
        ({"masked_share": float("nan"), "static_masks": True}, "a share between 0 and 1"),
        ({"max_predictions": 0, "static_masks": True}, "1 or more"),
        ({"masked_share": 0.2}, "masked_share is for static_masks"),
        ({"whole_words": True}, "whole_words is for static_masks"),
        ({"held_out": 1.0}, "a share from 0 to below 1"),
        ({"short_sequences": -0.1}, "a share from 0 to below 1"),
        ({"max_length": 4}, "5 or more"),
        ({"max_length": 1 << 16}, "5 or more"),
        ({"copies": 0}, "1 or more"),
        ({"workers": 0}, "1 or more"),
        ({"seed": -1}, "from 0 to"),
        ({"document_start": "^A", "documents": "lines"}, "document_start is given"),
        ({"document_start": "("}, "no regular expression"),
        ({"texts": []}, "expected the path"),
        ({"texts": "-"}, "standard input"),
        ({"encoding": "klingon"}, "no encoding is called"),
        ({"texts": "nothing.txt"}, "no such file"),
        ({"vocab": "nothing"}, "nothing"),
    ],
)
def test_settings_that_mean_nothing(corpus: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GlassbertError, match=message):
        _prepare(corpus, **settings)
    assert not (corpus / "out").exists()


@pytest.mark.parametrize("out", ["texts/out", "texts", "texts/../texts/a/b"])
def test_an_output_among_the_texts(corpus: Path, out: str) -> None:
    with pytest.raises(ConfigError, match="would be read with it"):
        _prepare(corpus, out)


def test_what_is_no_file_of_text(corpus: Path) -> None:
    (corpus / "empty").mkdir()
    with pytest.raises(DataError, match="the folder holds no files"):
        _prepare(corpus, texts=corpus / "empty")
    os.mkfifo(corpus / "pipe")
    with pytest.raises(DataError, match="is no regular file"):
        _prepare(corpus, texts=corpus / "pipe")
    assert not (corpus / "out").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_may_not_be_read(corpus: Path) -> None:
    file = _write(corpus, "The cat.")
    file.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        _prepare(corpus, texts=file)
    corpus.chmod(0o500)
    with pytest.raises(SaveError, match="cannot write"):
        _prepare(corpus)
    corpus.chmod(0o700)


def test_a_vocabulary_without_masks(corpus: Path) -> None:
    tokens = [token for token in load_vocabulary(corpus / "vocab.txt") if token != "[MASK]"]
    _save(tokens, corpus / "without.txt")
    with pytest.raises(VocabularyError, match=r"\[MASK\]"):
        _prepare(corpus, vocab=corpus / "without.txt", workers=2)
    assert not (corpus / "out").exists()


def test_without_what_splits_sentences(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencex", None)
    with pytest.raises(MissingExtraError, match="sentencex"):
        _prepare(corpus, sentences="split", workers=2)
    assert not (corpus / "out").exists()


def test_a_changed_corpus(corpus: Path, shrunk: None) -> None:
    _made(corpus)
    before = files_of(corpus / "out")
    file = corpus / "texts" / "a.txt"
    whole = file.read_text("utf-8")
    for changed in (whole.replace("cat", "dog", 1), whole[:-500], whole + "One more.\n", "", whole[::-1]):
        file.write_text(changed, "utf-8")
        with pytest.raises(DataError, match="the corpus has changed since; prepare it anew with --overwrite"):
            _prepare(corpus)
        assert files_of(corpus / "out") == before
    file.write_text(whole, "utf-8")
    _made(corpus)


def test_a_changed_corpus_is_told_before_more_is_made_of_it(corpus: Path, shrunk: None) -> None:
    _made(corpus)
    for shard in sorted((corpus / "out").glob("shard-*"))[1:]:
        shutil.rmtree(shard)
    file = corpus / "texts" / "a.txt"
    file.write_text(file.read_text("utf-8").replace("cat", "dog"), "utf-8")
    with pytest.raises(DataError, match="shard-00000: is of another text"):
        _prepare(corpus)
    assert len(list((corpus / "out").glob("shard-*"))) == 1


def test_other_settings(corpus: Path, shrunk: None) -> None:
    _made(corpus)
    before = files_of(corpus / "out")
    others: dict[str, Any] = {"seed": 1, "max_length": 64, "objective": "mlm", "copies": 2, "encoding": "latin-1"}
    for name, value in others.items():
        with pytest.raises(ConfigError, match=f"holds shards of other settings: {name} was .* and is now {value!r}"):
            _prepare(corpus, **{name: value})
    tokens = load_vocabulary(corpus / "vocab.txt")
    _save([*tokens, "zebra"], corpus / "other.txt")
    with pytest.raises(ConfigError, match="SHA-256 of the vocabulary was"):
        _prepare(corpus, vocab=corpus / "other.txt")
    BertTokenizer(tokens, do_lower_case=False).save_pretrained(corpus / "cased")
    with pytest.raises(ConfigError, match="the tokenizer's do_lower_case was True and is now False"):
        _prepare(corpus, vocab=corpus / "cased")
    assert files_of(corpus / "out") == before
    _made(corpus, workers=2)  # which is free


def test_a_run_that_made_nothing_binds_nobody(corpus: Path) -> None:
    _made(corpus, "whole", seed=1)
    bad = _write(corpus, b"caf\xe9\n")
    with pytest.raises(DataError):
        _prepare(corpus, texts=bad)
    tokens = load_vocabulary(corpus / "vocab.txt")
    BertTokenizer(tokens, do_lower_case=False).save_pretrained(corpus / "cased")
    with pytest.raises(DataError):
        _prepare(corpus, texts=bad, vocab=corpus / "cased")
    _made(corpus, seed=1)
    _same(corpus / "out", corpus / "whole")


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "shard-1", "shard-00000.bak", ".notes.part", "folder/"])
def test_foreign_files_in_the_folder(corpus: Path, name: str) -> None:
    out = corpus / "out"
    for finished in (False, True):
        if finished:
            shutil.rmtree(out)
            _made(corpus)
        out.mkdir(exist_ok=True)
        (out / name).mkdir() if name.endswith("/") else (out / name).write_text("mine")
        for overwrite in (False, True):
            with pytest.raises(OutputExistsError, match=f"holds {name.rstrip('/')}, so no shards alone"):
                _prepare(corpus, overwrite=overwrite)
        assert (out / name).exists()


def test_a_folder_that_is_needed_is_not_overwritten(corpus: Path) -> None:
    shards = _made(corpus)
    for name in ("tokenizer", "tokenizer/vocab.txt"):
        with pytest.raises(OutputExistsError, match="would be lost"):
            _prepare(corpus, overwrite=True, vocab=shards.folder / name)
    shards.check()
    # It may be read all the same.
    _made(corpus, vocab=shards.folder / "tokenizer")


def test_overwrite(corpus: Path, shrunk: None) -> None:
    _made(corpus, "whole", seed=1)
    _made(corpus, overwrite=True)
    _made(corpus, seed=1, overwrite=True)
    _same(corpus / "out", corpus / "whole")
    assert sorted(entry.name for entry in corpus.iterdir()) == ["out", "texts", "vocab.txt", "whole"]


def test_an_output_that_is_no_folder(corpus: Path) -> None:
    _write(corpus, "mine", "out")
    with pytest.raises(OutputExistsError, match="is a file"):
        _prepare(corpus)
    assert (corpus / "out").read_text() == "mine"


# -- a disk that fails


@pytest.mark.parametrize("after", [0, 1, 5, 17, 30])
def test_a_full_disk(corpus: Path, shrunk: None, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    _made(corpus, "whole")
    left = after
    write = np.lib.format.write_array_header_1_0

    def full(stream: Any, header: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stream, header)

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array_header_1_0", full)
        with pytest.raises(SaveError, match=r"cannot write .*shard-\d{5}: No space left on device"):
            _prepare(corpus)
    names = {entry.name for entry in (corpus / "out").iterdir()} - {"plan.json", "tokenizer"}
    assert names == {f"shard-{number:05d}" for number in range(after // 8)}
    _made(corpus)
    _same(corpus / "out", corpus / "whole")


def test_a_disk_that_takes_no_large_files(corpus: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, hard))
        with pytest.raises(SaveError, match=r"cannot write .*shard-00000: File too large"):
            _prepare(corpus)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(entry.name for entry in (corpus / "out").iterdir()) == ["plan.json", "tokenizer"]


@pytest.mark.parametrize("name", ["plan.json", "shard-00001/shard.json"])
@pytest.mark.parametrize("content", ["", "nonsense", "[]", "{}", '{"settings": 1, "vocabulary": [], "counts": {}}'])
def test_a_damaged_file_of_what_is_gone_on_with(corpus: Path, shrunk: None, name: str, content: str) -> None:
    _made(corpus)
    (corpus / "out" / name).write_text(content)
    with pytest.raises(GlassbertError):
        _prepare(corpus)


def test_a_damaged_array_of_what_is_gone_on_with(corpus: Path, shrunk: None) -> None:
    _made(corpus, "whole")
    _made(corpus)
    shard = corpus / "out" / "shard-00002"
    (shard / "training" / "ids.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"remove the shard's folder and prepare it again"):
        _prepare(corpus)
    shutil.rmtree(shard)
    _made(corpus)
    _same(corpus / "out", corpus / "whole")


def test_memory_is_bounded_by_blocks(corpus: Path) -> None:
    # What is read at once does not grow with the text; the whole is measured by `python -m tests.data.memory`.
    assert documents.BLOCK + documents.LONGEST <= 5_000_000
    assert preparing._BLOCKS * documents.BLOCK <= 64_000_000
