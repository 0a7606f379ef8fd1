"""`glassbert vocab`."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from glassbert.cli.options import Encoding, Json

if TYPE_CHECKING:
    from glassbert.data import WordCounts
    from glassbert.text import BasicTokenizer, Coverage


def vocab(
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...",
            help="Text files; a folder stands for the files in it, - for standard input.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File of the vocabulary. A folder gets vocab.txt and tokenizer_config.json.",
            show_default=False,
        ),
    ],
    size: Annotated[int, typer.Option("--size", help="Most tokens; BERT has 30522.", min=1)] = 30000,
    cased: Annotated[
        bool, typer.Option("--cased/--uncased", help="Whether capitals stay, or text is lowered.")
    ] = False,
    keep_accents: Annotated[
        bool, typer.Option("--keep-accents", help="Keep the accents of lowered text; cased text has them anyway.")
    ] = False,
    chinese_split: Annotated[
        bool, typer.Option("--chinese-split/--no-chinese-split", help="Make each Chinese character a word, or not.")
    ] = True,
    min_frequency: Annotated[
        int, typer.Option("--min-frequency", help="Leave out characters and pairs that are seen less often.", min=1)
    ] = 2,
    alphabet: Annotated[
        int | None,
        typer.Option("--alphabet", help="Keep so many characters, the most frequent ones.", min=1, show_default=False),
    ] = None,
    special_token: Annotated[
        list[str] | None,
        typer.Option(
            "--special-token", help="A special token beside the five of BERT; may be repeated.", show_default=False
        ),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            "--held-out",
            help="Text to measure on; without it 1% of TEXT, which is not learned from.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", help="A vocabulary, or a model folder, to measure beside.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that count words; without it all cores.", min=1, show_default=False),
    ] = None,
    max_words: Annotated[
        int, typer.Option("--max-words", help="Most different words to remember; bounds the memory.", min=1)
    ] = 2_000_000,
    encoding: Encoding = "utf-8",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands at --out.")] = False,
    json: Json = False,
) -> None:
    """Learn a WordPiece vocabulary from text files of any size, and say how well it fits.

    The same text and settings give the same vocabulary on every machine, with any number of workers.

    Example: glassbert vocab books/ --size 30000 --out vocab.txt --compare bert-base-uncased/vocab.txt
    """
    from glassbert.cli.displays import VocabularyDisplay
    from glassbert.cli.printing import note, print_json
    from glassbert.data import LONGEST_WORD, count_words, text_files
    from glassbert.data.processes import cores
    from glassbert.errors import DataError
    from glassbert.text import SPECIAL_TOKENS, BasicTokenizer, learn_from_counts, missing_characters
    from glassbert.text.learning import check_room, check_settings

    special_tokens = [*SPECIAL_TOKENS, *(special_token or ())]
    # Settings that cannot serve are told before the text is read.
    check_settings(size, min_frequency, special_tokens, alphabet)
    check_room(size, special_tokens)
    files = text_files(texts)
    held_out_files = [] if held_out is None else text_files([held_out])
    _check_files(files, held_out_files, out, overwrite=overwrite)
    basic = BasicTokenizer(
        do_lower_case=not cased,
        never_split=special_tokens,
        tokenize_chinese_chars=chinese_split,
        strip_accents=False if keep_accents else None,
    )
    other = None if compare is None else _read_vocabulary(compare)
    basics = [basic] if other is None else [basic, other.basic]

    with VocabularyDisplay() as display:
        counting: dict[str, Any] = {"encoding": encoding, "workers": workers or cores(), "max_words": max_words}
        if held_out is None:
            counted = count_words(files, basic, held_out=basics, on_progress=display.counted, **counting)
            text, measured = counted.words, counted.held_out
        else:
            # What is measured on comes first: a mistake in it should be told soon.
            measured = tuple(count_words(held_out_files, each, **counting).words for each in basics)
            if not all(counts.words for counts in measured):
                raise DataError("holds no words to measure on", file=held_out)
            text = count_words(files, basic, on_progress=display.counted, **counting).words
        if not text.words:
            limit = f" of at most {LONGEST_WORD} characters" if text.too_long else ""
            raise DataError(f"the text to learn a vocabulary from holds no words{limit}")
        tokens = learn_from_counts(
            text.words,
            size=size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            alphabet_size=alphabet,
            on_progress=display.learned,
        )
    _save(tokens, basic, special_token or (), out, overwrite=overwrite)

    learned = _Vocabulary(out, tokens, basic)
    figures = _measure([learned] if other is None else [learned, other], measured)
    missing = missing_characters(tokens, text.words)
    if json:
        print_json(
            {
                "out": str(out),
                "tokens": len(tokens),
                "words": text.words.total(),
                "different_words": len(text.words),
                "too_long_words": text.too_long,
                "forgotten_words": text.forgotten,
                "missing_characters": missing.total(),
                "different_missing_characters": len(missing),
                "held_out": [{**vocabulary.to_dict(), **coverage.to_dict()} for vocabulary, coverage in figures],
            }
        )
        return
    print(f"{out}: {len(tokens):,} tokens from {text.words.total():,} words, {len(text.words):,} different ones")
    if len(tokens) < size:
        note(f"there are {len(tokens):,} tokens, not {size:,}: no other pair is seen {min_frequency} times or more")
    if missing:
        note(
            f"{missing.total():,} characters of the text, {len(missing):,} different ones, were left out by "
            f"--min-frequency{'' if alphabet is None else ' and --alphabet'}; words that hold one are unknown"
        )
    if text.too_long:
        note(f"{text.too_long:,} words of more than {LONGEST_WORD} characters, unknown to any tokenizer, were left out")
    if text.forgotten:
        note(f"{text.forgotten:,} occurrences of rare words were forgotten; --max-words keeps more")
    if figures:
        _print_figures(figures, "1% of the text" if held_out is None else _short(Path(held_out)))
    else:
        note("the text is too short to hold some of it out; measure on another text with --held-out")


class _Vocabulary(NamedTuple):
    """A vocabulary, and how the text for it becomes words."""

    path: Path
    tokens: dict[str, int]
    basic: BasicTokenizer

    def to_dict(self) -> dict[str, Any]:
        return {
            "vocabulary": str(self.path),
            "tokens_in_vocabulary": len(self.tokens),
            "do_lower_case": self.basic.do_lower_case,
            "strip_accents": self.basic.strip_accents,
            "tokenize_chinese_chars": self.basic.tokenize_chinese_chars,
        }

    def reading(self) -> str:
        reading = "uncased" if self.basic.do_lower_case else "cased"
        if self.basic.do_lower_case != self.basic.strip_accents:
            reading += ", no accents" if self.basic.strip_accents else ", accents"
        return reading if self.basic.tokenize_chinese_chars else reading + ", Chinese unsplit"


def _short(path: Path) -> str:
    """Return the end of a path; of vocabularies the folder tells more than the name."""
    return "/".join(path.parts[-2:])


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def _check_files(files: list[str], held_out: list[str], out: Path, *, overwrite: bool) -> None:
    """Refuse what would fail in the end, or do harm."""
    from glassbert.errors import DataError, OutputExistsError

    read = {os.path.realpath(file) for file in files if file != "-"}
    for file in held_out:
        if not os.path.isfile(file):
            # It may be read twice, for two vocabularies.
            raise DataError("is no regular file; text to measure on must be one", file=file)
        if os.path.realpath(file) in read:
            raise DataError("is one of the texts to learn from; measure on another", file=file)
        read.add(os.path.realpath(file))
    if out.is_file() and not out.suffix:
        raise OutputExistsError(f"{out} is a file; --out is a folder, or a file with an ending such as .txt")
    for target in [out / "vocab.txt", out / "tokenizer_config.json"] if _is_folder(out) else [out]:
        if os.path.realpath(target) in read:
            raise OutputExistsError(f"{target} is one of the texts; choose another --out")
        if target.exists() and not overwrite:
            raise OutputExistsError(f"{target} is already there; choose another --out or add --overwrite")


def _read_vocabulary(path: Path) -> _Vocabulary:
    """Read a vocabulary with the settings of its tokenizer; where there are none, its tokens tell case and accents."""
    from glassbert.text import SPECIAL_TOKENS, BasicTokenizer, BertTokenizer, load_vocabulary

    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (path.name == "vocab.txt" and (folder / "tokenizer_config.json").is_file()):
        tokenizer = BertTokenizer.from_pretrained(folder)
        basic = BasicTokenizer(
            do_lower_case=tokenizer.do_lower_case,
            never_split=tokenizer.all_special_tokens,
            tokenize_chinese_chars=tokenizer.tokenize_chinese_chars,
            strip_accents=tokenizer.strip_accents,
        )
        return _Vocabulary(path, tokenizer.get_vocab(), basic)
    tokens = load_vocabulary(path)
    words = [word for word in (token.removeprefix("##") for token in tokens) if word.isalpha()]
    uncased = all(word == word.lower() for word in words)
    marks = any(unicodedata.category(char) == "Mn" for char in unicodedata.normalize("NFD", "".join(words)))
    basic = BasicTokenizer(do_lower_case=uncased, never_split=SPECIAL_TOKENS, strip_accents=uncased and not marks)
    return _Vocabulary(path, tokens, basic)


def _save(
    tokens: dict[str, int], basic: BasicTokenizer, special_tokens: Sequence[str], out: Path, *, overwrite: bool
) -> None:
    if not _is_folder(out):
        from glassbert.files import new_file
        from glassbert.text import save_vocabulary

        with new_file(out, overwrite=overwrite) as part:
            save_vocabulary(tokens, part)
        return
    from glassbert.checkpoint import save_tokenizer
    from glassbert.text import BertTokenizer

    tokenizer = BertTokenizer(
        tokens,
        do_lower_case=basic.do_lower_case,
        additional_special_tokens=special_tokens,
        tokenize_chinese_chars=basic.tokenize_chinese_chars,
        strip_accents=basic.strip_accents,
    )
    save_tokenizer(tokenizer, out, overwrite=overwrite)


def _measure(vocabularies: list[_Vocabulary], texts: Sequence[WordCounts]) -> list[tuple[_Vocabulary, Coverage]]:
    """Measure each vocabulary on the text as its tokenizer reads it; there are no figures where there is no text."""
    from glassbert.text import measure_coverage

    return [
        (vocabulary, measure_coverage(vocabulary.tokens, text.words, too_long=text.too_long))
        for vocabulary, text in zip(vocabularies, texts, strict=True)
        if text.words
    ]


def _print_figures(figures: list[tuple[_Vocabulary, Coverage]], source: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from glassbert.cli.printing import out

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(f"on {escape(source)}", style="dim", overflow="fold")
    for vocabulary, _ in figures:
        table.add_column(escape(_short(vocabulary.path)), justify="right", overflow="fold")
    for name, cells in {
        "read as": [vocabulary.reading() for vocabulary, _ in figures],
        "tokens in the vocabulary": [f"{len(vocabulary.tokens):,}" for vocabulary, _ in figures],
        "words of the text": [f"{coverage.words:,}" for _, coverage in figures],
        "characters covered": [f"{coverage.character_coverage:.3%}" for _, coverage in figures],
        "unknown words": [f"{coverage.unknown_rate:.3%}" for _, coverage in figures],
        "words in one piece": [f"{coverage.whole_rate:.2%}" for _, coverage in figures],
        "tokens per word": [f"{coverage.tokens_per_word:.4f}" for _, coverage in figures],
    }.items():
        table.add_row(name, *cells)
    out().print(table)
