"""Refusals of input: each says where, what was expected, what was found, and what to do.

Every refusal is a `NephroscopeError`. Its four parts are separate, so that a command, a report and a web page can
all show them. Its `code` is stable: other programs may rely on it.
"""


class NephroscopeError(Exception):
    """Input was refused.

    Args:
        where: The case, series, file, row or setting, without any patient's name.
        expected: What was expected.
        found: What was found instead.
        remedy: What the user can do about it.
    """

    code = "refused"

    def __init__(self, *, where: str, expected: str, found: str, remedy: str) -> None:
        self.where, self.expected, self.found, self.remedy = where, expected, found, remedy
        super().__init__(f"{where}: expected {expected}, found {found}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the four parts when an error is passed on from a worker process."""
        return (_rebuild, (type(self), self.where, self.expected, self.found, self.remedy))

    def as_kind(self, kind: "type[NephroscopeError]", where: str) -> "NephroscopeError":
        """The same refusal as another kind of error, of another place."""
        return kind(where=where, expected=self.expected, found=self.found, remedy=self.remedy)

    def as_dict(self) -> dict[str, str]:
        """The refusal for ``--json``: code, where, expected, found, remedy."""
        return {name: getattr(self, name) for name in ("code", "where", "expected", "found", "remedy")}


def _rebuild(
    kind: type[NephroscopeError], where: str, expected: str, found: str, remedy: str
) -> NephroscopeError:
    return kind(where=where, expected=expected, found=found, remedy=remedy)


class CohortError(NephroscopeError):
    """cohort.csv, a label table or a split contradicts itself or the study."""

    code = "cohort"


class SeriesError(NephroscopeError):
    """A CT series, volume or slice image cannot be read as what it claims to be."""

    code = "series"


class RoiError(NephroscopeError):
    """A region of interest is missing, empty, or does not lie on its CT."""

    code = "roi"


class StudyError(NephroscopeError):
    """A step of the study is missing or out of date."""

    code = "study"


class ConfigError(NephroscopeError):
    """A setting in study.toml or an option is not allowed."""

    code = "config"


class BundleError(NephroscopeError):
    """A bundle is damaged, has a newer format, or was made for other input."""

    code = "bundle"


class PacsError(NephroscopeError):
    """A PACS cannot be reached, does not take or give something, or an address of one is not usable."""

    code = "pacs"


class GroupError(NephroscopeError):
    """A group of hospitals is not at the step that was asked for, or is not complete."""

    code = "group"


class ArchiveError(NephroscopeError):
    """An archive that hospitals exchange is refused; ``code`` ends in the reason, such as ``archive-late``."""

    code = "archive"
