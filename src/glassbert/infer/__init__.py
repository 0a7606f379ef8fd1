"""Fast inference: the engine, pipelines from text to typed results, ranking and searching."""

from glassbert.infer.choosing import abilities, pipeline
from glassbert.infer.engine import Engine
from glassbert.infer.pipelines import Pipeline
from glassbert.infer.ranking import Ranked, Ranker, rank
from glassbert.infer.searching import Comparer, Index, Searcher, similarities

__all__ = [
    "Comparer",
    "Engine",
    "Index",
    "Pipeline",
    "Ranked",
    "Ranker",
    "Searcher",
    "abilities",
    "pipeline",
    "rank",
    "similarities",
]
