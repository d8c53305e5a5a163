"""Public cohorts: KiTS folders, and collections of the Imaging Data Commons."""
