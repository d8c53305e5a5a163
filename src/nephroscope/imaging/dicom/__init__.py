"""One CT series: DICOM files in, a `CTVolume` in HU out, or the reason why it is no even stack."""
