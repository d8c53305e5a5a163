"""The page on how far two annotators agree."""
