"""A table of cases and a bundle -> a folder with an answer or a named refusal for each, once, whatever ends it."""
