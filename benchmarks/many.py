"""Many cases: how fast, in how much memory, and what kills do to them. Linux only; prints JSON.

    python benchmarks/many.py [BUNDLE] [--cases N] [--large N] [--kills N] [--parts throughput memory kills]

Throughput: SYNTHETIC phantoms with BUNDLE (by default a network of four operators, unlike a real one), one
process bound to one core and one per core in turns: cases a second from the ledger, without the start, which
needs a computer that does nothing else; and what a further case costs in processor seconds, from two tables,
which hardly depends on it. Memory: tables of 100 and of --large rows that point to a few small cases; highest
resident memory of the program and of its worker processes. Kills: one table, killed (SIGKILL) at random moments
and started again; how often each case was begun, and whether all answers are those of `predict`.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from nephroscope.facade.many.ledger import LEDGER, Ledger
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.intake.phantom import write_phantoms
from phantoms import box_hu, box_tumor, dicom_slices, write_nifti, write_seg, write_slices
from tiny_bundle import make_bundle

TURNS = 3


def command(bundle: Path, table: Path, out: Path, jobs: int) -> list[str]:
    """The command line."""
    words = ["predict", bundle, "--table", table, "--out", out, "--jobs", jobs]
    return [sys.executable, "-m", "nephroscope", *map(str, words)]


def write_table(path: Path, files: list[tuple[Path, Path]], n: int) -> Path:
    """A table of so many rows, that point to these files in turns."""
    rows = [f"P{i:06d},{files[i % len(files)][0]},{files[i % len(files)][1]}" for i in range(n)]
    path.write_text("\n".join(["case_id,image,roi", *rows, ""]), encoding="utf-8")
    return path


def small_cases(folder: Path) -> list[tuple[Path, Path]]:
    """Box phantoms: a NIfTI volume with a label map, and a DICOM series with a SEG."""
    folder.mkdir()
    images = dicom_slices()
    dicom = (
        write_slices(images, folder / "dicom"),
        write_seg(images, {"tumor": box_tumor()}, folder / "seg.dcm"),
    )
    hu = write_nifti(box_hu(), folder / "ct.nii.gz")
    return [dicom, (hu, write_nifti(box_tumor().astype("uint8"), folder / "roi.nii.gz"))]


def pace(out: Path, jobs: int) -> float:
    """Cases a second, from the first answers on."""
    with sqlite3.connect(out / LEDGER) as database:
        ends = sorted(
            row[0] for row in database.execute("SELECT changed FROM cases WHERE state = 'answered'")
        )
    return (len(ends) - jobs) / (ends[-1] - ends[jobs - 1])


def run_counted(line: list[str]) -> float:
    """Run a command to its end; gives its seconds of the processor, with those of its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def throughput(place: Path, bundle: Path, n: int) -> dict[str, object]:
    """One process on one core against one per core, in turns."""
    cores = os.cpu_count() or 1
    write_phantoms(place / "export", 4, 3)
    found = sorted(path for path in (place / "export").iterdir() if path.is_dir())
    table = write_table(place / "t.csv", [(one / "ct", one / "roi_reader1.dcm") for one in found], n)
    few = write_table(place / "few.csv", [(one / "ct", one / "roi_reader1.dcm") for one in found], n // 4)
    paces: dict[int, list[float]] = {1: [], cores: []}
    seconds: dict[int, list[float]] = {1: [], cores: []}
    load = os.getloadavg()[0]
    for turn in range(TURNS):
        for jobs in (1, cores):
            bound = ["taskset", "-c", str(turn % cores)] if jobs == 1 else []
            taken = []
            for name, asked in (("few", few), ("all", table)):
                out = place / f"{name}-{jobs}-{turn}"
                taken.append(run_counted([*bound, *command(bundle, asked, out, jobs)]))
            paces[jobs].append(pace(out, jobs))
            seconds[jobs].append((taken[1] - taken[0]) / (n - n // 4))
    one, each = (statistics.median(seconds[jobs]) for jobs in (1, cores))
    alone, all_cores = (statistics.median(paces[jobs]) for jobs in (1, cores))
    return {
        "cases": n,
        "cores": cores,
        "load": [load, os.getloadavg()[0]],
        "cases_a_second_one_core": [round(x, 3) for x in paces[1]],
        "cases_a_second_all_cores": [round(x, 3) for x in paces[cores]],
        "share_of_cores_times_one": round(all_cores / (cores * alone), 3),
        "processor_seconds_of_a_further_case_one_core": [round(x, 3) for x in seconds[1]],
        "processor_seconds_of_a_further_case_all_cores": [round(x, 3) for x in seconds[cores]],
        "share_by_processor_seconds": round(one / each, 3),
    }


def peaks(pid: int, known: dict[int, int]) -> None:
    """Note the highest resident memory of a process and its children in MiB."""
    children: list[str] = []
    for thread in (Path("/proc") / str(pid) / "task").glob("*"):  # each worker is started by a thread
        with contextlib.suppress(OSError):
            children += (thread / "children").read_text().split()
    for one in (pid, *map(int, children)):
        try:
            lines = (Path("/proc") / str(one) / "status").read_text().splitlines()
        except OSError:
            continue
        found = next((line for line in lines if line.startswith("VmHWM")), "")
        if found:
            known[one] = int(found.split()[1]) // 1024


def memory(place: Path, bundle: Path, n: int) -> dict[str, object]:
    """Highest memory of a run of so many rows."""
    table = write_table(place / f"m{n}.csv", small_cases(place / f"small-{n}"), n)
    known: dict[int, int] = {}
    started = time.monotonic()
    with subprocess.Popen(command(bundle, table, place / f"m-{n}", 1), stdout=-1, stderr=-3) as process:
        while process.poll() is None:
            peaks(process.pid, known)
            time.sleep(0.2)
    program = known.pop(process.pid)
    return {
        "rows": n,
        "program_mib": program,
        "workers_mib": sorted(known.values()),
        "seconds": round(time.monotonic() - started, 1),
        "answered": Ledger(place / f"m-{n}").count().get("answered", 0),
    }


def kills(place: Path, bundle: Path, n_kills: int, seed: int) -> dict[str, object]:
    """Kill a run at random moments until it has been killed so often; then let it end."""
    chance, jobs, n = random.Random(seed), 2, 12 * n_kills  # noqa: S311
    files = small_cases(place / "small")
    table, out = write_table(place / "k.csv", files, n), place / "k"
    killed, at = 0, []
    while killed < n_kills:
        with subprocess.Popen(command(bundle, table, out, jobs), stdout=-3, stderr=-3) as process:
            before = Ledger(out).count().get("answered", 0) if (out / LEDGER).exists() else 0
            wanted = before + chance.randrange(0, 12)
            while process.poll() is None:
                if (out / LEDGER).exists() and Ledger(out).count().get("answered", 0) >= wanted:
                    break
                time.sleep(0.003)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        killed += 1
        at.append(Ledger(out).count().get("answered", 0) if (out / LEDGER).exists() else 0)
    subprocess.run(command(bundle, table, out, jobs), check=True, capture_output=True)
    again = subprocess.run([*command(bundle, table, out, jobs), "--json"], check=True, capture_output=True)
    tries = Counter(row.tries for row in Ledger(out).rows())
    rows = (out / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
    names = [row.partition(",")[0] for row in rows]
    alone = [predict_files(bundle, FilesToPredict(image=ct, roi=roi, case_id="x")) for ct, roi in files]
    answers = [json.loads((out / "answers" / f"P{i:06d}.json").read_text(encoding="utf-8")) for i in range(n)]
    same = sum(
        answer["probabilities"] == dict(alone[i % len(files)].probabilities)
        for i, answer in enumerate(answers)
    )
    return {
        "kills": killed,
        "processes": jobs,
        "cases": n,
        "answered_when_killed": at,
        "rows_in_results": len(names),
        "cases_in_results": len(set(names)),
        "begun_once": tries[1],
        "begun_twice": tries[2],
        "begun_more_often": sum(tries.values()) - tries[1] - tries[2],
        "begun_in_vain": sum(number * count for number, count in tries.items()) - n,
        "with_the_digits_of_predict": same,
        "left_files": len(list(out.rglob("*.tmp"))),
        "computed_when_run_again": json.loads(again.stdout)["computed"],
    }


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="*", default=["throughput", "memory", "kills"])
    asked = parser.parse_args()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        tiny = make_bundle(place / "tiny")
        if "throughput" in asked.parts:
            found["throughput"] = throughput(place, asked.bundle or tiny, asked.cases)
        if "memory" in asked.parts:
            found["memory"] = [memory(place, tiny, n) for n in (100, asked.large)]
        if "kills" in asked.parts:
            found["kills"] = kills(place, tiny, asked.kills, asked.seed)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
