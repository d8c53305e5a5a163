"""Where a tumor lies, how large it is, what is doubtful about that, and how far annotators agree on it."""
