"""What people wrote down: tables and pathology texts in, one label per tumor out; nothing is guessed."""
