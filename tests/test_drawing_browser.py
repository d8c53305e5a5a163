"""A reader draws in a real browser: slices, a kill between, interpolation, undo, signing; two are compared."""

import csv

import highdicom
import numpy as np

from nephroscope import Study, read_ct, read_roi
from phantoms import SHAPE, box_tumor
from workstation_study import undrawn_study

SCRIPTED = """([x1, y1, x2, y2]) => {
  const canvas = document.querySelector('[data-testid="viewer-canvas"]');
  const about = (x, y) => ({ clientX: x, clientY: y, button: 0, bubbles: true });
  const send = (name, x, y) => canvas.dispatchEvent(new PointerEvent(name, about(x, y)));
  send("pointerdown", x1, y1); send("pointermove", x2, y2); send("pointerup", x2, y2);
}"""


def open_case(page, server):
    client = server.client()
    case = client.get("/api/cases")[1]["cases"][0]["id"]
    page.goto(server.url, wait_until="networkidle")  # a request cut off by the next page would be an error
    page.goto(f"{server.origin}/case/{case}")
    page.wait_for_selector('[data-testid="viewer-canvas"][data-ready="1"]')
    return case


def begin(page, author):
    page.select_option('[data-testid="draw-reader"]', author)
    page.click('[data-testid="draw-begin"]')
    page.wait_for_selector('[data-testid="draw-brush"]')


class Canvas:
    """Turns voxels into places on the screen, as the reference says."""

    def __init__(self, page):
        self.page, self.canvas = page, page.locator('[data-testid="viewer-canvas"]')

    def of(self, name):
        return float(self.canvas.get_attribute(f"data-{name}"))

    def go_to(self, index):
        self.canvas.focus()
        steps = index - int(self.of("slice"))
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowUp" if steps > 0 else "ArrowDown")
        assert int(self.of("slice")) == index

    def place(self, row, column):
        box = self.canvas.bounding_box()
        x = box["x"] + self.of("left") + (column + 0.5) * self.of("scale-x")
        return x, box["y"] + self.of("top") + (row + 0.5) * self.of("scale-y")

    def drag(self, *voxels):
        self.page.mouse.move(*self.place(*voxels[0]))
        self.page.mouse.down()
        for voxel in voxels[1:]:
            self.page.mouse.move(*self.place(*voxel), steps=3)
        self.page.mouse.up()

    def saved(self, revision):
        self.page.wait_for_selector(
            f'[data-testid="draw-saved"][data-state="saved"][data-revision="{revision}"]'
        )

    def facts(self):
        return self.page.locator('[data-testid="draw-facts"]').get_attribute("data-slices").split()


def test_a_tumor_is_drawn_killed_interpolated_undone_signed_and_read_back(tmp_path, workstation, page):
    root = undrawn_study(tmp_path / "study")
    server = workstation(root)
    open_case(page, server)
    assert page.text_content('[data-testid="viewer-canvas-letter-left"]') == "R"
    assert page.text_content('[data-testid="viewer-canvas-letter-right"]') == "L"
    begin(page, "reader-1")
    canvas = Canvas(page)
    page.locator('[data-testid="draw-size"]').fill("30")
    for number, index in enumerate((0, 2), start=1):
        canvas.go_to(index)
        canvas.drag((10, 10), (10, 20), (20, 20), (20, 10), (10, 10))
        canvas.saved(number)
    server.kill()
    again = workstation(root, "--port", server.port)
    open_case(page, again)
    begin(page, "reader-1")
    canvas = Canvas(page)
    assert canvas.facts() == ["0", "2"]
    canvas.go_to(4)
    page.keyboard.press("p")
    for row, column in ((8, 8), (8, 22), (22, 22), (22, 8)):
        page.mouse.click(*canvas.place(row, column))
    page.keyboard.press("Enter")
    canvas.saved(3)
    page.keyboard.press("b")
    page.evaluate(SCRIPTED, [*canvas.place(15, 30), *canvas.place(15, 34)])
    canvas.saved(4)
    page.keyboard.press("Control+z")
    canvas.saved(5)
    page.keyboard.press("i")
    canvas.saved(6)
    assert canvas.facts() == ["0", "1", "2", "3", "4"]
    page.keyboard.press("Control+z")
    canvas.saved(7)
    assert canvas.facts() == ["0", "2", "4"]
    page.keyboard.press("Control+y")
    canvas.saved(8)
    page.click('[data-testid="draw-sign"]')
    page.click('[data-testid="draw-sign-confirm"]')
    page.wait_for_selector('[data-testid="draw-signed"]')
    roi = page.get_attribute('[data-testid="rois-reader-1"]', "data-roi")
    kept = again.client().get(f"/api/rois/{roi}/slices")[1]["slices"]
    drawn = np.zeros(SHAPE, bool)
    for one in kept:
        for row, first, last in one["runs"]:
            drawn[one["index"], row, first : last + 1] = True
    with (root / "rois.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    ct = read_ct(root / "ct" / "c0" / "nephrographic")
    assert np.array_equal(read_roi(root / row["roi"], ct).voxels, drawn)
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [0, 1, 2, 3, 4]
    assert drawn[4, 10:21, 10:21].all()


def test_a_draft_is_downloaded_as_soon_as_it_is_drawn(tmp_path, workstation, page):
    open_case(page, workstation(undrawn_study(tmp_path / "study")))
    begin(page, "reader-1")
    canvas = Canvas(page)
    canvas.drag((10, 10), (10, 20))
    canvas.saved(1)
    with page.expect_download() as found:
        page.click('[data-testid="rois-seg-reader-1"]')
    draft = highdicom.seg.segread(found.value.path())
    voxels = int(page.get_attribute('[data-testid="draw-facts"]', "data-voxels"))
    assert draft.get_volume(segment_numbers=[1], combine_segments=True).array.sum() == voxels > 0


def test_a_stroke_stays_on_its_slice_and_with_its_reader(tmp_path, workstation, page):
    server = workstation(undrawn_study(tmp_path / "study"))
    open_case(page, server)
    begin(page, "reader-1")
    canvas = Canvas(page)
    canvas.go_to(2)
    page.route("**/strokes", lambda route: route.abort())
    page.mouse.move(*canvas.place(10, 10))
    page.mouse.down()
    page.mouse.wheel(0, 100)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Control+z")
    page.mouse.move(*canvas.place(10, 20))
    assert canvas.of("slice") == 2
    page.mouse.up()
    page.wait_for_selector('[data-testid="draw-saved"][data-state="lost"]')
    page.select_option('[data-testid="draw-reader"]', "reader-2")
    page.click('[data-testid="draw-begin"]')
    assert page.locator('[data-testid="draw-begin"]').is_disabled(), "until the stroke is kept"
    page.unroute("**/strokes")
    page.wait_for_selector('[data-testid="rois-reader-2"]')
    canvas.saved(0)
    assert canvas.facts() == []
    begin(page, "reader-1")
    canvas.saved(1)
    assert canvas.facts() == ["2"]
    page.keyboard.press("t")
    page.evaluate("viewer.first.have[2] = 0")
    canvas.drag((25, 10), (25, 20))
    canvas.saved(1)
    page.evaluate("viewer.first.have[2] = 1")
    canvas.drag((25, 10), (25, 20))
    canvas.saved(2)
    page.select_option('[data-testid="viewer-plane"]', "coronal")
    page.click('[data-testid="draw-clear"]')
    canvas.saved(3)
    assert canvas.facts() == [], "the axial slice at the place that is shown"


def test_a_series_that_cannot_be_shown_says_why(tmp_path, workstation, page):
    root = undrawn_study(tmp_path / "study")
    (root / "ct" / "c0" / "nephrographic" / "IM003").unlink()
    server = workstation(root)
    case = server.client().get("/api/cases")[1]["cases"][0]["id"]
    page.goto(server.url, wait_until="networkidle")  # a request cut off by the next page would be an error
    page.goto(f"{server.origin}/case/{case}")
    page.wait_for_selector('[data-testid="viewer-refused"]')
    assert "between IM 3" in page.text_content('[data-testid="viewer-refused"]')


def test_two_readers_are_compared_when_both_have_signed(tmp_path, workstation, page):
    root = undrawn_study(tmp_path / "study")
    server = workstation(root)
    middle = int(np.argwhere(box_tumor()).mean(axis=0)[0])
    for author in ("reader-1", "reader-2"):
        case = open_case(page, server)
        begin(page, author)
        canvas = Canvas(page)
        canvas.go_to(middle + (author == "reader-2"))
        canvas.drag((12, 12), (12, 18))
        canvas.saved(1)
        if author == "reader-2":
            assert page.get_attribute('[data-testid="rois-reader-1"]', "data-hidden") == "true"
        page.goto(f"{server.origin}/annotators/{case}")
        page.wait_for_selector('[data-testid="annotators-apart"]')
        page.goto(f"{server.origin}/case/{case}")
        page.wait_for_selector('[data-testid="draw-sign"]')  # goes on where the draft is
        page.click('[data-testid="draw-sign"]')
        page.click('[data-testid="draw-sign-confirm"]')
        page.wait_for_selector('[data-testid="draw-signed"]')
    page.goto(f"{server.origin}/annotators/{case}")
    page.wait_for_selector('[data-testid="annotators-dice"]')
    assert page.text_content('[data-testid="annotators-dice"]') == "0.000"
    page.click(f'[data-testid="annotators-slice-{middle + 1}"]')
    assert int(Canvas(page).of("slice")) == middle + 1
    page.click('[data-testid="annotators-consensus-union"]')
    page.wait_for_selector("#said .done")
    report = Study(root).agreement()
    assert report.cases[0].decision == "union"


def test_what_is_no_number_is_said_and_not_taken_for_nothing(tmp_path, workstation, page):
    """A browser gives "1e" in a field of numbers as an empty text, of which Number makes 0."""
    root = undrawn_study(tmp_path / "study")
    server = workstation(root)
    open_case(page, server)
    begin(page, "reader-1")
    limits = """async ([low, high]) => {
      const { limitsIn } = await import("/static/draw-tools.js");
      const field = (value) => Object.assign(document.createElement("input"), { type: "number", value });
      const { low: from, high: to } = limitsIn(field(low), field(high));
      return [String(from), String(to)];
    }"""
    assert page.evaluate(limits, ["-20", ""]) == ["-20", "Infinity"]
    assert page.evaluate(limits, ["", "0"]) == ["-Infinity", "0"]
    page.focus('[data-testid="draw-low"]')
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("1e")
    assert page.locator('[data-testid="draw-low"]').input_value() == ""
    page.click('[data-testid="draw-threshold-brush"]')
    canvas = Canvas(page)
    canvas.go_to(4)
    canvas.drag((9, 9), (9, 12))
    canvas.saved(1)
    assert canvas.facts() == []
    client = server.client()
    page.goto(f"{server.origin}/steps", wait_until="networkidle")
    for text in ("1e", "", "-1"):
        page.focus('[data-testid="steps-holdout"]')
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.press("Delete")
        page.keyboard.type(text)
        page.click('[data-testid="steps-split"]')
        page.wait_for_selector('[data-testid="page-messages"] .error')
    assert client.get("/api/jobs")[1]["jobs"] == []
