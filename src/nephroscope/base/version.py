"""The version, and how to get an extra of it, where every room can read it."""

__version__ = "0.1.0"


def install_line(extras: str) -> str:
    """The command that adds these extras (``train``, or ``train,radiomics``), for messages.

    It names the wheel: a package of our name that a public index may have one day is not ours.
    """
    return f"pip install 'nephroscope-{__version__}-py3-none-any.whl[{extras}]'"
