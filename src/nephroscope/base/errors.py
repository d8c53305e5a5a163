"""What can be refused, and how a refusal is said: where, expected, found, and what to do.

Every refusal of input is a `NephroscopeError`. Its four parts are kept apart, so that a command, a report and
a web page can all show them; its `code` is stable and may be relied on by other programs.
"""


class NephroscopeError(Exception):
    """Input was refused.

    Args:
        where: The case, series, file, row or setting, without any patient's name.
        expected: What the rule asks for.
        found: What was there instead.
        remedy: What the reader can do about it.
    """

    code = "refused"

    def __init__(self, *, where: str, expected: str, found: str, remedy: str) -> None:
        self.where, self.expected, self.found, self.remedy = where, expected, found, remedy
        super().__init__(f"{where}: expected {expected}, found {found}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the four parts when an error crosses from a worker process."""
        return (_rebuild, (type(self), self.where, self.expected, self.found, self.remedy))

    def as_dict(self) -> dict[str, str]:
        """The refusal for ``--json``: code, where, expected, found, remedy."""
        return {
            "code": self.code,
            "where": self.where,
            "expected": self.expected,
            "found": self.found,
            "remedy": self.remedy,
        }


def _rebuild(
    kind: type[NephroscopeError], where: str, expected: str, found: str, remedy: str
) -> NephroscopeError:
    return kind(where=where, expected=expected, found=found, remedy=remedy)


class CohortError(NephroscopeError):
    """The manifest, a label table or a split contradicts itself or the study."""

    code = "cohort"


class SeriesError(NephroscopeError):
    """A CT series, volume or slice image cannot be read as what it claims to be."""

    code = "series"


class RoiError(NephroscopeError):
    """A region of interest is missing, empty or lies elsewhere than its CT."""

    code = "roi"


class StudyError(NephroscopeError):
    """The study folder lacks a step, or a step is older than what it was made from."""

    code = "study"


class ConfigError(NephroscopeError):
    """A setting in study.toml, or an option, is outside what it may be."""

    code = "config"


class BundleError(NephroscopeError):
    """A bundle is damaged, of a newer format, or was made for other input."""

    code = "bundle"
