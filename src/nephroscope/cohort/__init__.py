"""Room 1, who is in the study.

Promise to the next room: every case stands in `cohort.csv` once, with one subtype of the study, and every patient has
one sex; who was left out stands in `exclusions.csv` with the reason; and a volume that a reader here returns is int16
HU of at least -1024 on an even grid in LPS millimetres, slices towards the head, rows towards the back, columns
towards the patient's left, through whichever door it came.
"""
