"""The clinic: a CT, an ROI and a bundle give the answer. No torch, no SciPy.

Promise to the user: a bundle is complete, undamaged and of a known format, or it is refused. Training and evaluation
use the same code (`cut`, `call`, `score`), so that the clinic gives the same answer as the evaluation.
"""
