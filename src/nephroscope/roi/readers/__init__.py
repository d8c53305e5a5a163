"""Two readers: how far their ROIs agree, and one ROI from both."""
