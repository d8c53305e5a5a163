"""Radiologists compared with models: figures of each reader, their mean, tests and agreement, from a table of calls.

Promise to the next rooms: every reader and model is compared on the cases that both answered, n is given with every
figure, and no absence of a difference is called equality.
"""
