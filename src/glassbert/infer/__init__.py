"""Fast inference: the engine, pipelines from text to typed results, ranking, and export."""

from glassbert.infer.engine import Engine
from glassbert.infer.exporting import Difference, Exported, Quantized, export
from glassbert.infer.onnx_engine import OnnxEngine, onnx_engine
from glassbert.infer.pipelines import Pipeline, pipeline
from glassbert.infer.ranking import Ranked, rank

__all__ = [
    "Difference",
    "Engine",
    "Exported",
    "OnnxEngine",
    "Pipeline",
    "Quantized",
    "Ranked",
    "export",
    "onnx_engine",
    "pipeline",
    "rank",
]
