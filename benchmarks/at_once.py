"""Start two commands that write at the same moment, every pair, and look at what is left.

    python benchmarks/at_once.py [COMMAND ...]

Of each pair one may be refused, and then names the other command; none may end in a traceback, and afterwards no part
of the study may be damaged, and a command that was refused must end well, given again, or say that what it needs is
out of date now. Prints a line per pair; exit code 1 where that is not so.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from itertools import combinations_with_replacement
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import kills
import test_whole_or_not as tried
from nephroscope.intake.phantom.write import write_phantoms

COMMANDS = (*kills.BYTES, *kills.LONGER)


def problems(pair: tuple[str, str], made: Path, root: Path) -> list[str]:
    """What is wrong after two commands ran at once."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    started = [subprocess.Popen(kills.words(name, root), stdout=-1, stderr=-1, text=True) for name in pair]
    wrong, codes = [], []
    for name, process in zip(pair, started, strict=True):
        said = process.communicate()[1]
        codes.append(process.returncode)
        if process.returncode not in (0, 2, 3) or "Traceback" in said:
            wrong.append(f"{name}: exit code {process.returncode}: {said[-300:]}")
        if process.returncode == 2 and "still running" not in said and "changed since" not in said:
            wrong.append(f"{name}: refused for another reason: {said[-300:]}")
    if 0 not in codes and 3 not in codes:
        wrong.append("neither was done")
    status = [sys.executable, "-m", "nephroscope", "status", str(root), "--json"]
    done = subprocess.run(status, capture_output=True, text=True, check=False).stdout
    wrong += [f"damaged: {part['name']}" for part in json.loads(done)["parts"] if part["state"] == "damaged"]
    for name, code in zip(pair, codes, strict=True):
        if code == 2 and name not in tried.DONE:
            again = subprocess.run(kills.words(name, root), capture_output=True, text=True, check=False)
            if again.returncode not in (0, 3) and "out of date" not in again.stderr:
                wrong.append(f"{name}, again: {again.stderr[-300:]}")
    return wrong


def main(*asked: str) -> int:
    """Try every pair of the commands; gives the exit code."""
    n_wrong = 0
    with tempfile.TemporaryDirectory() as name:
        places = tried.Places(Path(name).resolve())
        study = tried.made.__wrapped__(places)
        write_phantoms(study / "export", 3, 5)
        made = tried.complete.__wrapped__(study, places)
        place = places.mktemp("tried")
        for pair in combinations_with_replacement(asked or COMMANDS, 2):
            wrong = problems(pair, made, place / "study")
            n_wrong += bool(wrong)
            print(f"{' and '.join(pair)}: {'; '.join(wrong) or 'well'}", flush=True)
    return int(n_wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
