"""Vocabulary and settings of a tokenizer ↔ the files of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

from glassbert.checkpoint.hub import local_folder
from glassbert.checkpoint.place import CONFIG, inside
from glassbert.errors import CheckpointError, ConfigError, VocabularyError
from glassbert.files import new_file, read_json, write_json
from glassbert.model.config import BertConfig
from glassbert.text.tokenizer import BertTokenizer
from glassbert.text.vocabulary import save_vocabulary

VOCABULARY: Final = "vocab.txt"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"

TokenizerT = TypeVar("TokenizerT", bound=BertTokenizer)


def save_tokenizer(tokenizer: BertTokenizer, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write `vocab.txt` and `tokenizer_config.json` into `folder`, which is created where it is missing.

    Raises:
        OutputExistsError: the folder holds a vocabulary already and `overwrite` is false.
        SaveError: the disk refused a write.
        VocabularyError: the ids have gaps.
    """
    path = Path(folder)
    settings = {
        "tokenizer_class": "BertTokenizer",
        **{name: getattr(tokenizer, name) for name in _TOKENIZER_SETTINGS},
    }
    if tokenizer.basic_tokenizer.never_split:
        settings["never_split"] = sorted(tokenizer.basic_tokenizer.never_split)
    with new_file(path / VOCABULARY, overwrite=overwrite) as part:
        save_vocabulary(tokenizer.vocab, part)
    with new_file(path / TOKENIZER_CONFIG, overwrite=overwrite) as part:
        write_json(part, settings)


_TOKENIZER_SETTINGS: Final = (
    "do_lower_case",
    "tokenize_chinese_chars",
    "strip_accents",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "model_max_length",
    "padding_side",
)


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
    """Load a tokenizer from `vocab.txt` and, where it is there, `tokenizer_config.json`.

    `model_max_length` is at most the positions that `config.json` counts.

    Args:
        tokenizer_class: `BertTokenizer` or a subclass.
        folder: the model folder, or the name of a repo on the hub.
        revision: branch, tag or commit on the hub.
        token: for the hub.
        cache_dir: of the hub's client.
        local_files_only: take what the cache has, without any request.
        settings: in place of those in the file.

    Raises:
        CheckpointError: no such folder, no `vocab.txt`, or a config file that is no JSON object.
        VocabularyError: the vocabulary cannot serve.
        TypeError: a setting that the tokenizer does not have.
    """
    path = local_folder(
        folder,
        parts="tokenizer",
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
    )
    if not inside(path, VOCABULARY).is_file():
        raise CheckpointError(f"{path}: holds no {VOCABULARY}")
    settings_file = inside(path, TOKENIZER_CONFIG)
    stored = read_json(settings_file) if settings_file.is_file() else {}
    chosen = _tokenizer_settings(stored, path / TOKENIZER_CONFIG)
    if (path / CONFIG).is_file():
        positions = BertConfig.from_pretrained(path).max_position_embeddings
        chosen["model_max_length"] = int(min(chosen.get("model_max_length", positions), positions))
    chosen.update(settings)
    try:
        return tokenizer_class(path / VOCABULARY, **chosen)
    except VocabularyError as error:
        where = "" if str(path / VOCABULARY) in str(error) else f"{path / VOCABULARY}: "
        raise VocabularyError(f"{where}{error}") from None


def _tokenizer_settings(stored: dict[str, Any], file: Path) -> dict[str, Any]:
    """Take the settings that we know out of a file, checked; null means what leaving the key out means."""
    chosen = {}
    for name in (*_TOKENIZER_SETTINGS, "never_split"):
        value = _plain(stored.get(name))
        if value is None:
            continue
        if name == "model_max_length":
            good, expected = type(value) in (int, float) and value >= 3, "a number from 3 on"
        elif name in ("do_lower_case", "tokenize_chinese_chars", "strip_accents"):
            good, expected = isinstance(value, bool), "true or false"
        elif name == "never_split":
            good, expected = isinstance(value, list) and all(isinstance(word, str) for word in value), "a list of words"
        elif name == "padding_side":
            good, expected = value in ("right", "left"), "'right' or 'left'"
        else:
            good, expected = isinstance(value, str) and bool(value), "a token"
        if not good:
            raise ConfigError(f"{file}: {name} is {value!r}, expected {expected}")
        chosen[name] = value
    return chosen


def _plain(value: Any) -> Any:
    # Newer files describe a special token by an object with its text under "content".
    return value["content"] if isinstance(value, dict) and "content" in value else value


def check_vocabulary(tokenizer: BertTokenizer, config: BertConfig) -> None:
    """Refuse a tokenizer whose ids the model has no rows for.

    Raises:
        ConfigError: by size.
    """
    if len(tokenizer) > config.vocab_size:
        raise ConfigError(f"the vocabulary has {len(tokenizer)} tokens, but the model has rows for {config.vocab_size}")
