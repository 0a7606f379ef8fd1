"""The glass box: what a model is made of, what happens in it, and what its text becomes.

Each function returns a finding: a typed object that prints itself, shows itself in a notebook, and has `to_dict`,
`plot`, `write_html` and `write_png`. Models are run in eval mode and left as they were: no hook stays behind.
"""

from glassbert.inspect.finding import Finding
from glassbert.inspect.parameters import Parameters, parameters
from glassbert.inspect.tree import Tree, tree

__all__ = [
    "Finding",
    "Parameters",
    "Tree",
    "parameters",
    "tree",
]
