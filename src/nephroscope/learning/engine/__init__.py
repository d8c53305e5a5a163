"""Fits on folds, on one core, several processes or a Ray cluster; each result is kept as soon as it is there."""
