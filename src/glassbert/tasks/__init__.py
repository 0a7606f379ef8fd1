"""One file per task: record → features → batch; logits → typed results; metrics."""

from glassbert.tasks import text_classification
from glassbert.tasks.text_classification import Classification, ClassificationMetrics, Example

__all__ = ["Classification", "ClassificationMetrics", "Example", "text_classification"]
