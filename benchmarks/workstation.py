"""The workstation in headless Chromium, 512 x 512 x 300: first slice, scrolling, brush, memory of the server.

    python benchmarks/workstation.py [--cases 100] [--case-slices 60] [--strokes 200]

Prints JSON. ``first_slice_s`` runs from the click in the list of patients to the painted slice, of a series that was
never read before. ``scroll`` and ``brush`` are milliseconds from the time stamp of the event to the end of drawing
(``drawn``), of which the page's own work is ``own`` and the rest is the browser's, and to the next frame after it
(``frame``, which waits for 60 per second of the screen). Memory is the resident size of the server.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
WATCH = """
new MutationObserver(() => {
  const canvas = document.querySelector('[data-testid="viewer-canvas"][data-ready="1"]');
  if (canvas && !window.firstSlice) window.firstSlice = Date.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"] });
window.times = { drawn: [], own: [], frame: [] };
for (const name of ["wheel", "pointerrawupdate"]) {
  window.addEventListener(name, (event) => {
    if (!window.counting) return;
    const start = event.timeStamp;
    const handled = performance.now();
    const canvas = event.target;
    canvas.addEventListener(name, () => {
      window.times.drawn.push(performance.now() - start);
      window.times.own.push(performance.now() - handled);
    }, { once: true });
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.times.frame.push(performance.now() - start);
      channel.port2.postMessage(0);
    });
  }, { capture: true, passive: true });
}
"""


def make_series(folder, n_slices):
    """A DICOM series of a body with a tumor, 512 x 512."""
    from phantoms import dicom_slices, set_stored, write_slices

    rows, columns = np.ogrid[:512, :512]
    body = np.where(((rows - 256) / 170) ** 2 + ((columns - 256) / 230) ** 2 < 1, 40, -1000)
    noise = np.random.default_rng(0).normal(0, 12, (8, 512, 512)).round()
    template, images = dicom_slices("P1")[0], []
    import copy

    from pydicom.uid import generate_uid

    for index in range(n_slices):
        image = copy.deepcopy(template)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.Rows = image.Columns = 512
        image.PixelSpacing, image.SliceThickness = [0.75, 0.75], 1.0
        image.InstanceNumber = index + 1
        image.ImagePositionPatient = [-190, -190, float(index)]
        radius = 90**2 - (index - n_slices / 2) ** 2
        tumor = (rows - 270) ** 2 + (columns - 160) ** 2 < radius / 4
        set_stored(image, (np.where(tumor, 90, body) + noise[index % 8] + 1100).clip(0, 4095))
        image.RescaleIntercept = -1100
        images.append(image)
    return write_slices(images, folder)


def make_study(root, n_slices, n_cases, case_slices):
    """The large series as one case, and many small cases that share files by hard links."""
    from nephroscope import Study
    from nephroscope.records import Case, Cohort, SeriesRef
    from nephroscope.study.cohort_table import save_cohort

    Study.create(root, ["PRCC", "ChRCC"])
    large = make_series(root / "ct" / "large", n_slices)
    small = sorted(large.iterdir())[:case_slices]
    folders = {"large": large}
    for number in range(n_cases):
        folder = root / "ct" / f"c{number}"
        folder.mkdir()
        for path in small:
            os.link(path, folder / path.name)
        folders[f"c{number}"] = folder
    cases = tuple(
        Case(case_id=name, patient_id=name, series=(SeriesRef(name="ct", image=folder, format="dicom"),))
        for name, folder in folders.items()
    )
    save_cohort(Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=cases), root)


def p95(values):
    """Median, 95th percentile and number of the times."""
    return {
        "median": round(float(np.median(values)), 2),
        "p95": round(float(np.percentile(values, 95)), 2),
        "n": len(values),
    }


def taken(page):
    """The times since the last call."""
    found = page.evaluate(
        "() => { const found = window.times; window.times = {drawn: [], own: [], frame: []}; return found; }"
    )
    return {name: p95(values) for name, values in found.items()}


def in_browser(server, client, strokes):
    """First slice, scrolling and brush."""
    from playwright.sync_api import sync_playwright

    from workstation_browser import CHROMIUM

    case = next(one["id"] for one in client.get("/api/cases")[1]["cases"] if one["case_id"] == "large")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        page.goto(server.url)
        time.sleep(3)  # a person looks at the list
        link = f'a[href="/case/{case}"]'
        page.wait_for_selector(link)
        clicked = page.evaluate(
            "(link) => { const now = Date.now(); document.querySelector(link).click(); return now; }", link
        )
        page.wait_for_url(f"**/case/{case}")
        page.wait_for_function("() => window.firstSlice")
        first = page.evaluate("() => window.firstSlice") - clicked
        page.wait_for_selector('[data-testid="viewer-canvas"][data-loaded="1.000"]', timeout=120000)
        whole = page.evaluate("() => Date.now()") - clicked
        box = page.locator('[data-testid="viewer-canvas"]').bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.evaluate("() => { window.counting = true; }")
        for number in range(strokes):
            page.mouse.wheel(0, 60 if number % 100 < 50 else -60)
        time.sleep(0.5)
        scroll = taken(page)
        page.evaluate("() => { window.counting = false; }")
        page.select_option('[data-testid="draw-reader"]', "reader-1")
        page.click('[data-testid="draw-begin"]')
        page.wait_for_selector('[data-testid="draw-brush"]')
        page.mouse.move(x - 150, y)
        page.mouse.down()
        page.evaluate("() => { window.counting = true; }")
        for number in range(strokes):
            page.mouse.move(x - 150 + 2 * (number % 150), y + 40 * np.sin(number / 9))
        page.mouse.up()
        page.wait_for_selector('[data-testid="draw-saved"][data-state="saved"][data-revision="1"]')
        brush = taken(page)
        browser.close()
    return {
        "first_slice_s": first / 1000,
        "whole_series_s": whole / 1000,
        "scroll_ms": scroll,
        "brush_ms": brush,
    }


def memory_mb(pid):
    """Resident size of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def open_cases(server, client):
    """Resident MB after every tenth case whose slices were all asked for."""
    sizes = []
    cases = [one["id"] for one in client.get("/api/cases")[1]["cases"] if one["case_id"] != "large"]
    for number, case in enumerate(cases, start=1):
        (series,) = client.get(f"/api/cases/{case}/series")[1]["series"]
        n = client.get(series["address"])[1]["shape"][0]
        client.get(f"{series['address']}/slice/axial/{n // 2}")
        for first in range(0, n, 16):
            client.get(f"{series['address']}/slices/axial/{first}-{min(first + 16, n) - 1}")
        client.get(f"{series['address']}/slice/coronal/256")
        if number % 10 == 0:
            sizes.append(memory_mb(server.pid))
    return sizes


def processor():
    """Name and vector instructions of the processor."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in lines.items()}
    flags = [flag for flag in named.get("flags", "").split() if flag.startswith(("avx", "amx", "fma"))]
    return {"name": named.get("model name", ""), "cores": os.cpu_count(), "features": flags}


def main():
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--case-slices", type=int, default=60)
    parser.add_argument("--strokes", type=int, default=200)
    options = parser.parse_args()
    from workstation_browser import Server

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        make_study(root, options.slices, options.cases, options.case_slices)
        server = Server(root)
        try:
            client = server.client()
            found = in_browser(server, client, options.strokes)
            sizes = open_cases(server, client)
        finally:
            server.kill()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(
        json.dumps(
            {**found, "server_mb_every_10_cases": sizes, "load": load, "processor": processor()}, indent=1
        )
    )


if __name__ == "__main__":
    main()
