"""A synthetic cohort, for the demo and for tests: no patient stands behind any of it.

Promise: the same seed gives the same bytes; the scan does not depend on the subtype; attenuation overlaps, and the
word SYNTHETIC stands in every header, name and table.
"""

from nephroscope.cohort.phantom.make import Phantom, make_phantom

__all__ = ["Phantom", "make_phantom"]
