"""Tables of predictions (CSV) from anywhere, checked cell by cell."""
