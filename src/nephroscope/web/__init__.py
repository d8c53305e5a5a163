"""A bundle as one HTML file that answers in a browser, without a connection; compared with `predict` before."""
