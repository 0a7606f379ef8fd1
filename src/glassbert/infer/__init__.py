"""Fast inference: the engines, pipelines from text to typed results, ranking, searching, and engines compared."""

from glassbert.infer.batches import BatchAnswers
from glassbert.infer.choosing import abilities, pipeline
from glassbert.infer.comparison import Comparison, compare
from glassbert.infer.engine import Engine
from glassbert.infer.pipelines import Pipeline
from glassbert.infer.ranking import Ranked, Ranker, rank
from glassbert.infer.searching import Comparer, Index, Searcher, similarities

__all__ = [
    "BatchAnswers",
    "Comparer",
    "Comparison",
    "Engine",
    "Index",
    "Pipeline",
    "Ranked",
    "Ranker",
    "Searcher",
    "abilities",
    "compare",
    "pipeline",
    "rank",
    "similarities",
]
