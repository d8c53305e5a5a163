"""The reader study: a locked protocol, blinded cases in a drawn order, final answers with their time, the result."""
