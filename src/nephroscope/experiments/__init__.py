"""Questions that need many fits: which candidate is better, how much is chance, how large must a network be.

Promise to the next rooms: every fit sees its fold's training patients alone, results are kept as they come, and the
same command goes on where it was stopped.
"""
