"""The page of `check`: every case as a picture, what is doubtful first."""
