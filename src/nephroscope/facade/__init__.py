"""`Study` with verbs: a thin facade over the rooms, for notebooks and for the commands.

Every verb reads what it needs from the study folder and writes its result there, whole or not at all.
"""

from nephroscope.facade.study import Study

__all__ = ["Study"]
