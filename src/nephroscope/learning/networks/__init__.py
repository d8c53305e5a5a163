"""Six light CNNs: HU slices (N, 1, H, W) in, logits per subtype out.

Promise to the next rooms: every network is a row of one table, takes HU (the window is its first step, so that
training and clinic cannot differ), and exists as torch weights and as an ONNX file that agree to 1e-4.
"""
