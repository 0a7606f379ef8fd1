"""Fast inference: engines, pipelines from text to typed results, ranking, searching, engines compared, and export."""

from glassbert.infer.batches import BatchAnswers
from glassbert.infer.choosing import abilities, pipeline
from glassbert.infer.comparison import Comparison, compare, equal_answers
from glassbert.infer.engine import Engine
from glassbert.infer.exporting import Difference, Exported, Quantized, export
from glassbert.infer.onnx_engine import OnnxEngine
from glassbert.infer.pipelines import Pipeline
from glassbert.infer.ranking import Ranked, Ranker, rank
from glassbert.infer.searching import Comparer, Index, Searcher, similarities

__all__ = [
    "BatchAnswers",
    "Comparer",
    "Comparison",
    "Difference",
    "Engine",
    "Exported",
    "Index",
    "OnnxEngine",
    "Pipeline",
    "Quantized",
    "Ranked",
    "Ranker",
    "Searcher",
    "abilities",
    "compare",
    "equal_answers",
    "export",
    "pipeline",
    "rank",
    "similarities",
]
