"""Section Data: who was reviewed, included and left out, and what was found in the data."""

from collections import Counter

from nephroscope.records import Finding
from nephroscope.report.cohort.characteristics import characteristics_by_subtype
from nephroscope.report.cohort.flow import draw_flow
from nephroscope.report.page.section import Block, Filled, Section, ShownFigure, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.content import ReportContent

MOST_REASONS = 30


def _fill(source: RunSource) -> Filled:
    content = source.content
    blocks: list[Block] = [
        ShownFigure(
            "flow",
            "Flow of tumors from review to the parts of the study.",
            lambda: draw_flow(content.cohort, content.split, content.findings),
        ),
        ShownTable("who", characteristics_by_subtype(content.cohort, content.slice_counts)),
    ]
    left_out, found = exclusion_table(content), finding_table(content)
    if left_out.rows:
        blocks.append(ShownTable("left-out", left_out))
    else:
        blocks.append(Text("No case was excluded."))
    if found.rows:
        blocks.append(ShownTable("findings", found))
    return Filled(blocks=blocks)


COHORT = Section(id="data", title="Data", navigation="Data", fill=_fill)


def exclusion_table(content: ReportContent) -> Table:
    """Who was left out and why, on import and at later steps."""
    counts = Counter((e.reason, e.subtype or "not stated") for e in content.cohort.exclusions)
    counts += Counter((f"{f.code}: {f.message}", "") for f in content.findings if f.severity == "refusal")
    ordered = counts.most_common()
    rows = [(reason, subtype, str(n)) for (reason, subtype), n in ordered[:MOST_REASONS]]
    rest = ordered[MOST_REASONS:]
    if rest:
        rows.append((f"and {len(rest)} more reasons, see exclusions.csv", "", str(sum(n for _, n in rest))))
    return Table(caption="Who was left out", header=("Reason", "Subtype", "Cases"), rows=tuple(rows))


def finding_table(content: ReportContent) -> Table:
    """Notes and warnings about the data by kind, warnings first, each with its first message."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in content.findings:
        if finding.severity != "refusal":
            kinds.setdefault((finding.severity, finding.code), []).append(finding)
    ordered = sorted(kinds.values(), key=lambda found: (found[0].severity != "warning", found[0].code))
    columns: list[Column[list[Finding]]] = [
        Column("Severity", lambda found: found[0].severity),
        Column("Finding", lambda found: found[0].code),
        Column("What was found", _message),
        Column("Cases", _cases),
    ]
    return build_table("Findings in the data", columns, ordered)


def _message(found: list[Finding]) -> str:
    others = len({f.message for f in found}) - 1
    return found[0].message + (f" (and {others} of the same kind)" if others else "")


def _cases(found: list[Finding]) -> str:
    cases = list(dict.fromkeys(f.case_id for f in found if f.case_id))
    return (", ".join(cases[:8]) + (f" and {len(cases) - 8} more" if len(cases) > 8 else "")) or "all"
