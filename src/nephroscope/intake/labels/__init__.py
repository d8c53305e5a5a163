"""Label tables and pathology texts become one label per tumor; nothing is guessed."""
