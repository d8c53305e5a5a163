"""A published study repeated as it was done, and beside every number what the same data say without the leak.

Promise to the next rooms: what was shortened or decided differently is listed on the page itself.
"""
