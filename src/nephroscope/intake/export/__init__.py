"""A hospital's export: any tree of files in, what each series is, and cases out."""
