"""Where a tumor lies, how large it is, and what is doubtful about that."""
