"""Read ROI files of any program (SEG, RTSTRUCT, NIfTI, NRRD) as voxels on the CT, and write masks."""
