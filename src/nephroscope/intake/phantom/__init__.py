"""A synthetic cohort for the demo and for tests: these are not real patients.

Promise: the same seed gives the same bytes; the scan does not depend on the subtype; attenuation overlaps; and each
header and name contains the word SYNTHETIC.
"""

from nephroscope.intake.phantom.make import Phantom, make_phantom
from nephroscope.intake.phantom.patient import SUBTYPES
from nephroscope.intake.phantom.write import write_phantoms

__all__ = ["SUBTYPES", "Phantom", "make_phantom", "write_phantoms"]
