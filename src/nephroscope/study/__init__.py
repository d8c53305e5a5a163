"""The study folder: cohort, split, slices, settings, and which of them is out of date."""
