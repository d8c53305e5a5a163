"""Radiomics by IBSI: CT and ROI of a case in, named features out; each kept on disk under a digest of its origin.

Promise to the candidate: two fixed settings (volume, slices), nothing tuned on labels, and the extraction that is
used is the one compared with the published values of the IBSI phantom (`ibsi`).
"""
