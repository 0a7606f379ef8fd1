"""The commands that use a model: `predict`, `embed`, `fill`, `answer` and `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from glassbert.cli.flags import takes
from glassbert.cli.options import Folder, Json, Texts
from glassbert.settings import AnswerSettings, EngineName, ReadingSettings


@takes(AnswerSettings)
def predict(
    settings: AnswerSettings,
    folder: Folder,
    texts: Texts = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="What to say, such as text-classification, fill-mask or feature-extraction.",
            show_default="what the model has learned",
        ),
    ] = None,
    pair: Annotated[
        str | None, typer.Option("--pair", help="The second text, the same for each.", show_default=False)
    ] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option("--choice", help="A choice, where TEXT is a question; give two or more.", show_default=False),
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", help="What the questions are about.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Give each text what the model has learned to say of it: its class, a score, entities, an answer, a vector.

    With --json one line of JSON for each text: the answer, all scores, and how many tokens were cut. A line from a file
    comes with its number. The same command goes on with an --out that was cut off.

    Example: glassbert predict OUT "a text to classify"

    Example: glassbert predict OUT texts.txt --out answers.jsonl
    """
    from glassbert.cli.bulk import answer_all

    more = {"pair": pair, "context": context, "choices": choice or None}
    answer_all(folder, texts, settings, task=task, more=more, lines=_line, json=json)


@takes(AnswerSettings)
def embed(
    settings: AnswerSettings,
    folder: Folder,
    texts: Texts = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="What is put before each text.", show_default="the model's")
    ] = None,
    prompt_name: Annotated[
        str | None, typer.Option("--prompt-name", help="Name of one of the model's prompts.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Give each text its vector.

    A file that ends in .npy holds them as an array (texts, numbers) of float32, which numpy can map into memory.

    Example: glassbert embed OUT texts.txt --out vectors.npy
    """
    from glassbert.cli.bulk import answer_all

    options = {"prompt": prompt, "prompt_name": prompt_name}
    answer_all(folder, texts, settings, task="sentence-embedding", options=options, lines=_line, json=json)


@takes(AnswerSettings)
def fill(
    settings: AnswerSettings,
    folder: Folder,
    texts: Texts = None,
    top: Annotated[int | None, typer.Option("--top", help="Tokens for each mask.", min=1, show_default="5")] = None,
    candidates: Annotated[
        str | None,
        typer.Option("--candidates", help="Tokens to compare, with commas between them.", show_default="all"),
    ] = None,
    json: Json = False,
) -> None:
    """Say which tokens fit where a text has [MASK]: token, probability, the text with it.

    Each mask is filled by itself; the others have their best token in the text that is shown.

    Example: glassbert fill OUT "the soup was [MASK] and good" --top 3 --candidates warm,cold,bread
    """
    from glassbert.cli.bulk import answer_all

    chosen = None if candidates is None else [part for part in candidates.split(",") if part]
    options = {"top_k": top, "candidates": chosen}
    answer_all(folder, texts, settings, task="fill-mask", options=options, lines=_fills, json=json)


@takes(AnswerSettings)
def answer(
    settings: AnswerSettings,
    folder: Folder,
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION...|FILE...",
            help="Questions; or files, of a question each line, or with contexts: SQuAD, or question and context in "
            ".jsonl, .csv and their like; - for standard input.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", help="The text with the answers.", show_default=False)
    ] = None,
    context_file: Annotated[
        Path | None, typer.Option("--context-file", help="A file of that text.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Find the answers to questions in a text: the answer, its probability, the question.

    Example: glassbert answer OUT --context "The soup is on the table." "Where is the soup?"
    """
    from glassbert.cli.bulk import answer_all
    from glassbert.data.decoding import text_blocks
    from glassbert.errors import InputError

    if context_file is not None:
        if context is not None:
            raise InputError("context and context-file are given; give one of them")
        context = "".join(text_blocks(context_file, settings.encoding))
    more = {"context": context}
    answer_all(folder, questions, settings, task="question-answering", more=more, lines=_line, json=json)


@takes(ReadingSettings)
def evaluate(
    settings: ReadingSettings,
    folder: Folder,
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...",
            help="Labelled data: .csv, .tsv, .jsonl, .json, .parquet or .conll; one file or several.",
            show_default=False,
        ),
    ],
    engine: Annotated[
        EngineName,
        typer.Option("--engine", help="What computes: float32; bfloat16 or int8, beside it; onnx, an exported folder."),
    ] = "float32",
    json: Json = False,
) -> None:
    """Answer labelled texts and compare.

    With --json an object of metrics, such as accuracy, macro_f1, f1 by class, labels, confusion, examples.

    With --engine int8 or bfloat16 the layers' linear products are rounded, and
    their figures stand beside those of float32, with the share of equal answers,
    the time that each took and the memory of the weights; with --json as
    metrics, difference, equal_answers, seconds, speed, weight_bytes.

    Example: glassbert evaluate OUT test.tsv
    """
    from glassbert.cli.printing import note, note_cut, note_skipped, print_comparison, print_json, print_metrics
    from glassbert.data import Skipped
    from glassbert.infer import compare, pipeline
    from glassbert.train.examples import read_examples, records_of

    next(records_of(data, settings, Skipped()), None)  # what cannot be read at all is told before the model is loaded
    # An exported folder has no weights for torch to be compared with.
    compared = engine not in ("float32", "onnx")
    answering = pipeline(model=folder, engine="float32" if compared else engine)
    skipped = Skipped() if settings.skip_bad else None
    examples = list(read_examples(answering.learned, data, settings, skipped=skipped, say=note))
    if not compared:
        metrics, answers = answering.evaluate(examples, skipped=skipped)
    else:
        other = pipeline(model=folder, engine=engine)
        comparison, answers = compare(answering, other, examples, skipped=skipped)
    note_skipped(skipped)
    cut = sum(getattr(answer, "cut", 0) > 0 for answer in answers)
    note_cut(cut, len(answers), answering.task.text_limit(answering.max_length))
    if compared:
        if json:
            print_json(comparison.to_dict("float32", engine))
        else:
            print_comparison(comparison, "float32", engine)
    elif json:
        print_json(metrics.to_dict())
    else:
        print_metrics(metrics)


def _line(example: Any, answer: Any, place: list[str]) -> Iterator[str]:
    """Give the line of an answer: the same columns, whatever the text holds."""
    text = getattr(example, "question", None)
    if text is None:
        text = getattr(example, "text", None) or " ".join(getattr(example, "words", ()))
    text = text if isinstance(text, str) else " ".join(text)
    yield _columns(*_said(answer), *place, text)


def _fills(example: Any, answer: Any, place: list[str]) -> Iterator[str]:
    """Give a line for each token that may stand for a mask."""
    best = [mask.fills[0].token for mask in answer.masks]
    for number, mask in enumerate(answer.masks):
        for one in mask.fills:
            text = answer.with_tokens([*best[:number], one.token, *best[number + 1 :]])
            yield _columns(one.token, f"{one.score:.4f}", *place, text)


def _columns(*values: str) -> str:
    return "\t".join(" ".join(value.split()) for value in values)


def _said(answer: Any) -> tuple[str, ...]:
    """Return what an answer says, as one prints it."""
    from glassbert.tasks import (
        Answer,
        Choice,
        Classification,
        Embedding,
        FilledText,
        Following,
        MultiLabel,
        TaggedSentence,
        TextVectors,
    )

    if isinstance(answer, Classification):
        return answer.label, f"{answer.score:.4f}"
    if isinstance(answer, MultiLabel):
        return (", ".join(f"{name} {answer.scores[name]:.4f}" for name in answer.labels) or "-",)
    if isinstance(answer, TaggedSentence):
        return (", ".join(f"{one.type} {one.text} {one.score:.4f}" for one in answer.entities) or "-",)
    if isinstance(answer, Choice):
        return answer.text, f"{answer.score:.4f}"
    if isinstance(answer, Answer):
        return answer.text or "-", f"{answer.score:.4f}"
    if isinstance(answer, FilledText):
        return (", ".join(f"{mask.fills[0].token} {mask.fills[0].score:.4f}" for mask in answer.masks),)
    if isinstance(answer, Following):
        return "follows" if answer.follows else "is from elsewhere", f"{answer.score:.4f}"
    if isinstance(answer, TextVectors):
        return (_in_short(answer.vectors),)
    if isinstance(answer, Embedding) and answer.similarity is None:
        return (_in_short(answer.vector),)
    return (f"{answer.similarity if isinstance(answer, Embedding) else answer.score:.4f}",)


def _in_short(vectors: Any) -> str:
    """Return the first numbers of vectors, and their shape."""
    shape = " × ".join(map(str, vectors.shape))
    return " ".join(f"{number:.4f}" for number in vectors.flatten()[:4].tolist()) + f" … ({shape})"
