"""A tumor drawn by another program: CT out, label map back, checked, and refused by name or taken as a proposal."""
