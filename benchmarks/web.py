"""How long the page of a bundle takes to open and to answer 512 x 512 x 300 voxels, and how much memory, as JSON.

python benchmarks/web.py BUNDLE [--libraries FOLDER] [--slices 300]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from nephroscope.web.browser import Tab, browser, find_chromium
from nephroscope.web.golden_files import Scene, dicom_series, seg_file
from nephroscope.web.libraries import find_libraries
from nephroscope.web.page import Gate, make_page

SIZE, SPACING_MM, TUMOR_MM = 512, (1.0, 0.8, 0.8), 40.0


def make_case(n_slices: int) -> Scene:
    """A body with a tumor of 40 mm in ``n_slices`` slices of 512 x 512."""
    s, r, c = np.ogrid[:n_slices, :SIZE, :SIZE]
    body = ((r - 256) / 170) ** 2 + ((c - 256) / 220) ** 2 < 1
    hu = np.where(np.broadcast_to(body, (n_slices, SIZE, SIZE)), 40.0, -1000.0).astype(np.float32)
    hu += np.random.default_rng(0).normal(0, 12, hu.shape).astype(np.float32)
    away = sum(
        ((axis - middle) * mm) ** 2
        for axis, middle, mm in zip((s, r, c), (n_slices / 2, 280, 380), SPACING_MM, strict=True)
    )
    hu[away < (TUMOR_MM / 2 + 12) ** 2] -= 140
    tumor = np.asarray(away < (TUMOR_MM / 2) ** 2)
    hu[tumor] += 200
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = SPACING_MM, 1.0
    return Scene(hu=hu, tumor=tumor, affine=affine, uid="1.2.826.0.1.3680043.8.498.78.1")


def renderer(browser_pid: int) -> tuple[float, float]:
    """Largest memory in MB, and seconds of processor, that a renderer of this browser has had (Linux)."""
    peaks, seconds = [0.0], [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes()
            text = status.read_text()
        except OSError:
            continue
        if b"--type=renderer" in command and _descends(status.parent, browser_pid):
            peaks += [int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("VmHWM")]
            spent = (status.parent / "stat").read_text().rpartition(")")[2].split()[11:13]
            seconds.append(sum(map(int, spent)) / os.sysconf("SC_CLK_TCK"))
    return max(peaks), max(seconds)


def _descends(process: Path, ancestor: int) -> bool:
    while process.name not in ("0", "1"):
        if process.name == str(ancestor):
            return True
        parent = next(
            line for line in (process / "status").read_text().splitlines() if line.startswith("PPid")
        )
        process = Path("/proc") / parent.split()[1]
    return False


def choose(tab: Tab, selector: str, files: list[Path]) -> None:
    """Choose files, as a person does with the button."""
    root = tab.ask("DOM.getDocument")["root"]["nodeId"]
    node = tab.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    tab.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in files])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--libraries", type=Path)
    parser.add_argument("--slices", type=int, default=300)
    given = parser.parse_args()
    page, program = make_page(given.bundle, find_libraries(given.libraries)), find_chromium()
    if program is None:
        raise SystemExit("no Chromium")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        scene = make_case(given.slices)
        series = dicom_series(scene)
        for name, data in series.items():
            (folder / name).write_bytes(data)
        (folder / "roi.seg").write_bytes(seg_file(scene, {"Tumor": scene.tumor}))
        (folder / "answer.html").write_text(page.text(Gate(why="a benchmark")), encoding="utf-8")
        with browser(program) as (tab, pid):
            started = time.perf_counter()
            tab.open(folder / "answer.html")
            tab.evaluate("nephroscope.opened")
            opened, cpu_open = time.perf_counter(), renderer(pid)[1]
            choose(tab, "#input-files", [folder / name for name in series])
            while tab.evaluate("document.getElementById('draw').disabled"):
                time.sleep(0.02)
            read = time.perf_counter()
            choose(tab, "#input-roi", [folder / "roi.seg"])
            while tab.evaluate("document.getElementById('result').hidden"):
                time.sleep(0.02)
            answered = time.perf_counter()
            peak, cpu = renderer(pid)
            answer = tab.evaluate("nephroscope.answer()")
            measured = {
                "open_s": round(opened - started, 2),
                "read_s": round(read - opened, 2),
                "answer_s": round(answered - read, 2),
                "case_s": round(answered - opened, 2),
                "open_cpu_s": round(cpu_open, 2),
                "case_cpu_s": round(cpu - cpu_open, 2),
                "tumor_slices": len(answer["slices"]),
                "peak_renderer_mb": round(peak),
                "file_mb": round((folder / "answer.html").stat().st_size / 1e6, 1),
                "network_mb": round((given.bundle / "model.onnx").stat().st_size / 1e6, 1),
                "voxels": [given.slices, SIZE, SIZE],
            }
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
