"""What leaves the laboratory: CT, ROI and a bundle in, the answer out. No torch, no SciPy.

Promise to the user: a bundle is complete, undamaged and of a known format, or it is refused. Training and evaluation
use the same code (`cut`, `call`, `score`), so the clinic answers what the evaluation answered.
"""
