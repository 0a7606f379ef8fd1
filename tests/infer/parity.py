"""The same model and the same texts through a pipeline of the peer and through ours: how far apart are the answers?

Each function takes a model folder, which both load, and texts. The pipeline for questions of transformers 4.4.2 is gone
from later versions; what it does with a model's scores is written down here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from glassbert import Pipeline, pipeline
from glassbert.tasks import MultiLabelClassification, Regression

# What transformers 4.4.2 takes unless told otherwise, by our names; a pipeline of ours reads it in `scoring`.
LENGTH, OVERLAP, LONGEST = 384, 128, 15
# Answers of each question whose scores are compared.
SEVERAL = 5
# Of the peer's answers many have the same text.
_MORE = 100


@dataclasses.dataclass(frozen=True)
class Compared:
    """How two pipelines agree.

    Attributes:
        texts: how many were answered.
        same: how many have the same label, labels, entities or answer in both.
        difference: the largest between two scores.
        things: how many labels, entities or answers there were in all.
    """

    texts: int
    same: int
    difference: float
    things: int


def ours(folder: Path, **options: Any) -> Pipeline:
    """Return our pipeline with some options."""
    found: Pipeline = pipeline(model=folder, **options)
    return found


def peers(task: str, folder: Path, **options: Any) -> Any:
    """Return the peer's pipeline."""
    return transformers.pipeline(task, model=str(folder), device="cpu", **options)


def _for_peer(text: str | tuple[str, str]) -> Any:
    return text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}


def _all_scores(folder: Path, texts: Sequence[Any]) -> list[dict[str, float]]:
    """Return the peer's score of every label, for each text."""
    classify = peers("text-classification", folder)
    found = [classify(_for_peer(text), top_k=None, truncation=True) for text in texts]
    return [{one["label"]: one["score"] for one in scores} for scores in found]


def _largest(one: dict[str, float], other: dict[str, float]) -> float:
    assert one.keys() == other.keys()
    return max(abs(one[name] - other[name]) for name in one)


def text_classification(folder: Path, texts: Sequence[str | tuple[str, str]]) -> Compared:
    """Compare the probabilities of all classes, and the most probable one."""
    pairs = list(zip(ours(folder)(list(texts)), _all_scores(folder, texts), strict=True))
    return Compared(
        texts=len(texts),
        same=sum(answer.label == max(scores, key=scores.__getitem__) for answer, scores in pairs),
        difference=max(_largest(answer.scores, scores) for answer, scores in pairs),
        things=len(texts),
    )


def multi_label(folder: Path, texts: Sequence[str | tuple[str, str]]) -> Compared:
    """Compare the probabilities of all labels, and which of them reach their thresholds."""
    answering = ours(folder)
    task = answering.task
    assert isinstance(task, MultiLabelClassification)
    thresholds = dict(zip(task.labels, task.thresholds, strict=True))
    pairs = list(zip(answering(list(texts)), _all_scores(folder, texts), strict=True))
    expected = [{name for name, score in scores.items() if score >= thresholds[name]} for _, scores in pairs]
    return Compared(
        texts=len(texts),
        same=sum(set(answer.labels) == labels for (answer, _), labels in zip(pairs, expected, strict=True)),
        difference=max(_largest(answer.scores, scores) for answer, scores in pairs),
        things=sum(map(len, expected)),
    )


def regression(folder: Path, texts: Sequence[str | tuple[str, str]]) -> Compared:
    """Compare numbers; the peer's are brought to the scale of the training data, which it does not know."""
    answering = ours(folder)
    task = answering.task
    assert isinstance(task, Regression)
    expected = [scores.popitem()[1] * task.spread + task.mean for scores in _all_scores(folder, texts)]
    apart = [abs(answer.score - score) for answer, score in zip(answering(list(texts)), expected, strict=True)]
    # Numbers have no label in common; those are the same that a person reads as the same.
    return Compared(texts=len(texts), same=sum(one < 1e-4 for one in apart), difference=max(apart), things=len(texts))


def token_classification(folder: Path, texts: Sequence[str], grouping: str) -> Compared:
    """Compare entities: type, place and score."""
    tag = peers("token-classification", folder, aggregation_strategy=grouping)
    type_key = "entity" if grouping == "none" else "entity_group"
    same, worst, things = 0, 0.0, 0
    for answer, found in zip(ours(folder, grouping=grouping, word_boundaries="marks")(list(texts)), tag(list(texts))):
        expected = [(one[type_key], one["start"], one["end"]) for one in found]
        things += len(expected)
        if expected == [(one.type, one.start, one.end) for one in answer.entities]:
            same += 1
            scores = zip(answer.entities, found, strict=True)
            worst = max([worst, *(abs(one.score - float(other["score"])) for one, other in scores)])
    return Compared(texts=len(texts), same=same, difference=worst, things=things)


def question_answering(folder: Path, texts: Sequence[tuple[str, str]], *, may_be_none: bool = False) -> Compared:
    """Compare the best answer with its place, and the scores of the best few, as 4.4.2 has them."""
    model = transformers.BertForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    length = min(LENGTH, pipeline(model=folder).max_length)
    overlap = min(OVERLAP, length // 4)
    ask = ours(
        folder,
        scoring="windows",
        max_seq_length=length,
        overlap=overlap,
        max_answer_length=LONGEST,
        n_best=SEVERAL,
        null_threshold=0.0 if may_be_none else None,
    )
    same, worst = 0, 0.0
    for answer, (question, context) in zip(ask(list(texts)), texts, strict=True):
        found = answers_of_442(model, tokenizer, question, context, length, overlap, may_be_none)
        best = found[0]
        place = (best["start"], best["end"]) if best["answer"] else (None, None)
        same += (answer.text, answer.start, answer.end) == (best["answer"], *place)
        several = {one["answer"]: one["score"] for one in reversed(found) if one["answer"]}
        expected = sorted(several.values(), reverse=True)[:SEVERAL]
        scores = [one.score for one in answer.candidates]
        assert len(scores) == len(expected)
        worst = max([worst, *(abs(one - other) for one, other in zip(scores, expected, strict=True))])
        if may_be_none:
            (none,) = [one["score"] for one in found if not one["answer"]]
            worst = max(worst, abs(answer.no_answer_probability - none))
    return Compared(texts=len(texts), same=same, difference=worst, things=len(texts))


@torch.inference_mode()
def answers_of_442(
    model: Any, tokenizer: Any, question: str, context: str, length: int, overlap: int, may_be_none: bool
) -> list[dict[str, Any]]:
    """Return all answers that the pipeline of transformers 4.4.2 would sort, best first.

    Each window by itself: question, special tokens but [CLS], and padding are set to -10,000 before two softmaxes, one
    over beginnings and one over ends; [CLS] counts in both and then becomes 0. The score of a span is the product of
    its two probabilities; it has at most `LONGEST` tokens, and its text runs from the beginning of the word of its
    first token to the end of the word of its last. No answer has the least product of [CLS] in any window.
    """
    batch = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=length,
        stride=overlap,
        padding="longest",
        return_overflowing_tokens=True,
        return_tensors="pt",
    )
    names = ("input_ids", "attention_mask", "token_type_ids")
    output = model(**{name: batch[name] for name in names})
    both = torch.stack((output.start_logits, output.end_logits), dim=1).numpy()  # (windows, 2, S)
    answers = []
    nulls = []
    for number, logits in enumerate(both):
        allowed = np.array([sequence == 1 for sequence in batch.sequence_ids(number)])
        allowed[0] = True
        logits = np.where(allowed, logits, -10000.0).astype(np.float32)
        start, end = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        nulls.append(float(start[0] * end[0]))
        start[0] = end[0] = 0.0
        products = np.tril(np.triu(np.outer(start, end)), LONGEST - 1)
        for place in np.argsort(-products, axis=None)[:_MORE]:
            first, last = divmod(int(place), len(start))
            if products[first, last] > 0.0:
                begin = batch.word_to_chars(number, batch.token_to_word(number, first), 1).start
                stop = batch.word_to_chars(number, batch.token_to_word(number, last), 1).end
                answers.append(
                    {
                        "score": float(products[first, last]),
                        "start": begin,
                        "end": stop,
                        "answer": context[begin:stop],
                    }
                )
    if may_be_none:
        answers.append({"score": min(nulls), "start": 0, "end": 0, "answer": ""})
    return sorted(answers, key=lambda one: one["score"], reverse=True)


def fill_mask(folder: Path, texts: Sequence[str]) -> Compared:
    """Compare the five best tokens of each mask."""
    ask = peers("fill-mask", folder, top_k=5)
    same, worst, things = 0, 0.0, 0
    for text, answer in zip(texts, ours(folder)(list(texts)), strict=True):
        found = ask(text)
        masks = found if isinstance(found[0], list) else [found]
        things += len(masks)
        same += [[one.id for one in mask.fills] for mask in answer.masks] == [
            [one["token"] for one in m] for m in masks
        ]
        pairs = (zip(mask.fills, theirs, strict=True) for mask, theirs in zip(answer.masks, masks, strict=True))
        worst = max([worst, *(abs(one.score - other["score"]) for some in pairs for one, other in some)])
    return Compared(texts=len(texts), same=same, difference=worst, things=things)


def next_sentence(folder: Path, pairs: Sequence[tuple[str, str]]) -> Compared:
    """Compare probabilities with those of the peer's model, which has no pipeline for them."""
    model = transformers.BertForNextSentencePrediction.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = [
            float(model(**tokenizer(*pair, truncation=True, return_tensors="pt")).logits.softmax(-1)[0, 0])
            for pair in pairs
        ]
    answers = pipeline("next-sentence", folder)(list(pairs))
    apart = [abs(answer.score - score) for answer, score in zip(answers, expected, strict=True)]
    same = sum(answer.follows == (score >= 0.5) for answer, score in zip(answers, expected, strict=True))
    return Compared(texts=len(pairs), same=same, difference=max(apart), things=len(pairs))


def multiple_choice(folder: Path, questions: Sequence[tuple[str, Sequence[str]]]) -> Compared:
    """Compare the probabilities of all choices with those of the peer's model, which has no pipeline for them."""
    model = transformers.BertForMultipleChoice.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    answers = ours(folder)([{"question": question, "choices": list(choices)} for question, choices in questions])
    same, worst = 0, 0.0
    for (question, choices), answer in zip(questions, answers, strict=True):
        batch = tokenizer([question] * len(choices), list(choices), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            scores = model(**{name: rows[None] for name, rows in batch.items()}).logits[0].softmax(-1).tolist()
        same += answer.index == max(range(len(scores)), key=scores.__getitem__)
        worst = max([worst, *(abs(one - other) for one, other in zip(answer.scores, scores, strict=True))])
    return Compared(texts=len(questions), same=same, difference=worst, things=sum(len(one) for _, one in questions))


def feature_extraction(folder: Path, texts: Sequence[str]) -> Compared:
    """Compare the vectors of all pieces; equal where there are as many."""
    extract = peers("feature-extraction", folder, tokenize_kwargs={"truncation": True, "max_length": 256})
    same, worst, things = 0, 0.0, 0
    for text, answer in zip(texts, pipeline("feature-extraction", folder)(list(texts)), strict=True):
        found = torch.tensor(extract(text))[0]
        things += len(found)
        if found.shape == answer.vectors.shape:
            same += 1
            worst = max(worst, float((found - answer.vectors).abs().max()))
    return Compared(texts=len(texts), same=same, difference=worst, things=things)


def sentence_embedding(folder: Path, texts: Sequence[str]) -> Compared:
    """Compare vectors with those of sentence-transformers; equal where the nearest other text is the same."""
    from sentence_transformers import SentenceTransformer

    theirs = torch.tensor(SentenceTransformer(str(folder), device="cpu").encode(list(texts)))
    own = torch.stack([answer.vector for answer in ours(folder)(list(texts))])
    nearest = [(one @ one.T).fill_diagonal_(-2.0).argmax(dim=1) for one in (own, theirs)]
    worst = float((own - theirs).abs().max())
    return Compared(texts=len(texts), same=int((nearest[0] == nearest[1]).sum()), difference=worst, things=own.numel())


def search(folder: Path, queries: Sequence[str], documents: Sequence[str]) -> Compared:
    """Compare the ten nearest documents, in their order, with those of sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import semantic_search

    model = SentenceTransformer(str(folder), device="cpu")
    vectors = (model.encode(list(some), convert_to_tensor=True) for some in (queries, documents))
    expected = semantic_search(*vectors, top_k=10)
    same, worst = 0, 0.0
    for ranked, found in zip(pipeline("search", folder)(list(queries), documents, top=10), expected, strict=True):
        same += [one.index for one in ranked] == [one["corpus_id"] for one in found]
        worst = max([worst, *(abs(one.score - other["score"]) for one, other in zip(ranked, found, strict=True))])
    return Compared(texts=len(queries), same=same, difference=worst, things=10 * len(queries))


def rank(folder: Path, queries: Sequence[str], documents: Sequence[str]) -> Compared:
    """Compare the order of documents, and their scores on the scale of the training data, with a CrossEncoder's."""
    from sentence_transformers import CrossEncoder

    theirs = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    ranker = pipeline("rank", folder)
    task = ranker.pipeline.task
    assert isinstance(task, Regression)
    same, worst = 0, 0.0
    for query in queries:
        ranked = ranker(query, documents, top=None)
        found = theirs.rank(query, list(documents))
        same += [one.index for one in ranked] == [one["corpus_id"] for one in found]
        scores = {one["corpus_id"]: float(one["score"]) * task.spread + task.mean for one in found}
        worst = max([worst, *(abs(one.score - scores[one.index]) for one in ranked)])
    return Compared(texts=len(queries), same=same, difference=worst, things=len(documents) * len(queries))
