"""The page of two annotators."""
