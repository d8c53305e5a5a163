"""What every room stands on: refusals, files written whole or not at all, tables, processes, progress.

Nothing here knows of tumors, studies or networks.
"""
