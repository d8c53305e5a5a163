"""How good, by patient: the room's promise is that no figure leaves it without interval, n, unit and method.

`aggregate` and `calls` need NumPy alone, because the clinic's prediction uses them; the rest needs the
``train`` extra. Nothing is imported here, so that the clinic pays for nothing it does not use.
"""
