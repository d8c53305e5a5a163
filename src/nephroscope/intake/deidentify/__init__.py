"""A copy of an export without names, after the basic profile of DICOM PS3.15, verified by re-reading."""
