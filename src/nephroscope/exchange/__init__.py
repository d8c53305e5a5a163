"""Answers as standard DICOM objects, and the ways to and from a PACS.

An answer leaves as a structured report that any program can read and that `read_answer` turns back into the same
answer; it refers to the ROI and to the slices it was made from. Nothing is sent anywhere but to a named destination,
and nothing counts as sent before the destination, asked again, says that it has it.
"""
