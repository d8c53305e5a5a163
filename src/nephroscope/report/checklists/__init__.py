"""Reporting checklists, answered from the page of a run: each item with its evidence, or left to the authors.

The wording of the items is ours; the numbers are those of the published lists. Nothing is answered that the data do
not show: whether a paper fulfils an item is for its authors and reviewers to say.
"""
