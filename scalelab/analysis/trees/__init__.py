"""Tree models of the design: which choices decide the objective, how much, and how they act together.

`tree_models` is the short answer (one forest per task); `scalelab.analysis.trees.full` asks three kinds of
model, with every importance, interactions and partial dependence.
"""
