"""One file for each baseline; each holds a `CANDIDATE`."""
