"""The contrast phase of a series, from what DICOM says; "unknown" rather than a guess."""
