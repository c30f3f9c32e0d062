"""Tree models of the design: which choices decide the objective, how much, and how they act together.

`tree_models` is the short answer (one forest a task); `scalelab.analysis.trees.full` asks three kinds of
model, with every importance, interactions and partial dependence.
"""

from scalelab.analysis.trees.design import Design, design_of
from scalelab.analysis.trees.fit import tree_model, tree_models
from scalelab.analysis.trees.result import ALL, TreeModel

__all__ = [
    "ALL",
    "Design",
    "TreeModel",
    "design_of",
    "tree_model",
    "tree_models",
]
