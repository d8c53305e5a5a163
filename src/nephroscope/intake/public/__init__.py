"""Public cohorts: the folders of KiTS and the collections of the Imaging Data Commons."""
