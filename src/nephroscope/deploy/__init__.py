"""What leaves the laboratory: a run in, one small folder out that predicts on a laptop without torch.

Promise to the user: a bundle is complete, undamaged and of a known format, or it is refused.
"""
