"""How good a run is, by patient: figures by image and by case, operating points, subgroups."""
