"""The CT of a case for the browser: slices in HU from a cache on disk, filled by the one reader."""
