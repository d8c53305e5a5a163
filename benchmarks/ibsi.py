"""Our radiomics extraction beside the published values of the IBSI 1 digital phantom.

python benchmarks/ibsi.py            a table in Markdown
python benchmarks/ibsi.py --json     one object a value

Needs the extra `radiomics`. Exit code 1 when a value differs in the digits published.
"""

import json
import sys
from dataclasses import asdict

from nephroscope.learning.baselines.radiomics.extract import mirp_version
from nephroscope.learning.baselines.radiomics.ibsi import FAMILIES, compare_with_ibsi


def main() -> int:
    """Print the comparison."""
    rows = compare_with_ibsi()
    wrong = [row for row in rows if not row.agrees]
    if "--json" in sys.argv:
        print(json.dumps([asdict(row) | {"agrees": row.agrees} for row in rows]))
        return bool(wrong)
    print(f"MIRP {mirp_version()}: {len(rows) - len(wrong)} of {len(rows)} published values are reproduced\n")
    print("| family | values | reproduced |\n|---|--:|--:|")
    for family in FAMILIES:
        members = [row for row in rows if row.family == family]
        print(f"| {family} | {len(members)} | {sum(row.agrees for row in members)} |")
    print("\n| feature | published | ours |\n|---|--:|--:|")
    for row in wrong if "--wrong" in sys.argv else rows:
        print(f"| {row.feature} | {row.published} | {row.ours:.6g} |")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
