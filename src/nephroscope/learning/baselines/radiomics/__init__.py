"""Radiomics by IBSI: named features of the CT and ROI of a case, kept on disk under a digest of their inputs.

There are two fixed settings (volume, slices), nothing tuned on labels, and the extraction that is
used is the one compared with the published values of the IBSI phantom (`ibsi`).
"""
