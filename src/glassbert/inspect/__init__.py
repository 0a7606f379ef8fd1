"""The glass box: what a model is made of, what happens in it, and what its text becomes.

Each function returns a finding: a typed object that prints itself, shows itself in a notebook, and has `to_dict`,
`plot`, `write_html` and `write_png`. Models are run in eval mode and left as they were: no hook stays behind.
"""

from glassbert.inspect.attention import Attention, attention
from glassbert.inspect.attribution import Attribution, attribution
from glassbert.inspect.compare import ModelComparison, compare
from glassbert.inspect.finding import Finding
from glassbert.inspect.heads import Head, Heads, Reassembly, heads
from glassbert.inspect.importance import HeadScore, Importance, importance
from glassbert.inspect.outputs import Outputs, outputs
from glassbert.inspect.parameters import Parameters, parameters
from glassbert.inspect.pooling import PoolingComparison, pooling
from glassbert.inspect.pruning import Pruned, Size, prune
from glassbert.inspect.shapes import Shapes, shapes
from glassbert.inspect.tokens import Tokens, tokens
from glassbert.inspect.torch_encoder import TorchEncoder, torch_encoder
from glassbert.inspect.training import Training, training
from glassbert.inspect.tree import Tree, tree
from glassbert.inspect.why import Measure, Reason, why

__all__ = [
    "Attention",
    "Attribution",
    "Finding",
    "Head",
    "HeadScore",
    "Heads",
    "Importance",
    "Measure",
    "ModelComparison",
    "Outputs",
    "Parameters",
    "PoolingComparison",
    "Pruned",
    "Reason",
    "Reassembly",
    "Shapes",
    "Size",
    "Tokens",
    "TorchEncoder",
    "Training",
    "Tree",
    "attention",
    "attribution",
    "compare",
    "heads",
    "importance",
    "outputs",
    "parameters",
    "pooling",
    "prune",
    "shapes",
    "tokens",
    "torch_encoder",
    "training",
    "tree",
    "why",
]
