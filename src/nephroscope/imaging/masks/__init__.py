"""ROI files of any program: SEG, RTSTRUCT, NIfTI and NRRD in, voxels on the CT out; and written back."""
