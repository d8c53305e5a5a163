"""The pages of a replication. What was shortened or decided differently is listed on the page itself."""
