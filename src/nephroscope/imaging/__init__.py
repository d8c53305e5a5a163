"""Files of any program in; a `CTVolume` in HU and a `RoiMask` on its grid out.

Promise to the next rooms: a volume is int16 HU of at least -1024 on an even grid in LPS millimetres, slices towards
the head, rows towards the back, columns towards the patient's left, whatever file it came from. A `RoiMask` lies on
the grid of its CT and holds at least one tumor voxel; an ROI drawn on another series is refused, and one on another
grid is resampled with a finding that says so.
"""
