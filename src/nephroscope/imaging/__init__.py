"""Read CT images and ROI files of any program: `CTVolume` in HU, and `RoiMask` on the grid of its CT.

Promise to the next rooms: a volume is int16 HU of at least -1024 on an even grid in LPS millimetres, with slices
from feet to head, rows from front to back and columns from the patient's right to left, whatever file it came from.
A `RoiMask` lies on the grid of its CT and holds at least one tumor voxel. An ROI drawn on another series is refused;
one on another grid is resampled, with a finding that says so.
"""
