"""The page of the laptop: a study or a bundle in a browser, served to this computer only.

Nothing heavy is imported before a page needs it, so that the command is ready in under two seconds.
"""
