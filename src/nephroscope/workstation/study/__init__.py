"""The study in the browser: its patients, imports, doubts, and the steps from slices to a bundle."""
