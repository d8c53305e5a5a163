"""The paper's folders of slices: JPEG and PNG in, cases and HU through a window out."""
