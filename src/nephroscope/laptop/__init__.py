"""A folder for a laptop without rights or network: a bundle, wheels with their hashes, and a start script.

Nothing else is needed there but Python. `pins` knows which wheels fit a computer, `wheels` gets them and packs our
own, `texts` are the scripts, and `start` runs on the laptop.
"""
