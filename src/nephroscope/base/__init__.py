"""What every room uses: refusals, files written completely or not at all, tables, processes, progress.

Nothing here depends on tumors, studies or networks.
"""
