"""Fast inference: the engine, pipelines from text to typed results, and ranking."""

from glassbert.infer.engine import Engine
from glassbert.infer.pipelines import Pipeline, pipeline
from glassbert.infer.ranking import Ranked, rank

__all__ = ["Engine", "Pipeline", "Ranked", "pipeline", "rank"]
