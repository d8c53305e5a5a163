"""Where a network looked, and whether its maps depend on its weights."""
