"""Which learner is better, and how much of that is chance: networks, baselines and their stack on the same folds.

Results are kept as they come, and the same command goes on where it was stopped.
"""
