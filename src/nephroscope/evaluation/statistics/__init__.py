"""Statistics of plain tables: arrays or a CSV of predictions in, estimates and tests out, each checked against print.

Promise to the next rooms: the same functions serve `nephroscope statistics`, the comparison, the readers, the report.
"""
