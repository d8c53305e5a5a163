"""Everything that learns from cases and their subtypes: networks, baselines, and one engine that fits them on folds.

Every fit sees the training patients of its fold only. The same seed, data and machine give the same weights bit for
bit, also when the work was interrupted and resumed.
"""
