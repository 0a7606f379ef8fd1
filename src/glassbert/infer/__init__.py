"""Fast inference: the engine, and pipelines from text to typed results."""

from glassbert.infer.engine import Engine
from glassbert.infer.pipelines import Pipeline, pipeline

__all__ = ["Engine", "Pipeline", "pipeline"]
