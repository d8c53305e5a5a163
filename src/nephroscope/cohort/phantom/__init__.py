"""A synthetic cohort, for the demo and for tests: no patient stands behind any of it.

Promise: the same seed gives the same bytes; the scan does not depend on the subtype; attenuation overlaps; and the
word SYNTHETIC stands in every header and name.
"""

from nephroscope.cohort.phantom.make import Phantom, make_phantom
from nephroscope.cohort.phantom.write import write_phantoms

__all__ = ["Phantom", "make_phantom", "write_phantoms"]
