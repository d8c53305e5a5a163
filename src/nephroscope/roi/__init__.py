"""Room 2, where the tumor is.

Promise to the next room: a `RoiMask` lies on the very grid of its CT, holds at least one tumor voxel, and says which
case it is of; a ROI drawn on another series is
refused, and one on another grid is resampled and says so.
"""
