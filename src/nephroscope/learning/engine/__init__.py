"""Fits on folds: in one process, in several or on a Ray cluster; every result is kept as soon as it is there."""
