"""Name the contrast phase of a CT series from its DICOM texts and times."""
