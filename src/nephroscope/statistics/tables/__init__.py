"""Anybody's table of predictions (CSV) in; columns checked cell by cell out."""
