"""Two readers read six cases in a real browser while the server is killed twice; and the clock of a case."""

import json
import shutil
import sqlite3

import pytest

from test_reading_server import CASES, made, study  # noqa: F401

READY = "[data-testid='read-call-1']:not([disabled])"
CALLS = {"q": "PRCC", "w": "ChRCC", "0": "not sure"}
KEYS = {
    "R1": ["q4", "w1", "05"],
    "R2": ["w2", "q5", "03"],
}  # not sure with 5 is refused by the page: 3 is then given


class Reader:
    """A person with a browser and a code."""

    def __init__(self, chromium, name, code):
        self.name, self.code = name, code
        self.page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
        self.wrong, self.given = [], []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def sign_in(self, server, address):
        self.page.goto(server.url.replace("/?", f"{address}?"))
        self.page.get_by_test_id("read-sign-in-code").fill(self.code)
        self.page.get_by_test_id("read-sign-in").click()

    def has(self, testid):
        return self.page.get_by_test_id(testid).count() > 0

    def at(self):
        """Code of the case and arm that the reader has now; None when all is done."""
        self.page.locator(f"{READY}, [data-testid='read-done']").first.wait_for()
        if self.has("read-done"):
            return None
        arm = self.page.get_by_test_id("read-arm").get_attribute("data-arm")
        return self.page.get_by_test_id("read-case-code").inner_text(), arm

    def answer(self):
        """Answer by keyboard alone, and wait for what comes next."""
        before = self.at()
        call, rating = KEYS[self.name][len(self.given) % 3]
        self.page.keyboard.press(call)
        self.page.keyboard.press(rating)
        if self.page.get_by_test_id("read-why").inner_text():
            assert self.page.get_by_test_id("read-answer").is_disabled()
            self.page.keyboard.press(rating := "3")
        self.page.keyboard.press("Enter")
        self.given.append((CALLS[call], rating))
        code, arm = before
        same = f"[data-testid='read-panel'][data-code='{code}'][data-arm='{arm}']"
        self.page.locator(same).wait_for(state="detached")


def make_protocol(page, server):
    """The organizer's way through the form; gives the address for readers and their codes."""
    find = page.get_by_test_id
    page.goto(server.url)
    page.get_by_test_id("frame-reader-studies").click()
    find("reading-new").click()
    find("plan-title").fill("Papillary or chromophobe")
    find("plan-readers").fill("R1\nR2")
    find("plan-design").select_option("sequential")
    find("plan-model").select_option("bundle")
    find("plan-bundle").fill("bundle")
    find("plan-seed").fill("7")
    find("plan-search").fill("c0")
    for case in CASES:
        page.locator(f"[data-testid='plan-case'][data-case='{case}']").get_by_role("combobox").select_option(
            "case"
        )
    find("plan-check").click()
    digest = find("plan-digest").inner_text()
    find("plan-lock").click()
    assert find("reading-digest").inner_text() == digest
    codes = {
        row.get_attribute("data-reader"): row.get_by_test_id("reading-code").inner_text()
        for row in find("reading-reader").all()
    }
    return find("reading-address").get_attribute("href"), codes


def kept_ms(root):
    """Active time of reader R2 on the fifth answer."""
    db = sqlite3.connect(root / "workstation" / "workstation.sqlite")
    try:
        wanted = "SELECT sum(active_ms) FROM reading_time WHERE reader = 'R2' AND number = 4"
        return db.execute(wanted).fetchone()[0]
    finally:
        db.close()


def test_two_readers_six_cases_two_kills(study, workstation, chromium, page, capsys, tmp_path):  # noqa: F811
    from nephroscope.cli import run

    server = workstation(study)
    address, codes = make_protocol(page, server)
    one, two = (Reader(chromium, name, codes[name]) for name in ("R1", "R2"))

    one.sign_in(server, address)
    for _ in range(5):
        one.answer()
    case = one.at()
    one.page.wait_for_timeout(300)
    server.kill()
    one.page.get_by_test_id("read-no-server").wait_for()
    server = workstation(study, "--port", server.port)
    one.page.get_by_test_id("read-no-server").wait_for(state="detached")
    assert one.at() == case, "the page goes on by itself, at the same case"
    while one.at():
        one.answer()

    two.sign_in(server, address)
    for _ in range(4):
        two.answer()
    case = two.at()
    two.page.wait_for_timeout(300)
    server.kill()
    before = kept_ms(study)
    server = workstation(study)
    two.sign_in(server, address)
    assert two.at() == case, "another port, a new sign-in, the same case"
    two.page.wait_for_timeout(200)
    assert kept_ms(study) > before > 0, "with its time"
    while two.at():
        two.answer()
    assert (len(one.given), len(two.given), one.wrong, two.wrong) == (12, 12, [], [])

    page.goto(server.url, wait_until="networkidle")
    page.goto(f"{server.origin}{address.replace('/read/', '/reading/')}/result")
    page.get_by_test_id("result-times").wait_for()
    assert page.get_by_test_id("result-reader").count() == 5
    assert page.get_by_test_id("result-change").count() == 2
    assert page.get_by_test_id("result-by-model").count() == 8
    with page.expect_download() as download:
        page.get_by_test_id("result-csv").click()
    download.value.save_as(tmp_path / "calls.csv")
    lines = (tmp_path / "calls.csv").read_text().splitlines()[1:]
    answers = [tuple(line.split(",")[2:4]) for line in lines]
    assert answers == one.given + two.given
    server.kill()
    assert run(["readers", str(study), str(tmp_path / "calls.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "reader-contradicts" not in {finding["code"] for finding in found["findings"]}


def test_a_kill_while_a_case_is_being_opened(study, workstation, chromium, page):  # noqa: F811
    server = workstation(study)
    address, codes = make_protocol(page, server)
    one = Reader(chromium, "R1", codes["R1"])
    one.page.route("**/images/*/*/slice/**", lambda route: route.abort())
    one.sign_in(server, address)
    one.page.get_by_test_id("read-no-server").wait_for()
    server.kill()
    one.page.unroute("**/images/*/*/slice/**")
    workstation(study, "--port", server.port)
    one.page.get_by_test_id("read-no-server").wait_for(state="detached")
    case = one.at()
    one.answer()
    assert one.at() not in (None, case)


CLOCK = """async ([steps]) => {
  const { ReadingClock } = await import("/static/reading-clock.js");
  let now = 1000;
  const clock = new ReadingClock(() => now);
  clock.start();
  for (const [what, value] of steps) {
    if (what === "after") {
      for (const end = now + value; now < end;) { now = Math.min(now + 100, end); clock.count(); }
    } else if (what === "sleep") { now += value; clock.count(); }
    else if (what === "touched") clock.touched();
    else if (what === "hidden") clock.setHidden(value);
    else clock.setPaused(value);
  }
  return Object.values(clock.stop()).map(Math.round);
}"""


@pytest.mark.parametrize(
    ("steps", "spent"),
    [
        ([("after", 30_000)], [30_000, 0, 0, 0]),
        ([("after", 150_000)], [120_000, 30_000, 0, 0]),
        ([("after", 119_900), ("touched", 0), ("after", 119_900)], [239_800, 0, 0, 0]),
        ([("after", 130_000), ("touched", 0), ("after", 5_000)], [125_000, 10_000, 0, 0]),
        (
            [("after", 1_037), ("hidden", True), ("after", 500_000), ("hidden", False), ("after", 13)],
            [1_050, 0, 500_000, 0],
        ),
        (
            [("after", 700), ("paused", True), ("after", 9_000), ("paused", False), ("after", 300)],
            [1_000, 0, 0, 9_000],
        ),
        (
            [("paused", True), ("hidden", True), ("after", 400), ("paused", False), ("after", 200)],
            [0, 0, 200, 400],
        ),
        ([("after", 2_000), ("sleep", 3_600_000), ("after", 1_000)], [3_000, 0, 3_600_000, 0]),
        ([("after", 2_000), ("sleep", 4_000), ("after", 1_000)], [7_000, 0, 0, 0]),
        ([("sleep", -50), ("after", 200)], [150, 0, 0, 0]),
    ],
    ids=lambda value: None if isinstance(value[0], tuple) else "-".join(map(str, value)),
)
def test_time_is_sorted_to_the_millisecond(clock_page, steps, spent):
    assert clock_page.evaluate(CLOCK, [steps]) == spent


@pytest.fixture(scope="module")
def clock_page(chromium, made):  # noqa: F811
    from workstation_browser import Server

    folder = made.parent / "clock"
    shutil.rmtree(folder, ignore_errors=True)
    server = Server(folder)
    page = chromium.new_page()
    page.goto(server.url)
    yield page
    page.close()
    server.kill()
