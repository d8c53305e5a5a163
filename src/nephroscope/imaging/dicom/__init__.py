"""Read one CT series from DICOM files: a `CTVolume` in HU, or the reason why it is not an even stack."""
