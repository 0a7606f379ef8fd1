"""Fast inference: the engine, pipelines from text to typed results, comparison of engines, and ranking."""

from glassbert.infer.comparison import Comparison, compare
from glassbert.infer.engine import Engine
from glassbert.infer.pipelines import Pipeline, pipeline
from glassbert.infer.ranking import Ranked, rank

__all__ = ["Comparison", "Engine", "Pipeline", "Ranked", "compare", "pipeline", "rank"]
