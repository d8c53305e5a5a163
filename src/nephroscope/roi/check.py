"""Cases in, findings out: what is doubtful or wrong with each CT and its ROI."""

from collections.abc import Sequence

from nephroscope.errors import NephroscopeError
from nephroscope.progress import track
from nephroscope.records import Case, Finding
from nephroscope.roi.read import read_case


def check_cases(cases: Sequence[Case], known: Sequence[Finding] = ()) -> dict[str, tuple[Finding, ...]]:
    """Read every case; findings by case_id, a refusal among them where the case cannot be used.

    Args:
        cases: Of the cohort.
        known: Findings of the imports, given again with their case.
    """
    found: dict[str, tuple[Finding, ...]] = {}
    for case in track(cases, "checking", "case", len(cases)):
        told = tuple(finding for finding in known if finding.case_id == case.case_id)
        found[case.case_id] = (*told, *_check_case(case))
    return found


def _check_case(case: Case) -> tuple[Finding, ...]:
    try:
        volume, roi = read_case(case)
    except NephroscopeError as error:
        code, message = error.code, str(error)
    except OSError as error:
        code, message = "unreadable", f"case {case.case_id}: cannot be read: {error.strerror or error}"
    else:
        return (*volume.findings, *roi.findings)
    return (Finding(code=code, severity="refusal", message=message, case_id=case.case_id),)
