"""Vocabulary and settings of a tokenizer ↔ the files of a model folder.

`tokenizer.json` says all about a tokenizer; `vocab.txt`, with `added_tokens.json` and `special_tokens_map.json`, is the
older form. `tokenizer_config.json` holds settings, which win over those of `tokenizer.json`, as in transformers.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from glassbert.checkpoint.hub import local_folder
from glassbert.checkpoint.place import CONFIG, MODULES, check_name, inside
from glassbert.checkpoint.sentence_folder import read_sentence_folder
from glassbert.checkpoint.tensorflow import find_checkpoint
from glassbert.errors import CheckpointError, ConfigError, VocabularyError
from glassbert.files import read_json, reading, updated_folder, write_json
from glassbert.model.config import BertConfig
from glassbert.text.added import AddedToken
from glassbert.text.tokenizer import BertTokenizer
from glassbert.text.tokens import SPECIAL
from glassbert.text.vocabulary import load_vocabulary, save_vocabulary

VOCABULARY: Final = "vocab.txt"
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
SPECIAL_TOKENS: Final = "special_tokens_map.json"
ADDED_TOKENS: Final = "added_tokens.json"
TOKENIZER_FILES: Final = (VOCABULARY, TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, ADDED_TOKENS)

TokenizerT = TypeVar("TokenizerT", bound=BertTokenizer)


# -- writing ------------------------------------------------------------------------------------------


def save_tokenizer(tokenizer: BertTokenizer, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a tokenizer's files into `folder`, whose other files stay; all at once or not at all.

    These are `vocab.txt`, `tokenizer.json` (not under the rules `google`, which it cannot hold),
    `tokenizer_config.json`, and where tokens were added `added_tokens.json` and `special_tokens_map.json` for older
    readers.

    Raises:
        OutputExistsError: the folder holds such files already and `overwrite` is false.
        SaveError: the disk refused a write.
        VocabularyError: the ids have gaps, or a token has a line end in it, which `vocab.txt` cannot hold.
    """
    with updated_folder(folder, TOKENIZER_FILES, overwrite=overwrite) as stage:
        save_vocabulary(tokenizer.vocab, stage / VOCABULARY)
        write_json(stage / TOKENIZER_CONFIG, _settings_of(tokenizer))
        if tokenizer.rules == "hf":
            write_json(stage / TOKENIZER, _description_of(tokenizer))
        if tokenizer.get_added_vocab():
            write_json(stage / ADDED_TOKENS, tokenizer.get_added_vocab())
        if tokenizer.additional_special_tokens:
            write_json(stage / SPECIAL_TOKENS, tokenizer.special_tokens_map)


# Written always; those that follow where they are not as usual.
_ALWAYS: Final = (
    "do_lower_case",
    "do_basic_tokenize",
    "tokenize_chinese_chars",
    "strip_accents",
    *SPECIAL,
    "model_max_length",
    "padding_side",
    "truncation_side",
)
_USUAL: Final = {"clean_text": True, "rules": "hf"}


def _settings_of(tokenizer: BertTokenizer) -> dict[str, Any]:
    # transformers' BertTokenizer builds its steps anew from the settings that it knows; for others there is the class
    # that takes tokenizer.json as it is.
    longest = tokenizer.wordpiece_tokenizer.max_input_chars_per_word
    known = tokenizer.do_basic_tokenize and tokenizer.clean_text and longest == 100
    settings: dict[str, Any] = {"tokenizer_class": "BertTokenizer"}
    if not known and tokenizer.rules == "hf":
        names = ["input_ids", "token_type_ids", "attention_mask"]
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names}
    settings |= {name: getattr(tokenizer, name) for name in _ALWAYS}
    settings |= {name: getattr(tokenizer, name) for name, usual in _USUAL.items() if getattr(tokenizer, name) != usual}
    if longest != {"hf": 100, "google": 200}[tokenizer.rules]:
        settings["max_input_chars_per_word"] = longest
    if tokenizer.basic_tokenizer.never_split:
        settings["never_split"] = sorted(tokenizer.basic_tokenizer.never_split)
    if tokenizer.additional_special_tokens:
        # The newer name and the older one.
        settings["extra_special_tokens"] = settings["additional_special_tokens"] = tokenizer.additional_special_tokens
    return settings


def _description_of(tokenizer: BertTokenizer) -> dict[str, Any]:
    """Describe a tokenizer in the form of the library `tokenizers`."""
    special = {
        token: (AddedToken(token, special=True), tokenizer.convert_tokens_to_ids(token))
        for token in tokenizer.all_special_tokens
    }
    added = special | {token.content: (token, index) for token, index in tokenizer.added_tokens}
    begin, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in (tokenizer.cls_token, tokenizer.sep_token))
    first, second = ({"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB"))
    last = {"SpecialToken": {"id": tokenizer.sep_token, "type_id": 1}}
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": tokenizer.clean_text,
        "handle_chinese_chars": tokenizer.tokenize_chinese_chars,
        "strip_accents": tokenizer.strip_accents,
        "lowercase": tokenizer.do_lower_case,
    }
    basic = tokenizer.do_basic_tokenize
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": token.content,
                "single_word": token.single_word,
                "lstrip": token.lstrip,
                "rstrip": token.rstrip,
                "normalized": token.is_normalized,
                "special": token.special,
            }
            for token, index in sorted(added.values(), key=lambda pair: pair[1])
        ],
        "normalizer": normalizer if basic else None,
        "pre_tokenizer": {"type": "BertPreTokenizer" if basic else "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first, end],
            "pair": [begin, first, end, second, last],
            "special_tokens": {
                token: {"id": token, "ids": [tokenizer.convert_tokens_to_ids(token)], "tokens": [token]}
                for token in (tokenizer.cls_token, tokenizer.sep_token)
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.unk_token,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": tokenizer.wordpiece_tokenizer.max_input_chars_per_word,
            "vocab": tokenizer.vocab,
        },
    }


# -- reading ------------------------------------------------------------------------------------------


def load_tokenizer(
    tokenizer_class: type[TokenizerT],
    folder: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **settings: Any,
) -> TokenizerT:
    """Load a tokenizer from `tokenizer.json` or `vocab.txt` and, where it is there, `tokenizer_config.json`.

    `model_max_length` is at most the positions that `config.json` counts, and the length that a folder of
    sentence-transformers names. The truncation and padding that a `tokenizer.json` may hold are settings of a call, and
    are left aside.

    Args:
        tokenizer_class: `BertTokenizer`, `BertTokenizerFast` or a subclass.
        folder: a model folder, Google's TensorFlow checkpoint, or the name of a repo on the hub.
        revision: branch, tag or commit on the hub.
        token: for the hub.
        cache_dir: of the hub's client.
        local_files_only: take what the cache has, without any request.
        settings: in place of those in the files.

    Raises:
        CheckpointError: no such folder, no vocabulary, a file that is no JSON object, or a `tokenizer.json` of another
            kind of tokenizer.
        ConfigError: a setting that no tokenizer can have.
        VocabularyError: the vocabulary cannot serve, or two files disagree about it.
        TypeError: a setting that the tokenizer does not have.
    """
    check_name(folder)
    with reading(folder):
        prefix = None if Path(folder).is_dir() else find_checkpoint(folder)
        path = (
            prefix.parent
            if prefix is not None
            else local_folder(
                folder,
                parts="tokenizer",
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        )
        sentence = read_sentence_folder(path) if inside(path, MODULES).is_file() else None
        if sentence is not None and not any(inside(path, name).is_file() for name in (VOCABULARY, TOKENIZER)):
            path = sentence.transformer  # before 2021 everything was kept in a folder of its own
        stored = _stored(path)
        if inside(path, CONFIG).is_file():
            positions = BertConfig.from_json_file(path / CONFIG).max_position_embeddings
            stored["model_max_length"] = int(min(stored.get("model_max_length", positions), positions))
        if sentence is not None:
            if sentence.max_length is not None:
                stored["model_max_length"] = min(
                    stored.get("model_max_length", sentence.max_length), sentence.max_length
                )
            if sentence.lower_case and not stored.get("do_lower_case", True):
                # sentence-transformers lowers the text before the tokenizer sees it, and leaves accents alone.
                stored |= {"do_lower_case": True, "strip_accents": bool(stored.get("strip_accents"))}
    where = path / (TOKENIZER if inside(path, TOKENIZER).is_file() else VOCABULARY)
    try:
        tokenizer = tokenizer_class(**(stored | settings))
    except VocabularyError as error:
        raise VocabularyError(f"{where}: {error}") from None
    _warn_of_case(tokenizer, where)
    return tokenizer


def _stored(path: Path) -> dict[str, Any]:
    """Return what the files of a folder say, as arguments of a tokenizer."""
    vocabulary, description = inside(path, VOCABULARY), inside(path, TOKENIZER)
    if description.is_file():
        stored = _described(read_json(description), description)
        if vocabulary.is_file():
            _check_same(load_vocabulary(vocabulary), stored, vocabulary, description)
    elif vocabulary.is_file():
        stored = {"vocab": load_vocabulary(vocabulary), "added_tokens": []}
        added = inside(path, ADDED_TOKENS)
        if added.is_file():
            stored["added_tokens"] = _listed(added)
    else:
        raise CheckpointError(f"{path}: holds neither {TOKENIZER} nor {VOCABULARY}, so no tokenizer")
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        if inside(path, name).is_file():
            found = _tokenizer_settings(read_json(path / name), path / name)
            more = found.pop("added_tokens", [])
            there = {token.content for token, _ in stored["added_tokens"]}
            stored["added_tokens"] += [(token, index) for token, index in more if token.content not in there]
            stored |= found
    # The five special tokens have names of their own; what else is said of one, such as the space it takes, stays.
    named = {stored.get(name, f"[{name[:-6].upper()}]") for name in SPECIAL} & stored["vocab"].keys()
    usual = (AddedToken(content, special=True, normalized=False) for content in named)
    usual_ones = {dataclasses.replace(token, normalized=flag) for token in usual for flag in (False, None)}
    stored["added_tokens"] = [pair for pair in stored["added_tokens"] if pair[0] not in usual_ones]
    return stored


def _check_same(vocab: dict[str, int], stored: dict[str, Any], file: Path, other: Path) -> None:
    """Hold two files against each other.

    Raises:
        VocabularyError: a token of `vocab.txt` has another id in `tokenizer.json`, or none.
    """
    known = stored["vocab"] | {token.content: index for token, index in stored["added_tokens"]}
    if vocab.items() <= known.items():
        return
    token = next(token for token, index in vocab.items() if known.get(token) != index)
    raise VocabularyError(
        f"{file}: {token!r} has the id {vocab[token]}, but in {other} {known.get(token, 'none')}; remove the file that "
        "is not of this model"
    )


def _listed(file: Path) -> list[tuple[AddedToken, int]]:
    """Read `added_tokens.json`: token → id."""
    values = read_json(file)
    for content, index in values.items():
        if type(index) is not int or index < 0 or not content:
            raise ConfigError(f"{file}: {content!r} has the id {index!r}, expected a whole number")
    return [(AddedToken(content), index) for content, index in values.items()]


def _described(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Take a tokenizer's arguments out of a `tokenizer.json`.

    Raises:
        CheckpointError: it is of another kind of tokenizer, by the name of the part that is.
    """

    def part(name: str) -> dict[str, Any]:
        value = values.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise CheckpointError(f"{file}: {name} is {_shown(value)}, expected an object")
        if value.get("type") == "Sequence":  # of one, as some writers have it
            several = next((inner for inner in value.values() if isinstance(inner, list)), [])
            return several[0] if len(several) == 1 and isinstance(several[0], dict) else value
        return value

    def refuse(name: str, expected: str) -> CheckpointError:
        found = part(name).get("type") or "nothing"
        return CheckpointError(f"{file}: {name} is {_shown(found)}, expected {expected}: it is no tokenizer of BERT")

    model, normalizer, splitter = part("model"), part("normalizer"), part("pre_tokenizer")
    if model.get("type", "WordPiece") != "WordPiece" or model.get("continuing_subword_prefix", "##") != "##":
        raise refuse("model", "WordPiece with the prefix ##")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(index) is int and index >= 0 for index in vocab.values()):
        raise CheckpointError(f"{file}: model.vocab is no object of tokens and ids")
    if len(set(vocab.values())) != len(vocab):
        raise VocabularyError(f"{file}: two tokens of model.vocab have the same id")
    stored: dict[str, Any] = {"vocab": vocab}
    kinds = normalizer.get("type"), splitter.get("type")
    if kinds == ("BertNormalizer", "BertPreTokenizer"):
        stored |= {
            "clean_text": normalizer.get("clean_text", True),
            "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
            "strip_accents": normalizer.get("strip_accents"),
            "do_lower_case": normalizer.get("lowercase", True),
        }
    elif kinds == (None, "BertPreTokenizer"):
        off = ("clean_text", "tokenize_chinese_chars", "strip_accents", "do_lower_case")
        stored |= dict.fromkeys(off, False)
    elif kinds == (None, "WhitespaceSplit"):
        stored["do_basic_tokenize"] = False
    elif kinds[0] not in (None, "BertNormalizer"):
        raise refuse("normalizer", "BertNormalizer")
    else:
        raise refuse("pre_tokenizer", "BertPreTokenizer")
    for name, key in (("unk_token", "unk_token"), ("max_input_chars_per_word", "max_input_chars_per_word")):
        if key in model:
            stored[name] = model[key]
    _check_frame(part("post_processor"), file)
    added = values.get("added_tokens") or []
    if not isinstance(added, list):
        raise CheckpointError(f"{file}: added_tokens is {_shown(added)}, expected a list")
    stored["added_tokens"] = [_added(one, one.get("id") if isinstance(one, dict) else None, file) for one in added]
    given = {name: value for name, value in stored.items() if value is not None}
    return {name: _checked(name, value, file) for name, value in given.items()}


def _check_frame(processor: dict[str, Any], file: Path) -> None:
    """Refuse another order of special tokens than `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`."""
    if processor.get("type") in (None, "BertProcessing"):
        return
    shapes = {"single": ["", "A", ""], "pair": ["", "A", "", "B", ""]}
    for name, shape in shapes.items():
        steps = processor.get(name)
        found = [
            sequence.get("id", "") if isinstance(sequence, dict) else None
            for step in (steps if isinstance(steps, list) else ())
            for sequence in [step.get("Sequence", {}) if isinstance(step, dict) else None]
        ]
        if processor["type"] != "TemplateProcessing" or found != shape:
            raise CheckpointError(f"{file}: post_processor puts other tokens round a text than [CLS] and [SEP]")


def _added(value: Any, index: Any, file: Path) -> tuple[AddedToken, int]:
    """Read one added token."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    if isinstance(value, dict) and isinstance(value.get("content"), str) and value["content"]:
        chosen = {name: value[name] for name in flags if name in value}
        if type(index) is int and index >= 0 and all(isinstance(flag, bool) for flag in chosen.values()):
            return AddedToken(value["content"], **chosen), index
    raise ConfigError(f"{file}: {_shown(value)} with the id {_shown(index)} is no added token")


_TRUTH: Final = ("do_lower_case", "do_basic_tokenize", "tokenize_chinese_chars", "strip_accents", "clean_text")
_CHECKS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "model_max_length": (lambda value: type(value) in (int, float) and value >= 3, "a number from 3 on"),
    "max_input_chars_per_word": (lambda value: type(value) is int and value > 0, "a whole number from 1 on"),
    "never_split": (
        lambda value: isinstance(value, list) and all(isinstance(word, str) for word in value),
        "a list of words",
    ),
    "padding_side": (lambda value: value in ("right", "left"), "'right' or 'left'"),
    "truncation_side": (lambda value: value in ("right", "left"), "'right' or 'left'"),
    "rules": (lambda value: value in ("hf", "google"), "'hf' or 'google'"),
    **dict.fromkeys(_TRUTH, (lambda value: isinstance(value, bool), "true or false")),
    **dict.fromkeys(SPECIAL, (lambda value: isinstance(value, str) and bool(value), "a token")),
}


def _checked(name: str, value: Any, file: Path) -> Any:
    """Return a setting.

    Raises:
        ConfigError: a value that it cannot have.
    """
    good, expected = _CHECKS.get(name, (lambda _: True, ""))
    if value is not None and not good(value):
        raise ConfigError(f"{file}: {name} is {_shown(value)}, expected {expected}")
    return value


def _tokenizer_settings(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Take the settings that we know out of a file, checked; null means what leaving the key out means."""
    chosen = {}
    for name in _CHECKS:
        value = _plain(values.get(name))
        if value is not None:
            chosen[name] = _checked(name, value, file)
    further = values.get("additional_special_tokens") or values.get("extra_special_tokens") or []
    tokens = list(further.values()) if isinstance(further, dict) else further
    if not isinstance(tokens, list) or not all(isinstance(_plain(one), str) and _plain(one) for one in tokens):
        raise ConfigError(f"{file}: additional_special_tokens is {_shown(further)}, expected a list of tokens")
    if tokens:
        chosen["additional_special_tokens"] = [_plain(one) for one in tokens]
    decoder = values.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise ConfigError(f"{file}: added_tokens_decoder is {_shown(decoder)}, expected tokens by id")
    if decoder:
        pairs = [(one, int(index) if str(index).isdecimal() else index) for index, one in decoder.items()]
        chosen["added_tokens"] = [_added(one, index, file) for one, index in pairs]
    return chosen


def _plain(value: Any) -> Any:
    # Newer files describe a special token by an object with its text under "content".
    return value["content"] if isinstance(value, dict) and "content" in value else value


def _shown(value: Any) -> str:
    return repr(value)[:80]


# -- do they fit? -------------------------------------------------------------------------------------


def check_vocabulary(tokenizer: BertTokenizer, config: BertConfig) -> None:
    """Refuse a tokenizer whose ids the model has no rows for.

    Raises:
        ConfigError: by size.
    """
    needed = max(tokenizer.get_vocab().values()) + 1
    if needed > config.vocab_size:
        gaps = f" with ids up to {needed - 1}" if needed != len(tokenizer) else ""
        raise ConfigError(
            f"the vocabulary has {len(tokenizer)} tokens{gaps}, but the model has rows for {config.vocab_size}"
        )


# A vocabulary of fewer tokens says little about its case.
_ENOUGH: Final = 1000
_CAPITAL: Final = re.compile(r"^(?!\[).*[A-Z]", re.MULTILINE)


def _warn_of_case(tokenizer: BertTokenizer, where: Path) -> None:
    """Warn where the setting and the vocabulary disagree about capital letters."""
    if len(tokenizer.vocab) < _ENOUGH or not tokenizer.do_basic_tokenize:
        return
    capitals = len(_CAPITAL.findall("\n".join(tokenizer.vocab)))
    if tokenizer.do_lower_case and capitals > 0.05 * len(tokenizer.vocab):
        warnings.warn(
            f"{where}: {capitals:,} tokens have capital letters and will never be found, since do_lower_case is true; "
            "do_lower_case=False if the model is cased",
            stacklevel=4,
        )
    elif not tokenizer.do_lower_case and not capitals:
        warnings.warn(
            f"{where}: no token has a capital letter, and do_lower_case is false, so each word with one is "
            f"{tokenizer.unk_token}; do_lower_case=True if the model is uncased",
            stacklevel=4,
        )
