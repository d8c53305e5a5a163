"""Short digests, by which a step knows what it was made from."""

import hashlib
import json


def digest_of(content: object) -> str:
    """First 16 hex digits of the SHA-256 of ``content`` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
