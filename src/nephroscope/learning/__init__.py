"""Cases and labels in, fitted learners and their answers out: networks, baselines, and one engine that fits on folds.

Promise to the next rooms: every fit sees the training patients of its fold only; the same seed, data and machine give
the same weights bit for bit, also when the work was killed and resumed.
"""
