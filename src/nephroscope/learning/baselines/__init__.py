"""What the baselines are made of: tables of features, regressions on them, and the weights of a stack.

The baselines themselves are in `learning/learners`, one file each.
"""
