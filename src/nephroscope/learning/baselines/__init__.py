"""What a network must beat: candidates that are fitted on cases and give probabilities for cases.

Promise to the next rooms: every candidate has the same two verbs and sees labels in `fit` only. A new baseline is
one file in `candidates/` that holds a `LEARNER`; nothing else needs to know of it.
"""
