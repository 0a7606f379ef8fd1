"""Fast inference: the engine, pipelines from text to typed results, and ranking."""

from glassbert.infer.batches import BatchAnswers
from glassbert.infer.engine import Engine
from glassbert.infer.pipelines import Pipeline, pipeline
from glassbert.infer.ranking import Ranked, rank

__all__ = ["BatchAnswers", "Engine", "Pipeline", "Ranked", "pipeline", "rank"]
