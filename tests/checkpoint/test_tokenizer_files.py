"""A tokenizer's files: read from every kind of folder, written so that others read them, refused by file and key."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from glassbert import BertTokenizer, BertTokenizerFast, GlassbertError
from glassbert.checkpoint import check_vocabulary
from glassbert.errors import CheckpointError, ConfigError, OutputExistsError, VocabularyError
from glassbert.model import BertConfig
from glassbert.text import AddedToken

# fmt: off
TOKENS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ",", "low",
    "lowest", "é", "a", "b", "c", "d", "e", "f", "g", "A", "É", "[", "]", "mask", "(", ")", ".", "new", "##word",
]
# fmt: on
VOCAB = {token: index for index, token in enumerate(TOKENS)}
NEXT = len(TOKENS)
TEXTS = [
    *("UNwantéd, running a [MASK] b", "É a\u0301 A b<x>c <X>", "[CLS]<u> low字d", "a  <l>  b", "E.T. a,b A."),
    *("<y> newword NewWord xNewWord", "a\u200ba \u200b, wanted", "e.t. (a)", "a  [MASK]", "", "want wantc"),
]
ADDED = [
    (AddedToken("<x>"), NEXT),
    (AddedToken("<l>", lstrip=True, rstrip=True, normalized=False), NEXT + 1),
    (AddedToken("NewWord", single_word=True), NEXT + 2),
    (AddedToken("<y>", special=True), NEXT + 3),
]
SETTINGS: dict[str, dict[str, Any]] = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "cased without accents": {"do_lower_case": False, "strip_accents": True},
    "accents": {"strip_accents": False},
    "chinese": {"tokenize_chinese_chars": False},
    "white space": {"do_basic_tokenize": False},
    "as it is": {"clean_text": False},
    "short words": {"max_input_chars_per_word": 5},
    "special": {"additional_special_tokens": ["<u>", "want"]},
    "sides": {"padding_side": "left", "truncation_side": "left", "model_max_length": 20},
    "added": {"added_tokens": ADDED},
    "added of the vocabulary": {"added_tokens": [(AddedToken("want"), VOCAB["want"])]},
    "other special tokens": {"cls_token": "(", "sep_token": ")"},
    "a special token that takes space": {"added_tokens": [(AddedToken("[MASK]", lstrip=True, special=True), 4)]},
}
# Those that no other reader knows.
OWN: dict[str, dict[str, Any]] = {
    "never split": {"never_split": ["E.T.", "a,b"]},
    "added with a gap": {"added_tokens": [(AddedToken("<x>"), NEXT + 5), (AddedToken("<y>"), NEXT + 9)]},
    "google": {"rules": "google"},
    "google, long words": {"rules": "google", "max_input_chars_per_word": 7, "additional_special_tokens": ["<u>"]},
}
ATTRIBUTES = (
    *("do_lower_case", "do_basic_tokenize", "tokenize_chinese_chars", "strip_accents", "clean_text", "rules"),
    *(
        "model_max_length",
        "padding_side",
        "truncation_side",
        "additional_special_tokens",
        "all_special_tokens",
        "vocab",
    ),
)


@pytest.fixture(params=[BertTokenizer, BertTokenizerFast], ids=["plain", "fast"])
def kind(request: pytest.FixtureRequest) -> type[BertTokenizer]:
    chosen: type[BertTokenizer] = request.param
    return chosen


def ids(tokenizer: Any) -> list[list[int]]:
    found: list[list[int]] = tokenizer(TEXTS)["input_ids"]
    return found


def places(tokenizer: Any) -> list[list[tuple[int, int]]]:
    found: list[list[tuple[int, int]]] = tokenizer(TEXTS, return_offsets_mapping=True)["offset_mapping"]
    return found


def put(folder: Path, **files: Any) -> Path:
    """Write files: a list of tokens as lines, anything else as JSON; `__` in a name stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        text = "".join(f"{token}\n" for token in value) if isinstance(value, list) else json.dumps(value)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


# -- what we write, we read ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SETTINGS, *OWN])
def test_what_is_written_is_read_as_it_was(kind: type[BertTokenizer], name: str, tmp_path: Path) -> None:
    own = kind(VOCAB, **(SETTINGS | OWN)[name])
    own.save_pretrained(tmp_path / "new" / "folder")
    for other in (BertTokenizer, BertTokenizerFast):
        again = other.from_pretrained(tmp_path / "new" / "folder")
        assert (ids(again), places(again)) == (ids(own), places(own))
        assert [getattr(again, one) for one in ATTRIBUTES] == [getattr(own, one) for one in ATTRIBUTES]
        assert again.basic_tokenizer.never_split == own.basic_tokenizer.never_split
        assert again.wordpiece_tokenizer.max_input_chars_per_word == own.wordpiece_tokenizer.max_input_chars_per_word
        assert (again.get_vocab(), len(again)) == (own.get_vocab(), len(own))
        again.save_pretrained(tmp_path / other.__name__)
        for file in (tmp_path / "new" / "folder").iterdir():
            assert (tmp_path / other.__name__ / file.name).read_bytes() == file.read_bytes()


def test_the_settings_make_a_difference() -> None:
    # Otherwise the test above would say little.
    plain = ids(BertTokenizer(VOCAB))
    same = [name for name, settings in (SETTINGS | OWN).items() if ids(BertTokenizer(VOCAB, **settings)) == plain]
    assert same == ["uncased", "sides", "a special token that takes space"]
    assert places(BertTokenizer(VOCAB, **SETTINGS["a special token that takes space"])) != places(BertTokenizer(VOCAB))


def test_files_that_are_written(tmp_path: Path) -> None:
    BertTokenizer(VOCAB).save_pretrained(tmp_path / "plain")
    BertTokenizer(VOCAB, rules="google").save_pretrained(tmp_path / "google")
    BertTokenizer(VOCAB, **SETTINGS["special"]).save_pretrained(tmp_path / "special")
    names = {folder.name: sorted(file.name for file in folder.iterdir()) for folder in tmp_path.iterdir()}
    usual = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert names == {
        "plain": usual,
        "google": usual[1:],
        "special": ["added_tokens.json", "special_tokens_map.json", *usual],
    }


def test_files_are_replaced_only_when_asked_and_old_ones_go(tmp_path: Path) -> None:
    BertTokenizer(VOCAB, **SETTINGS["special"]).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(OutputExistsError):
        BertTokenizer(VOCAB).save_pretrained(tmp_path)
    BertTokenizer(VOCAB).save_pretrained(tmp_path, overwrite=True)
    assert BertTokenizer.from_pretrained(tmp_path).additional_special_tokens == []
    assert {file.name for file in tmp_path.iterdir()} == {
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    }


@pytest.mark.parametrize("vocab", [VOCAB | {"x": NEXT + 1}, VOCAB | {"x\ny": NEXT}, VOCAB | {"x\r": NEXT}])
def test_a_vocabulary_that_vocab_txt_cannot_hold_is_not_written(vocab: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(VocabularyError):
        BertTokenizer(vocab).save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


# -- what we write, others read; what others write, we read ------------------------------------------------


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="the peer is not installed")


@pytest.mark.parametrize("name", SETTINGS)
def test_transformers_reads_what_is_written_and_the_other_way_round(
    name: str, tmp_path: Path, transformers: Any
) -> None:
    own = BertTokenizer(VOCAB, **SETTINGS[name])
    own.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "ours"))
    assert (ids(theirs), places(theirs)) == (ids(own), places(own))
    assert dict(theirs("a b", "c")) == dict(own("a b", "c"))
    for attribute in ("model_max_length", "padding_side", "truncation_side", "cls_token", "mask_token_id"):
        assert getattr(theirs, attribute) == getattr(own, attribute)
    assert len(theirs) == len(own)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    for kind in (BertTokenizer, BertTokenizerFast):
        again = kind.from_pretrained(tmp_path / "theirs")
        assert (ids(again), places(again)) == (ids(own), places(own))
        assert set(again.all_special_tokens) >= set(own.all_special_tokens)
        assert again.model_max_length == own.model_max_length


@pytest.mark.parametrize("cased", [False, True])
def test_what_transformers_makes_of_a_vocabulary_is_read(
    kind: type[BertTokenizer], cased: bool, tmp_path: Path, transformers: Any
) -> None:
    theirs = transformers.BertTokenizer(vocab=VOCAB, do_lower_case=not cased)
    theirs.add_tokens(["<x>", transformers.AddedToken("NewWord", single_word=True)])
    theirs.add_tokens(transformers.AddedToken("<l>", lstrip=True, rstrip=True, normalized=False))
    theirs.add_special_tokens({"additional_special_tokens": ["<u>"]} if cased else {"extra_special_tokens": ["<u>"]})
    theirs.save_pretrained(str(tmp_path))
    own = kind.from_pretrained(tmp_path)
    assert own.do_lower_case is not cased
    assert (ids(own), places(own)) == (ids(theirs), places(theirs))
    assert len(own) == len(theirs)
    assert "<u>" in own.all_special_tokens
    # tokenizer.json alone says as much of the ids.
    (tmp_path / "tokenizer_config.json").unlink()
    assert ids(kind.from_pretrained(tmp_path)) == ids(theirs)


def test_the_library_alone_reads_what_is_written(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    for name, settings in SETTINGS.items():
        own = BertTokenizer(VOCAB, **settings)
        own.save_pretrained(tmp_path / name)
        theirs = tokenizers.Tokenizer.from_file(str(tmp_path / name / "tokenizer.json"))
        assert [one.ids for one in theirs.encode_batch(TEXTS)] == ids(own), name
        pair, ours = theirs.encode("a b", "c"), own("a b", "c")
        assert (pair.ids, pair.type_ids) == (ours.input_ids, ours.token_type_ids)
    written = own.encode("unwanted, a. b")
    assert theirs.decode(written) == own.decode(written, skip_special_tokens=True) == "unwanted, a. b"


def test_sentence_transformers_reads_what_is_written(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever it says while it is imported
        pytest.importorskip("sentence_transformers", reason="the peer is not installed")
        from sentence_transformers.models import Transformer
    from glassbert.model import BertModel

    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=NEXT + 4, max_position_embeddings=20, **sizes)).save_pretrained(tmp_path)
    for name in ("uncased", "cased", "added", "white space"):
        own = BertTokenizer(VOCAB, **SETTINGS[name])
        own.save_pretrained(tmp_path, overwrite=True)
        module = Transformer(str(tmp_path))
        rows = module.preprocess(TEXTS) if hasattr(module, "preprocess") else module.tokenize(TEXTS)
        assert rows["input_ids"].tolist() == own(TEXTS, padding=True).input_ids, name


# -- folders of every age --------------------------------------------------------------------------------


def test_a_vocabulary_alone(kind: type[BertTokenizer], tmp_path: Path) -> None:
    put(tmp_path, vocab__txt=TOKENS)
    own = kind.from_pretrained(tmp_path)
    assert (own.vocab, own.do_lower_case, own.model_max_length) == (VOCAB, True, 512)
    assert ids(own) == ids(kind(VOCAB))
    assert ids(kind.from_pretrained(tmp_path, do_lower_case=False)) == ids(kind(VOCAB, do_lower_case=False))


def test_the_older_files_beside_a_vocabulary(kind: type[BertTokenizer], tmp_path: Path) -> None:
    put(
        tmp_path,
        vocab__txt=TOKENS,
        added_tokens__json={"<u>": NEXT + 1, "<x>": NEXT},
        special_tokens_map__json={"cls_token": "(", "sep_token": ")", "additional_special_tokens": ["<u>"]},
        tokenizer_config__json={
            "do_lower_case": False,
            "model_max_length": 40,
            "never_split": ["E.T."],
            "init_inputs": [],
        },
    )
    own = kind.from_pretrained(tmp_path)
    settings: dict[str, Any] = {"cls_token": "(", "sep_token": ")", "do_lower_case": False, "never_split": ["E.T."]}
    # The special one is found as it is written.
    tokens = [(AddedToken("<x>"), NEXT), (AddedToken("<u>", special=True), NEXT + 1)]
    assert ids(own) == ids(kind(VOCAB, added_tokens=tokens, **settings))
    assert (own.additional_special_tokens, own.model_max_length) == (["<u>"], 40)
    assert own.decode([NEXT, NEXT + 1], skip_special_tokens=True) == "<x>"


def test_tokens_by_id_in_the_settings(kind: type[BertTokenizer], tmp_path: Path) -> None:
    usual = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    decoder = {
        **{str(VOCAB[token]): {"content": token, **usual} for token in TOKENS[:5]},
        str(NEXT): {"content": "<x>", **usual, "special": False, "normalized": True},
        str(NEXT + 1): {"content": "<l>", **usual, "special": False, "lstrip": True, "rstrip": True},
    }
    put(
        tmp_path,
        vocab__txt=TOKENS,
        tokenizer_config__json={"added_tokens_decoder": decoder, "mask_token": {"content": "[MASK]"}},
    )
    own = kind.from_pretrained(tmp_path)
    assert ids(own) == ids(kind(VOCAB, added_tokens=ADDED[:2]))
    assert [token.content for token, _ in own.added_tokens] == ["<x>", "<l>"]


def test_the_settings_win_over_tokenizer_json(kind: type[BertTokenizer], tmp_path: Path, transformers: Any) -> None:
    BertTokenizer(VOCAB).save_pretrained(tmp_path)
    conflicts: list[dict[str, Any]] = [
        *({"do_lower_case": False}, {"strip_accents": False}, {"tokenize_chinese_chars": False}),
    ]
    for settings in conflicts:
        put(tmp_path, tokenizer_config__json={"tokenizer_class": "BertTokenizer", **settings})
        own = kind.from_pretrained(tmp_path)
        assert ids(own) == ids(kind(VOCAB, **settings))
        assert ids(own) == ids(transformers.BertTokenizer.from_pretrained(str(tmp_path)))
    assert ids(kind.from_pretrained(tmp_path, tokenize_chinese_chars=True)) == ids(kind(VOCAB))


def test_what_is_null_is_as_usual(kind: type[BertTokenizer], tmp_path: Path) -> None:
    names = (
        "do_lower_case",
        "never_split",
        "strip_accents",
        "model_max_length",
        "mask_token",
        "additional_special_tokens",
    )
    put(tmp_path, vocab__txt=TOKENS, tokenizer_config__json=dict.fromkeys(names))
    assert ids(kind.from_pretrained(tmp_path)) == ids(kind(VOCAB))


def test_a_limit_without_end_is_cut_to_the_positions(tmp_path: Path) -> None:
    put(tmp_path, vocab__txt=TOKENS, tokenizer_config__json={"model_max_length": 1e30})
    assert BertTokenizer.from_pretrained(tmp_path).model_max_length == 10**20
    put(tmp_path, config__json={"model_type": "bert", "vocab_size": NEXT, "max_position_embeddings": 30})
    assert BertTokenizer.from_pretrained(tmp_path).model_max_length == 30


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_an_old_folder_of_sentence_transformers(kind: type[BertTokenizer], inner: str, tmp_path: Path) -> None:
    module = {"idx": 0, "name": "0", "type": "sentence_transformers.models.Transformer"}
    pooling = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    put(tmp_path, modules__json={})
    (tmp_path / "modules.json").write_text(json.dumps([{**module, "path": inner}, pooling]))
    put(tmp_path / "1_Pooling", config__json={"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True})
    put(
        tmp_path / inner,
        sentence_bert_config__json={"max_seq_length": 9, "do_lower_case": True},
        vocab__txt=TOKENS,
        tokenizer_config__json={"do_lower_case": False},
    )
    own = kind.from_pretrained(tmp_path)
    assert own.model_max_length == 9
    # It lowers the text before the tokenizer sees it, and so keeps the accents.
    assert ids(own) == ids(kind(VOCAB, do_lower_case=True, strip_accents=False))


@pytest.mark.parametrize("name", ["bert_model.ckpt", "bert_model.ckpt.index", ""])
def test_the_vocabulary_beside_googles_checkpoint(kind: type[BertTokenizer], name: str, tmp_path: Path) -> None:
    shared = Path(__file__).resolve().parents[2] / "../shared/oracle/tf_checkpoint"
    if not shared.is_dir():
        pytest.skip("no folder ../shared beside the repository")
    shutil.copytree(shared, tmp_path / "tf")
    put(tmp_path / "tf", vocab__txt=TOKENS)
    own = kind.from_pretrained(tmp_path / "tf" / name, rules="google")
    assert ids(own) == ids(kind(VOCAB, rules="google"))


@pytest.mark.parametrize(
    ("tokens", "settings", "message"),
    [
        ([f"Word{number}" for number in range(1000)], {}, "1,000 tokens have capital letters and will never be found"),
        ([f"Word{number}" for number in range(1000)], {"do_lower_case": False}, None),
        ([f"word{number}" for number in range(1000)], {"do_lower_case": False}, "no token has a capital letter"),
        ([f"word{number}" for number in range(1000)], {}, None),
        # Too few to tell.
        (["Word"], {}, None),
        ([f"Word{number}" for number in range(1000)], {"do_basic_tokenize": False}, None),
    ],
)
def test_a_case_that_contradicts_the_vocabulary_is_told(
    tokens: list[str], settings: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    put(tmp_path, vocab__txt=[*TOKENS[:5], *tokens], tokenizer_config__json=settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        BertTokenizer.from_pretrained(tmp_path)
    assert [str(one.message).partition("vocab.txt: ")[2].startswith(message or "") for one in caught] == [True] * bool(
        message
    )
    # It points at the line that loads.
    assert all(one.filename == __file__ for one in caught)


def test_a_vocabulary_needs_rows_for_its_largest_id() -> None:
    config = BertConfig(vocab_size=NEXT)
    check_vocabulary(BertTokenizer(VOCAB), config)
    with pytest.raises(ConfigError, match=f"{NEXT + 1} tokens, but the model has rows for {NEXT}"):
        check_vocabulary(BertTokenizer(VOCAB | {"x": NEXT}), config)
    with pytest.raises(ConfigError, match=f"{NEXT + 1} tokens with ids up to 99, but the model has rows for {NEXT}"):
        check_vocabulary(BertTokenizer(VOCAB | {"x": 99}), config)


# -- files that are wrong ----------------------------------------------------------------------------------


def written(folder: Path) -> dict[str, Any]:
    """Return a sound `tokenizer.json`."""
    BertTokenizer(VOCAB).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    values: dict[str, Any] = json.loads((folder / "tokenizer.json").read_bytes())
    return values


def refused(kind: type[BertTokenizer], folder: Path, error: type[GlassbertError], message: str) -> None:
    with pytest.raises(error) as caught:
        kind.from_pretrained(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"{", "not readable as JSON"),
        (b"\xff\xfe{}", "not readable as JSON"),
        (b"null", "expected a JSON object, found NoneType"),
        (b"[1, 2]", "expected a JSON object, found list"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"model": ' + b'{"a": ' * 50_000, "not readable as JSON"),
        (b'{"model": {"type": "WordPiece", "vocab": {"a": 0, "a": 1}}}', "the key 'a' stands there twice"),
        (b"{}", "model.vocab is no object of tokens and ids"),
    ],
)
def test_a_tokenizer_json_that_is_none(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    refused(BertTokenizer, tmp_path, CheckpointError, message)


def test_a_tokenizer_json_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        os.truncate(file.fileno(), 33 << 20)
    refused(BertTokenizer, tmp_path, CheckpointError, "has 34,603,008 bytes, too many")


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        values = values[name]
    values[last] = value


TOKEN = {"id": NEXT, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False, "special": False}


@pytest.mark.parametrize(
    ("path", "value", "error", "message"),
    [
        ("model", None, CheckpointError, "model.vocab is no object of tokens and ids"),
        ("model", [], CheckpointError, "model is [], expected an object"),
        ("model", 5, CheckpointError, "model is 5, expected an object"),
        ("model.type", "BPE", CheckpointError, "model is 'BPE', expected WordPiece with the prefix ##"),
        ("model.type", "Unigram", CheckpointError, "model is 'Unigram', expected WordPiece"),
        ("model.type", {"a": 1}, CheckpointError, "expected WordPiece"),
        ("model.continuing_subword_prefix", "@@", CheckpointError, "expected WordPiece with the prefix ##"),
        ("model.vocab", None, CheckpointError, "model.vocab is no object of tokens and ids"),
        ("model.vocab", TOKENS, CheckpointError, "model.vocab is no object of tokens and ids"),
        ("model.vocab.a", "5", CheckpointError, "model.vocab is no object of tokens and ids"),
        ("model.vocab.a", -1, CheckpointError, "model.vocab is no object of tokens and ids"),
        ("model.vocab.a", 1.5, CheckpointError, "model.vocab is no object of tokens and ids"),
        ("model.vocab.a", 6, VocabularyError, "two tokens of model.vocab have the same id"),
        ("model.vocab", {"a": 0}, VocabularyError, "'[PAD]' has the id 0, which is that of 'a'"),
        ("model.unk_token", 5, ConfigError, "unk_token is 5, expected a token"),
        ("model.unk_token", "<none>", VocabularyError, "has no <none>"),
        ("model.max_input_chars_per_word", 0, ConfigError, "max_input_chars_per_word is 0"),
        ("model.max_input_chars_per_word", "100", ConfigError, "max_input_chars_per_word is '100'"),
        ("normalizer", 5, CheckpointError, "normalizer is 5, expected an object"),
        ("normalizer.type", "NFC", CheckpointError, "normalizer is 'NFC', expected BertNormalizer"),
        ("normalizer", {"type": "Sequence", "normalizers": [1, 2]}, CheckpointError, "normalizer is 'Sequence'"),
        ("normalizer.lowercase", "yes", ConfigError, "do_lower_case is 'yes', expected true or false"),
        ("normalizer.clean_text", 1, ConfigError, "clean_text is 1, expected true or false"),
        ("pre_tokenizer", None, CheckpointError, "pre_tokenizer is 'nothing', expected BertPreTokenizer"),
        ("pre_tokenizer.type", "ByteLevel", CheckpointError, "pre_tokenizer is 'ByteLevel'"),
        (
            "pre_tokenizer",
            "BertPreTokenizer",
            CheckpointError,
            "pre_tokenizer is 'BertPreTokenizer', expected an object",
        ),
        ("post_processor", 5, CheckpointError, "post_processor is 5, expected an object"),
        ("post_processor.type", "RobertaProcessing", CheckpointError, "post_processor puts other tokens"),
        ("post_processor.single", [], CheckpointError, "post_processor puts other tokens"),
        ("post_processor.single", 5, CheckpointError, "post_processor puts other tokens"),
        ("post_processor.pair", [5] * 5, CheckpointError, "post_processor puts other tokens"),
        ("post_processor.pair", [{"Sequence": 5}] * 5, CheckpointError, "post_processor puts other tokens"),
        ("added_tokens", 5, CheckpointError, "added_tokens is 5, expected a list"),
        ("added_tokens", {"a": 5}, CheckpointError, "added_tokens is {'a': 5}, expected a list"),
        ("added_tokens", ["<x>"], ConfigError, "'<x>' with the id None is no added token"),
        ("added_tokens", [{**TOKEN, "id": -1}], ConfigError, "with the id -1 is no added token"),
        ("added_tokens", [{**TOKEN, "id": "5"}], ConfigError, "with the id '5' is no added token"),
        ("added_tokens", [{**TOKEN, "content": ""}], ConfigError, "is no added token"),
        ("added_tokens", [{**TOKEN, "content": None}], ConfigError, "is no added token"),
        ("added_tokens", [{**TOKEN, "lstrip": 1}], ConfigError, "is no added token"),
        ("added_tokens", [{**TOKEN, "id": 7}], VocabularyError, "'<x>' has the id 7, which is that of '##ed'"),
        (
            "added_tokens",
            [TOKEN, {**TOKEN, "content": "<y>"}],
            VocabularyError,
            f"'<y>' has the id {NEXT}, which is that",
        ),
        (
            "added_tokens",
            [{**TOKEN, "content": "want"}],
            VocabularyError,
            f"'want' has the id {NEXT}, but it is 5 already",
        ),
        ("added_tokens", [TOKEN, {**TOKEN, "id": NEXT + 1}], VocabularyError, "'<x>' has the id"),
        ("added_tokens", [{**TOKEN, "content": "\ud800"}], VocabularyError, "lone surrogate"),
        ("model.vocab.\udfff", NEXT, VocabularyError, "lone surrogate"),
    ],
)
def test_a_tokenizer_json_that_says_something_wrong(
    kind: type[BertTokenizer], path: str, value: Any, error: type[GlassbertError], message: str, tmp_path: Path
) -> None:
    values = written(tmp_path)
    _set(values, path, value)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="ascii")
    refused(kind, tmp_path, error, message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("truncation", {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}),
        (
            "padding",
            {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        ),
        ("post_processor", {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}),
        ("post_processor", None),
        ("decoder", None),
        ("added_tokens", None),
        ("model.type", "WordPiece"),
        ("normalizer.strip_accents", None),
        ("normalizer.handle_chinese_chars", None),
        ("unknown", {"key": 1}),
    ],
)
def test_a_tokenizer_json_that_says_the_same_otherwise(
    kind: type[BertTokenizer], path: str, value: Any, tmp_path: Path
) -> None:
    values = written(tmp_path)
    _set(values, path, value)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    assert ids(kind.from_pretrained(tmp_path)) == ids(kind(VOCAB))


def test_a_sequence_of_one_is_what_is_in_it(kind: type[BertTokenizer], tmp_path: Path) -> None:
    values = written(tmp_path)
    values["normalizer"] = {"type": "Sequence", "normalizers": [values["normalizer"]]}
    values["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [values["pre_tokenizer"]]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    assert ids(kind.from_pretrained(tmp_path)) == ids(kind(VOCAB))


def test_no_normalizer_leaves_the_text_as_it_is(kind: type[BertTokenizer], tmp_path: Path) -> None:
    values = written(tmp_path)
    values["normalizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    off: dict[str, Any] = {
        "clean_text": False,
        "do_lower_case": False,
        "strip_accents": False,
        "tokenize_chinese_chars": False,
    }
    assert ids(kind.from_pretrained(tmp_path)) == ids(kind(VOCAB, **off))


def test_a_vocabulary_that_contradicts_tokenizer_json_is_refused(kind: type[BertTokenizer], tmp_path: Path) -> None:
    own = BertTokenizer(VOCAB, **SETTINGS["added"])
    own.save_pretrained(tmp_path)
    # Added tokens may stand in vocab.txt too.
    put(tmp_path, vocab__txt=[*TOKENS, "<x>"])
    assert ids(kind.from_pretrained(tmp_path)) == ids(own)
    put(tmp_path, vocab__txt=[*TOKENS[:7], "other", *TOKENS[8:]])
    refused(kind, tmp_path, VocabularyError, "'other' has the id 7, but in")
    put(tmp_path, vocab__txt=[*TOKENS[:7], TOKENS[8], TOKENS[7], *TOKENS[9:]])
    refused(kind, tmp_path, VocabularyError, "'wa' has the id 7, but in")


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("tokenizer_config.json", [], CheckpointError, "expected a JSON object, found list"),
        ("tokenizer_config.json", {"do_lower_case": "false"}, ConfigError, "do_lower_case is 'false'"),
        ("tokenizer_config.json", {"do_lower_case": 0}, ConfigError, "do_lower_case is 0"),
        ("tokenizer_config.json", {"model_max_length": "512"}, ConfigError, "model_max_length is '512'"),
        ("tokenizer_config.json", {"model_max_length": 2}, ConfigError, "model_max_length is 2"),
        ("tokenizer_config.json", {"model_max_length": float("nan")}, ConfigError, "model_max_length is nan"),
        ("tokenizer_config.json", {"padding_side": "up"}, ConfigError, "padding_side is 'up'"),
        ("tokenizer_config.json", {"truncation_side": 1}, ConfigError, "truncation_side is 1"),
        ("tokenizer_config.json", {"padding_side": ["left"]}, ConfigError, "padding_side is ['left']"),
        (
            "tokenizer_config.json",
            {"never_split": "E.T."},
            ConfigError,
            "never_split is 'E.T.', expected a list of words",
        ),
        ("tokenizer_config.json", {"never_split": [1]}, ConfigError, "never_split is [1]"),
        ("tokenizer_config.json", {"rules": "bert"}, ConfigError, "rules is 'bert'"),
        ("tokenizer_config.json", {"mask_token": 5}, ConfigError, "mask_token is 5"),
        ("tokenizer_config.json", {"mask_token": {"content": 5}}, ConfigError, "mask_token is 5"),
        ("tokenizer_config.json", {"mask_token": {"lstrip": True}}, ConfigError, "mask_token is {'lstrip': True}"),
        ("tokenizer_config.json", {"mask_token": "<none>"}, VocabularyError, "has no <none>"),
        (
            "tokenizer_config.json",
            {"additional_special_tokens": "<u>"},
            ConfigError,
            "additional_special_tokens is '<u>'",
        ),
        ("tokenizer_config.json", {"additional_special_tokens": [5]}, ConfigError, "additional_special_tokens is [5]"),
        (
            "tokenizer_config.json",
            {"additional_special_tokens": [""]},
            ConfigError,
            "additional_special_tokens is ['']",
        ),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}, ConfigError, "added_tokens_decoder is [1]"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": TOKEN}}, ConfigError, "is no added token"),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {"40": "<x>"}},
            ConfigError,
            "'<x>' with the id 40 is no added",
        ),
        ("special_tokens_map.json", {"cls_token": ["a"]}, ConfigError, "cls_token is ['a']"),
        ("added_tokens.json", {"<x>": "5"}, ConfigError, "'<x>' has the id '5'"),
        ("added_tokens.json", {"<x>": -5}, ConfigError, "'<x>' has the id -5"),
        ("added_tokens.json", {"": 50}, ConfigError, "'' has the id 50"),
        ("added_tokens.json", {"<x>": 5}, VocabularyError, "'<x>' has the id 5, which is that of 'want'"),
        ("added_tokens.json", [], CheckpointError, "expected a JSON object, found list"),
        ("added_tokens.json", {"<x>": 50, "<y>": 50}, VocabularyError, "has the id 50, which is that of"),
    ],
)
def test_settings_that_are_wrong(
    kind: type[BertTokenizer], name: str, value: Any, error: type[GlassbertError], message: str, tmp_path: Path
) -> None:
    put(tmp_path, vocab__txt=TOKENS)
    (tmp_path / name).write_text(json.dumps(value), encoding="utf-8")
    refused(kind, tmp_path, error, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "vocab.txt: the vocabulary is empty"),
        (b"a\nb\xff\n", "vocab.txt: byte 3 is not UTF-8"),
        (
            "".join(f"{token}\n" for token in [*TOKENS, "a"]).encode(),
            f"vocab.txt:{NEXT + 1}: 'a' stands on line 17 already",
        ),
        ("".join(f"{token}\n" for token in [*TOKENS, "", ""]).encode(), "'' stands on line"),
        (b"a\nb\n", "has no [UNK]"),
        ("".join(f"{token}\n" for token in TOKENS if token != "[CLS]").encode(), "has no [CLS]"),
    ],
)
def test_a_vocabulary_that_cannot_serve(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    refused(BertTokenizer, tmp_path, VocabularyError, message)


def test_a_vocabulary_of_odd_lines_is_read(kind: type[BertTokenizer], tmp_path: Path) -> None:
    odd = [*TOKENS, "\u2028", "##\u2028", "\u00a0", "", "\x85"]
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(odd).encode())
    own = kind.from_pretrained(tmp_path)
    assert own.vocab == {token: index for index, token in enumerate(odd)}
    own.save_pretrained(tmp_path / "again")
    assert kind.from_pretrained(tmp_path / "again").vocab == own.vocab


def test_a_folder_without_a_vocabulary(tmp_path: Path) -> None:
    put(tmp_path, tokenizer_config__json={})
    refused(BertTokenizer, tmp_path, CheckpointError, "holds neither tokenizer.json nor vocab.txt")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", vocab__txt=TOKENS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "vocab.txt").symlink_to(tmp_path / "elsewhere" / "vocab.txt")
    refused(BertTokenizer, tmp_path / "folder", CheckpointError, "vocab.txt")


def test_an_unknown_setting_of_the_call_is_refused(tmp_path: Path) -> None:
    put(tmp_path, vocab__txt=TOKENS)
    with pytest.raises(TypeError, match="lower"):
        BertTokenizer.from_pretrained(tmp_path, lower=True)
