"""The page of what a program drew: against what people drew, and what it does to the answers."""
