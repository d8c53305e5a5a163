"""Six light CNNs from HU slices (N, 1, H, W) to logits per subtype.

Every network is a row of one table and takes HU: the window is its first step, so that training and clinic cannot
differ. It exists as torch weights and as an ONNX file that agree to 1e-4.
"""
