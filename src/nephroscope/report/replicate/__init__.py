"""The page of a replication: what the paper printed, what this study gives, and the same without the leak."""
