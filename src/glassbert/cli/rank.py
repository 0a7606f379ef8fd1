"""`glassbert rank`."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbert.cli.options import Encoding, EngineChoice, Folder, Json

if TYPE_CHECKING:
    from glassbert.data import Record


def rank(
    folder: Folder,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is sought.", show_default=False)],
    documents: Annotated[
        Path,
        typer.Argument(
            metavar="DOCS",
            help="Where: .csv, .tsv, .jsonl, .json or .parquet; any other file holds a document on each line.",
            show_default=False,
        ),
    ],
    top: Annotated[int, typer.Option("--top", help="How many are printed.", min=1)] = 10,
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text-column",
            help="Column of the documents, by name or number; guessed if none.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", help="The class that means that a document fits.", show_default="the second of two classes"
        ),
    ] = None,
    header: Annotated[
        bool, typer.Option("--header/--no-header", help="Whether the first row of CSV and TSV files names the columns.")
    ] = True,
    encoding: Encoding = "utf-8",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File of the best: .jsonl, .csv, .tsv or .parquet.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that file.")] = False,
    engine: EngineChoice = "float32",
    json: Json = False,
) -> None:
    """Score the query with each document and print the best: score, line, text.

    It takes a model that has learned regression or text-classification on pairs, a cross-encoder. DOCS may be larger
    than memory. With --json one object a line: rank, score, line (or position where a file has no lines), text, and
    how many tokens were cut.

    Example: glassbert rank OUT "how do I reset my password" answers.txt --top 5
    """
    from glassbert.cli.displays import RankingDisplay
    from glassbert.cli.printing import note, note_cut, print_json
    from glassbert.errors import DataError
    from glassbert.infer import Ranked, pipeline
    from glassbert.infer.ranking import best, scored, scoring

    if out is not None:
        _check(out, overwrite)
    texts = _Documents(documents, text_column, header, encoding)
    # The data is looked at first: it takes less time than the model.
    first = next(texts, None)
    if first is None:
        raise DataError("holds no documents", file=documents)
    answering = pipeline(model=folder, engine=engine)
    how = scoring(answering, label)
    cut = count = 0
    with RankingDisplay() as display:

        def counted() -> Iterator[Ranked]:
            nonlocal cut, count
            for one in scored(answering, query, chain([first], texts), label=label):
                cut, count = cut + (one.cut > 0), count + 1
                display.show(count)
                yield one

        results = best(counted(), top)
    note(f"scores are {how.said}; {count:,} {'document' if count == 1 else 'documents'}")
    if texts.empty:
        note(f"{texts.empty:,} empty {'line was' if texts.empty == 1 else 'lines were'} passed over")
    note_cut(cut, count, answering.max_length)
    rows: list[dict[str, Any]] = [
        {
            "rank": number,
            "score": one.score,
            texts.counted: texts.places[one.index],
            "text": one.text,
            "cut": one.cut,
        }
        for number, one in enumerate(results, 1)
    ]
    if out is not None:
        _write(out, rows, overwrite)
        note(f"{len(rows):,} documents in {out}")
        return
    for row in rows:
        if json:
            print_json(row)
        else:
            # One line and the same columns, whatever the text holds.
            print(f"{row['score']:.4f}\t{row[texts.counted]}\t{' '.join(row['text'].split())}")


def _check(out: Path, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before the work that makes it."""
    from glassbert.data.pieces import already, check_free
    from glassbert.data.writing import writer_of
    from glassbert.errors import OutputExistsError

    writer_of(out, vectors=False)
    check_free(out)
    if out.exists() and not overwrite:
        raise OutputExistsError(already(out))


def _write(out: Path, rows: list[dict[str, Any]], overwrite: bool) -> None:
    from glassbert.data.writing import writer_of
    from glassbert.files import new_file

    kinds = {name: "string" if name == "text" else "double" if name == "score" else "int64" for name in rows[0]}
    writer = writer_of(out, vectors=False)
    with TemporaryDirectory() as folder, new_file(out, overwrite=overwrite) as part:
        piece = Path(folder, "piece")
        writer.write(piece, rows, kinds)
        writer.join([piece], part, kinds)


class _Documents:
    """The texts of a file, read as they are asked for.

    Attributes:
        counted: what `places` are numbers of: line, or position where the file has no lines to count.
        places: where each text that was read stands.
        empty: lines without a text that were passed over, in a file of lines.
    """

    def __init__(self, path: Path, column: str | None, header: bool, encoding: str) -> None:
        """Open nothing yet."""
        from glassbert.data import FORMATS, read_records

        self.counted = "line"
        self.places = array("Q")
        self.empty = 0
        if Path(path.name.lower().removesuffix(".gz")).suffix in FORMATS:
            self._texts = self._of_records(read_records(path, header=header, encoding=encoding), column)
        else:
            self._texts = self._of_lines(path, encoding)

    def __iter__(self) -> _Documents:
        """Go on."""
        return self

    def __next__(self) -> str:
        """Return the next text."""
        return next(self._texts)

    def _of_records(self, records: Iterator[Record], column: str | None) -> Iterator[str]:
        from glassbert.cli.printing import note
        from glassbert.data import guess_columns

        for record in records:
            if column is None:
                found = guess_columns(record, ["text"])
                column = str(found.columns["text"])
                if found.note:
                    note(found.note)
            text = record.get(column)
            if not text.strip():
                raise record.error("the document is empty")
            if record.line is None:
                self.counted = "position"
            self.places.append(record.line or record.position or 0)
            yield text

    def _of_lines(self, path: Path, encoding: str) -> Iterator[str]:
        from glassbert.data.decoding import lines_of, text_blocks

        for number, line in enumerate(lines_of(text_blocks(path, encoding), path), 1):
            if line.strip():
                self.places.append(number)
                yield line.removesuffix("\r")
            else:
                self.empty += 1
