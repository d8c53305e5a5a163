"""UIDs: which are usable, and ours, which follow from what an object says: the same answer is the same object."""

import uuid

MOST_UID = 64
_NAMESPACE = uuid.UUID("7f3c1b52-94a8-5c0e-9d3a-6b1f0e2d8c47")


def derived_uid(kind: str, *parts: str) -> str:
    """A UID below 2.25 (PS3.5 B.2) that is the same for the same kind and parts."""
    text = "\n".join((kind, *parts))
    return f"2.25.{uuid.uuid5(_NAMESPACE, text).int}"


def is_uid(text: str) -> bool:
    """True for digits and dots, at most 64: also safe as the name of a file."""
    return 0 < len(text) <= MOST_UID and not text.strip("0123456789.") and ".." not in text and text[0] != "."
