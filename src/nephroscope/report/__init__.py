"""One page that explains a study, in one file: the room's promise is that it opens without a network, for years.

No figure is shown without interval, unit, n and method; SYNTHETIC and LEAKY stand wherever they are true; no
name of a patient can occur, because none enters. matplotlib and Jinja2 come with the ``train`` extra.
"""
