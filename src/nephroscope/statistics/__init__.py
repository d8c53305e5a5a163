"""Plain arrays in, estimates and tests out, each checked against published numbers. Knows nothing of studies.

Promise to the next rooms: no figure leaves without interval, n, unit and method, and one that could not be computed
is None with a reason, never 0 and never NaN.
"""
