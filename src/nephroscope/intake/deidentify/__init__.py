"""Copy an export without names, by the basic profile of DICOM PS3.15, and verify each copy by reading it back."""
