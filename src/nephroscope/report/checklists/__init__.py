"""Reporting checklists answered from a page's content: each item with its evidence, or left to the authors.

The words of the items are our own; the numbers are those of the published lists. Nothing is answered that the data do
not show: whether a paper fulfils an item is for its authors and reviewers to say.
"""
