"""What a network sees: CT and ROI in, square int16 HU slices out, cut by one code for training and clinic.

Promise to the next rooms: every slice belongs to a case, has one physical scale within its case, and was cut
by the `SliceSpec` that is stored beside it.
"""
