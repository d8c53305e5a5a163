"""A hospital's export, label tables, public cohorts, slice images or phantoms in; cases and exclusions out.

Promise to the next rooms: each case has one subtype of the study, each patient one sex, and each case that was left
out is listed with the reason. Nothing is guessed.
"""
