"""How weights are learnt: a fold of slices in, weights and learning curves out.

Promise to the next rooms: a run folder with run.json is complete; the same seed, data and machine give the same
weights bit for bit, also when the work was killed and resumed.
"""
