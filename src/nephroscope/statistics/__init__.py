"""Estimates and tests from plain arrays, each checked against published numbers. Knows nothing of studies.

Promise to the next rooms: every figure has its interval, n, unit and method; one that could not be computed is None
with a reason, never 0 and never NaN.
"""
