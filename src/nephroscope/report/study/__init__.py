"""The page of a run: what it is made from, its sections, and the files written with it."""
