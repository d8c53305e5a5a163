"""Pages that explain a study, each in one file that opens without a network, for years.

No figure is shown without its interval, unit, n and method; SYNTHETIC and LEAKY are printed wherever they are true;
no page holds the name of a patient. matplotlib and Jinja2 come with the ``train`` extra.

``page`` holds what all pages share, ``study`` the page of a run, ``annotators`` and ``replicate`` theirs.
"""
