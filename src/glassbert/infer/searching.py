"""Texts of like meaning: how alike the vectors of texts are, and which of many come nearest to a query.

Source: arXiv 1908.10084 (Sentence-BERT).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from glassbert.errors import InputError
from glassbert.infer.pipelines import Pipeline
from glassbert.infer.ranking import Ranked, check_texts, check_top
from glassbert.model.sentence import Similarity
from glassbert.tasks import SentenceEmbedding

# The names under which models have a text to put before a query, and before what is searched.
_QUERY: Final = ("query",)
_DOCUMENT: Final = ("document", "passage", "corpus")
# Numbers of similarities that are in memory at once: 64 MiB of them.
_AT_ONCE: Final = 1 << 24


def similarities(one: Tensor, other: Tensor, kind: Similarity = "cosine") -> Tensor:
    """Return how alike each vector is to each other: (N, H), (M, H) -> (N, M).

    Args:
        one: N vectors.
        other: M vectors.
        kind: "cosine"; "dot", the product; "euclidean" or "manhattan", the distance with a minus. More is more alike.
    """
    if kind == "cosine":
        return F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T
    if kind == "dot":
        return one @ other.T
    # Differences by pair, not by products, which lose the last digits of vectors that are nearly equal.
    distances = torch.cdist(
        one, other, p=2.0 if kind == "euclidean" else 1.0, compute_mode="donot_use_mm_for_euclid_dist"
    )
    return -distances


class Comparer:
    """How alike texts are; `pipeline("similarity", model)` makes it.

    Attributes:
        pipeline: makes the vectors.
        kind: how they are compared: as the model says, else by cosine.
        width: how many numbers a vector has.

    Raises:
        InputError: a pipeline of something else than sentence-embedding.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        """Take a pipeline of sentence-embedding."""
        if not isinstance(pipeline.task, SentenceEmbedding):
            raise InputError(f"texts are compared by sentence-embedding, but this model does {pipeline.task.name}")
        self.pipeline = pipeline
        config = pipeline.runner.config
        settings = config.extra.get("sentence_encoder", {})
        self.kind: Similarity = settings.get("similarity") or "cosine"
        self.width: int = min(settings.get("truncate_dim") or config.hidden_size, config.hidden_size)

    def __repr__(self) -> str:
        """Return how it compares."""
        return f"{type(self).__name__}({self.kind!r}, {self.pipeline!r})"

    def __call__(self, one: str | Sequence[str], other: str | Sequence[str]) -> Tensor | float:
        """Return how alike each text is to each other.

        Args:
            one: a text, or several.
            other: likewise.

        Returns:
            (N, M) for N and M texts; a number for one and one.

        Raises:
            InputError, DataError: as `Pipeline`.
        """
        for name, texts in (("one", one), ("other", other)):
            if not isinstance(texts, str):
                check_texts(name, texts)
        alone = isinstance(one, str) and isinstance(other, str)
        first, second = (self.vectors([texts] if isinstance(texts, str) else texts) for texts in (one, other))
        found = similarities(first, second, self.kind)
        return float(found) if alone else found

    def vectors(self, texts: Iterable[str], **options: Any) -> Tensor:
        """Return the vectors of texts, (N, H); `options` are those of sentence-embedding."""
        return self._encoded(texts, **options)[0]

    def _encoded(self, texts: Iterable[str], **options: Any) -> tuple[Tensor, list[int]]:
        """Return the vectors of texts, and of each how many tokens were left out."""
        answers = list(self.pipeline(iter(texts), **options))
        vectors = torch.stack([one.vector for one in answers]) if answers else torch.empty(0, self.width)
        return vectors, [one.cut for one in answers]


class Searcher(Comparer):
    """Which of many texts come nearest to a query; `pipeline("search", model)` makes it.

    A prompt that the model has for queries, or for documents, is put before them.
    """

    @overload  # type: ignore[override]  # another question
    def __call__(  # type: ignore[overload-overlap]  # a string is no list of queries
        self, query: str, documents: Iterable[str], *, top: int | None = 10
    ) -> list[Ranked]: ...
    @overload
    def __call__(
        self, query: Sequence[str], documents: Iterable[str], *, top: int | None = 10
    ) -> list[list[Ranked]]: ...
    def __call__(
        self, query: str | Sequence[str], documents: Iterable[str], *, top: int | None = 10
    ) -> list[Ranked] | list[list[Ranked]]:
        """Return the documents nearest to a query, best first; of several queries a list for each.

        To ask again about the same documents, keep `index(documents)`.
        """
        check_top(top)
        return self.index(documents).search(query, top=top)

    def index(self, documents: Iterable[str], vectors: Tensor | None = None) -> Index:
        """Return documents that can be searched.

        Args:
            documents: any number.
            vectors: (N, H), theirs, if they have been made before (`glassbert embed`).

        Raises:
            InputError: vectors of another number or width.
        """
        check_texts("documents", documents)
        texts = list(documents)
        cuts = None
        if vectors is None:
            vectors, cuts = self._encoded(texts, **self._prompt(_DOCUMENT))
        return Index(self, texts, vectors, cuts)

    def query(self, texts: Iterable[str]) -> Tensor:
        """Return the vectors of queries, (N, H)."""
        return self.vectors(texts, **self._prompt(_QUERY))

    def _prompt(self, names: Sequence[str]) -> dict[str, str]:
        task = self.pipeline.task
        assert isinstance(task, SentenceEmbedding)
        return next(({"prompt_name": name} for name in names if name in task.prompts), {})


class Index:
    """Texts with their vectors.

    Attributes:
        texts: N of them.
        vectors: (N, H).
        cuts: of each how many tokens were left out; None where nobody knows, since the vectors were made elsewhere.
    """

    def __init__(self, searcher: Searcher, texts: list[str], vectors: Tensor, cuts: list[int] | None = None) -> None:
        """Check that they belong together."""
        expected = (len(texts), searcher.width)
        if not isinstance(vectors, Tensor) or tuple(vectors.shape) != expected:
            found = tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise InputError(f"vectors is {found}, expected a tensor of the shape {expected}, one for each document")
        self.searcher, self.texts, self.vectors, self.cuts = searcher, texts, vectors.float(), cuts

    def __len__(self) -> int:
        """How many texts."""
        return len(self.texts)

    def __repr__(self) -> str:
        """Return how many texts, and how they are compared."""
        return f"Index({len(self):,} texts, {self.searcher.kind!r})"

    @overload
    def search(self, query: str, *, top: int | None = 10) -> list[Ranked]: ...  # type: ignore[overload-overlap]
    @overload
    def search(self, query: Sequence[str], *, top: int | None = 10) -> list[list[Ranked]]: ...
    def search(self, query: str | Sequence[str], *, top: int | None = 10) -> list[Ranked] | list[list[Ranked]]:
        """Return the texts nearest to a query, best first, of equals the first; of several queries a list for each.

        Raises:
            InputError: a `top` below 1, or as `Pipeline`.
        """
        check_top(top)
        if not isinstance(query, str):
            check_texts("query", query)
        queries = self.searcher.query([query] if isinstance(query, str) else query)
        most = len(self) if top is None else min(top, len(self))
        found: list[list[Ranked]] = []
        for some in queries.split(max(1, _AT_ONCE // max(1, len(self)))):
            scores = similarities(some, self.vectors, self.searcher.kind)
            ordered, places = (kept[:, :most] for kept in scores.sort(dim=-1, descending=True, stable=True))
            found += [
                [
                    Ranked(index=place, score=score, text=self.texts[place], cut=self.cuts[place] if self.cuts else 0)
                    for score, place in zip(of_one.tolist(), at.tolist(), strict=True)
                ]
                for of_one, at in zip(ordered, places, strict=True)
            ]
        return found[0] if isinstance(query, str) else found
