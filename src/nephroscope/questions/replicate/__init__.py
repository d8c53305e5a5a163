"""A published study repeated as it was done, and next to every number what the same data say without the leak."""
