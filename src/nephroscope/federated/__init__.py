"""Hospitals train and evaluate one model together: signed archives of tensors and figures travel, patients stay."""
