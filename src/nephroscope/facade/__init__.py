"""What a notebook uses: `Study`, `Run` and `Bundle`. The commands use the same.

Nothing is imported here, so that a clinic that needs only `Bundle` loads nothing else.
"""
