"""The page of ROIs that were placed on other phases."""
