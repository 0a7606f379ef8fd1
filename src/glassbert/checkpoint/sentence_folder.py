"""Folders of sentence-transformers: which transformer, how its vectors are pooled, how long texts may be, prompts.

| file | what it says |
| --- | --- |
| `modules.json` | the steps, each a class and a folder: Transformer, Pooling and perhaps Normalize |
| `1_Pooling/config.json` | how the vectors of tokens become one |
| `2_Normalize/config.json` | nothing that differs; often not there |
| `sentence_bert_config.json` | beside the transformer: the longest text in tokens, lower case |
| `config_sentence_transformers.json` | prompts, and how two vectors are compared |

What a file says is taken, or refused by name: a folder that is read gives the vectors that sentence-transformers gives.

Source: sentence_transformers 6.2 (base/model.py, base/modules/transformer.py, sentence_transformer/modules/pooling.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, get_args

from glassbert.checkpoint.place import contained, model_folder
from glassbert.errors import CheckpointError, ConfigError
from glassbert.files import LARGEST_SETTINGS, new_file, read_json, read_json_value, write_json
from glassbert.model.config import BertConfig
from glassbert.model.sentence import Pooling, SentenceEncoder, Similarity

MODULES: Final = "modules.json"
MODULE_CONFIG: Final = "config.json"
LENGTHS: Final = "sentence_bert_config.json"
SETTINGS: Final = "config_sentence_transformers.json"

# Names of classes as far back as version 2 (sentence_transformers.models.Pooling) and today
# (sentence_transformers.sentence_transformer.modules.pooling.Pooling): the package and the class stay.
_PACKAGE: Final = "sentence_transformers."
_STEPS: Final = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_MODES: Final[dict[str, Pooling]] = {"cls": "cls", "mean": "mean", "max": "max"}
# Before version 6 each mode had a key of its own.
_FLAGS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Prompts that every model of sentence-transformers has; empty where a folder does not say.
_USUAL_PROMPTS: Final = ("query", "document")
# What a transformer's file may say that would give other vectors, and the values that change nothing.
_PLAIN: Final[dict[str, tuple[Any, ...]]] = {
    "transformer_task": (None, "feature-extraction"),
    "module_output_name": (None, "token_embeddings"),
    "processing_kwargs": (None, {}),
    "tokenizer_args": (None, {}),
    "processor_kwargs": (None, {}),
    "config_args": (None, {}),
    "config_kwargs": (None, {}),
    "tokenizer_name_or_path": (None,),
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None,),
}
_STATES: Final = {"method": "forward", "method_output_name": "last_hidden_state"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceFolder:
    """What a folder of sentence-transformers says beside the transformer's own files.

    Attributes:
        transformer: the folder with the transformer and its tokenizer.
        pooling: how the vectors of tokens become one.
        normalize: whether that vector is brought to length 1.
        max_length: longest text in tokens, special ones included; None leaves it to the tokenizer's
            `model_max_length`, where version 6 writes it.
        lower_case: texts are put in lower case before the tokenizer, whatever that does itself; accents are not
            stripped by it.
        prompts: texts to put before a text, by name.
        default_prompt: name of the prompt that is put before a text where no other is asked for.
        similarity: how two vectors are compared: "cosine", "dot", "euclidean" or "manhattan"; None where the folder
            does not say (sentence-transformers takes "cosine" then).
        truncate_dim: how many numbers of a vector are kept, the first ones; None keeps all.
    """

    transformer: Path
    pooling: Pooling
    normalize: bool
    max_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    default_prompt: str | None = None
    similarity: Similarity | None = None
    truncate_dim: int | None = None

    def settings(self) -> dict[str, Any]:
        """Return the arguments of a `SentenceEncoder`."""
        names = {field.name for field in dataclasses.fields(self)} - {"transformer"}
        return {"layers": 1, **{name: getattr(self, name) for name in names}}


def read_sentence_folder(folder: str | Path) -> SentenceFolder | None:
    """Read the settings of a folder of sentence-transformers; None where it holds no `modules.json`.

    Nothing outside of `folder` is read: paths in `modules.json` have to stay inside, links too, but for those of the
    hub's cache.

    Raises:
        CheckpointError: a file that is missing, damaged, or says what glassbert does not compute; by file and key.
    """
    root = Path(folder)
    if not (root / MODULES).exists():
        return None
    kinds, paths = _read_modules(root)
    transformer = paths[0]
    if not transformer.is_dir():
        raise CheckpointError(f"{root / MODULES}: [0].path names {transformer}, which is no folder")
    pooling = _read_pooling(contained(root, paths[1] / MODULE_CONFIG))
    normalize = len(kinds) == 3
    if normalize:
        _check_normalize(contained(root, paths[2] / MODULE_CONFIG))
    max_length, lower_case = _read_lengths(contained(root, transformer / LENGTHS))
    prompts, default_prompt, similarity, truncate_dim = _read_settings(contained(root, root / SETTINGS))
    return SentenceFolder(
        transformer=transformer,
        pooling=pooling,
        normalize=normalize,
        max_length=max_length,
        lower_case=lower_case,
        prompts=prompts,
        default_prompt=default_prompt,
        similarity=similarity,
        truncate_dim=truncate_dim,
    )


def write_sentence_folder(
    encoder: SentenceEncoder,
    folder: str | Path,
    *,
    max_length: int | None = None,
    prompts: Mapping[str, str] | None = None,
    default_prompt: str | None = None,
    similarity: Similarity | None = None,
    truncate_dim: int | None = None,
    lower_case: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the files that let sentence-transformers load a folder with the same vectors.

    They are in the form that all its versions from 2 on read. `modules.json`, which makes the folder one of
    sentence-transformers, comes last.

    Args:
        encoder: what was saved there.
        folder: holds `config.json`, weights and `vocab.txt` already.
        max_length: longest text in tokens, special ones included; None leaves it to the tokenizer.
        prompts: texts to put before a text, by name.
        default_prompt: name of the prompt for texts where no other is asked for.
        similarity: how two vectors are compared; None leaves it to sentence-transformers ("cosine").
        truncate_dim: how many numbers of a vector are kept; None keeps all.
        lower_case: put texts in lower case before the tokenizer.
        overwrite: whether such files may be replaced.

    Raises:
        CheckpointError: no model folder, the model of another encoder, or one that sentence-transformers has no form
            for: the mean of several layers, relative positions, pruned heads, a decoder.
        ConfigError: a setting of the wrong type or out of bounds, by name.
        OutputExistsError: one of the files is there and `overwrite` is false; nothing is written then.
        SaveError: the disk refused a write.
    """
    root = model_folder(folder)
    _check_form(encoder, BertConfig.from_pretrained(root), root)
    prompts = {} if prompts is None else dict(prompts)
    if max_length is not None and not _is_length(max_length, encoder.config.max_position_embeddings):
        raise ConfigError(
            f"max_length is {max_length!r}, expected a whole number from 3 to {encoder.config.max_position_embeddings}"
        )
    for name, text in prompts.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ConfigError(f"prompts[{name!r}] is {text!r}, expected texts by name")
    if default_prompt is not None and default_prompt not in prompts:
        raise ConfigError(f"default_prompt is {default_prompt!r}, expected one of the prompts {sorted(prompts)}")
    if similarity is not None and similarity not in get_args(Similarity):
        raise ConfigError(f"similarity is {similarity!r}, expected one of {', '.join(get_args(Similarity))}")
    if truncate_dim is not None and not _is_count(truncate_dim):
        raise ConfigError(f"truncate_dim is {truncate_dim!r}, expected a whole number from 1")
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    steps += [("2_Normalize", "Normalize")] if encoder.normalize else []
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(steps)
    ]
    # Three modes and no include_prompt: all that version 2 takes.
    flags = {key: mode == encoder.pooling for key, mode in _FLAGS.items() if mode in _MODES}
    files: dict[str, Any] = {
        MODULES: modules,
        SETTINGS: {
            "prompts": prompts,
            "default_prompt_name": default_prompt,
            "similarity_fn_name": similarity,
            **({} if truncate_dim is None else {"truncate_dim": truncate_dim}),
        },
        LENGTHS: {"max_seq_length": max_length, "do_lower_case": lower_case},
        f"1_Pooling/{MODULE_CONFIG}": {"word_embedding_dimension": encoder.config.hidden_size, **flags},
    }
    if encoder.normalize:
        files[f"2_Normalize/{MODULE_CONFIG}"] = {}
    # All are written, then take their places in the opposite order.
    with contextlib.ExitStack() as stack:
        for name, value in files.items():
            write_json(stack.enter_context(new_file(root / name, overwrite=overwrite)), value)


def refusal(encoder: SentenceEncoder, stored: BertConfig) -> str | None:
    """Name what sentence-transformers, with transformers 5 below it, would compute otherwise; None where nothing is."""
    if encoder.layers > 1:
        return f"the mean of several layers (layers is {encoder.layers})"
    for config in (encoder.config, stored):
        if config.position_embedding_type != "absolute":
            return f"relative positions (position_embedding_type {config.position_embedding_type!r})"
        if config.is_decoder:
            return "a decoder (is_decoder)"
    if stored.pruned_heads:
        return f"pruned heads {stored.pruned_heads}; save the model with zeros in their place"
    return None


def _check_form(encoder: SentenceEncoder, stored: BertConfig, root: Path) -> None:
    cannot = refusal(encoder, stored)
    if cannot:
        raise CheckpointError(f"sentence-transformers has no form for {cannot}")
    for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
        ours, theirs = getattr(encoder.config, name), getattr(stored, name)
        if ours != theirs:
            raise CheckpointError(
                f"{root / MODULE_CONFIG}: {name} is {theirs}, but {ours} in the encoder; save that one there first"
            )


# Reading


def _read_modules(root: Path) -> tuple[list[str], list[Path]]:
    """Return the kind and the folder of each step."""
    file = contained(root, root / MODULES)
    modules = read_json_value(file, most=LARGEST_SETTINGS)
    if not isinstance(modules, list):
        raise CheckpointError(f"{file}: expected a JSON list, found {type(modules).__name__}")
    kinds, paths = [], []
    for index, module in enumerate(modules):
        if not isinstance(module, dict):
            raise CheckpointError(f"{file}: [{index}] is {_shown(module)}, expected an object")
        named = module.get("type")
        if not isinstance(named, str):
            raise CheckpointError(f"{file}: [{index}].type is {_shown(named)}, expected the name of a class")
        kind = named.rpartition(".")[2]
        if not named.startswith(_PACKAGE) or kind not in _STEPS[1]:
            raise CheckpointError(
                f"{file}: [{index}].type is {named!r}; glassbert has sentence_transformers' Transformer, Pooling and "
                "Normalize"
            )
        kinds.append(kind)
        paths.append(_plain_path(root, module.get("path"), f"{file}: [{index}].path"))
    if kinds not in _STEPS:
        raise CheckpointError(f"{file}: the steps are {', '.join(kinds)}; expected Transformer, Pooling [, Normalize]")
    return kinds, paths


def _plain_path(root: Path, path: Any, where: str) -> Path:
    """Return the folder that `modules.json` names.

    Raises:
        CheckpointError: anything but a relative path that goes down from `root`, by itself and by links.
    """
    if not isinstance(path, str):
        raise CheckpointError(f"{where} is {_shown(path)}, expected a path")
    # A path may come from any system: C:\\models and \\models go out of the folder on one of them.
    foreign = PureWindowsPath(path)
    if not path.isprintable() or "\\" in path or foreign.anchor or ".." in PurePosixPath(path).parts:
        raise CheckpointError(f"{where} is {path!r}, expected a plain path inside the folder")
    return contained(root, root / path)


def _read_pooling(file: Path) -> Pooling:
    values = read_json(file, most=LARGEST_SETTINGS)
    if "pooling_mode" in values:
        given = values["pooling_mode"]
        modes = [given] if isinstance(given, str) else given
        if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
            raise CheckpointError(f"{file}: pooling_mode is {_shown(given)}, expected the name of a mode")
        key = "pooling_mode"
    else:
        flags = {name: values[name] for name in _FLAGS if name in values}
        for name, flag in flags.items():
            if type(flag) is not bool:
                raise CheckpointError(f"{file}: {name} is {_shown(flag)}, expected true or false")
        modes = [_FLAGS[name] for name, flag in flags.items() if flag]
        key = ", ".join(name for name, flag in flags.items() if flag) or "pooling_mode"
    if len(modes) != 1:
        raise CheckpointError(f"{file}: {key} asks for {' and '.join(modes) or 'nothing'}, expected one way to pool")
    if modes[0] not in _MODES:
        raise CheckpointError(f"{file}: {key} asks for {modes[0]!r}; glassbert has {', '.join(_MODES)}")
    if values.get("include_prompt", True) is not True:
        raise CheckpointError(
            f"{file}: include_prompt is {_shown(values['include_prompt'])}; glassbert pools over the prompt too"
        )
    return _MODES[modes[0]]


def _check_normalize(file: Path) -> None:
    """Refuse a step that normalizes anything but the text's vector."""
    values = _read_if_there(file)
    for name in ("module_input_name", "module_output_name"):
        if values.get(name) not in (None, "sentence_embedding"):
            raise CheckpointError(f"{file}: {name} is {_shown(values[name])}, expected 'sentence_embedding'")


def _read_lengths(file: Path) -> tuple[int | None, bool]:
    """Return the longest text and whether texts are put in lower case."""
    values = _read_if_there(file)
    for name, plain in _PLAIN.items():
        if values.get(name) not in plain:
            raise CheckpointError(f"{file}: {name} is {_shown(values[name])}, which glassbert does not compute")
    modalities = values.get("modality_config")
    if modalities is not None and (not isinstance(modalities, dict) or modalities.get("text") != _STATES):
        raise CheckpointError(f"{file}: modality_config is {_shown(modalities)}, expected {{'text': {_STATES}}}")
    max_length = values.get("max_seq_length")
    if max_length is not None and not _is_length(max_length):
        raise CheckpointError(f"{file}: max_seq_length is {_shown(max_length)}, expected a whole number from 3 on")
    lower_case = values.get("do_lower_case", False)
    if type(lower_case) is not bool:
        raise CheckpointError(f"{file}: do_lower_case is {_shown(lower_case)}, expected true or false")
    return max_length, lower_case


def _read_settings(file: Path) -> tuple[dict[str, str], str | None, Similarity | None, int | None]:
    """Return the prompts, the default one's name, how vectors are compared, and how many numbers of one are kept."""
    values = _read_if_there(file)
    kind = values.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise CheckpointError(f"{file}: model_type is {_shown(kind)}; glassbert has 'SentenceTransformer'")
    given = values.get("prompts", {})
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise CheckpointError(f"{file}: prompts is {_shown(given)}, expected texts by name")
    prompts = {}
    for name, text in given.items():
        if text is not None and not isinstance(text, str):
            raise CheckpointError(f"{file}: prompts.{name} is {_shown(text)}, expected a text")
        prompts[name] = text or ""
    default = values.get("default_prompt_name")
    if default in _USUAL_PROMPTS:
        prompts.setdefault(default, "")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise CheckpointError(f"{file}: default_prompt_name is {_shown(default)}, expected one of {sorted(prompts)}")
    similarity = values.get("similarity_fn_name")
    if similarity is not None and similarity not in get_args(Similarity):
        raise CheckpointError(
            f"{file}: similarity_fn_name is {_shown(similarity)}, expected one of {', '.join(get_args(Similarity))}"
        )
    kept = values.get("truncate_dim")
    if kept is not None and not _is_count(kept):
        raise CheckpointError(f"{file}: truncate_dim is {_shown(kept)}, expected a whole number from 1")
    return prompts, default, similarity, kept


def _read_if_there(file: Path) -> dict[str, Any]:
    return read_json(file, most=LARGEST_SETTINGS) if file.exists() else {}


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_length(value: Any, most: int | None = None) -> bool:
    # [CLS], one token and [SEP].
    return type(value) is int and value >= 3 and (most is None or value <= most)


def _shown(value: Any) -> str:
    return repr(value)[:60]
