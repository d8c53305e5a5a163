"""Radiologists' calls next to the models: a table of calls in; each reader, their mean, tests and agreement out.

Promise to the next rooms: every reader and model is compared on the cases that both answered, n is given with every
figure, and no absence of a difference is called equality.
"""
