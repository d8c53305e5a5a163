"""Import 8-bit slice images with a label table or with labels in their file names."""
