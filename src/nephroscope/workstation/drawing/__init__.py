"""ROIs that people draw in the browser: kept by stroke, signed and locked, written as SEG and NIfTI."""
