"""Every page in light and dark: contrast of all text, everything reached by keyboard, nothing too wide at 200 %."""

import pytest

from small_study import make_study
from tiny_bundle import make_bundle

CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => (value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest(":disabled, svg, script, [data-plane]")) continue;
    const [one, two] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (contrast < 4.5) low.push(`${contrast.toFixed(2)} ${element.tagName} ${text.slice(0, 30)}`);
  }
  return low;
}"""
PRESSABLE = """() => [...document.querySelectorAll("a[href], button, input, select, summary")]
  .filter((one) => one.checkVisibility() && !one.disabled && !one.closest("dialog:not([open])"))
  .filter((one) => one.type !== "radio" || one.checked).length"""
FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const all = window.seen ??= new Set();
  all.add(one);
  return one.matches("a[href], button, input, select, summary") ? all.size : -1;
}"""
COUNTED = (
    '() => [...window.seen].filter((one) => one.matches("a[href], button, input, select, summary")).length'
)
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("looks") / "study"
    make_study(root, 3)
    make_bundle(root.parent / "bundle")
    return root


def answered(server, study):
    """Addresses of every page, after the model was asked about the first case."""
    client = server.client()
    folder = client.post("/api/folders", {"path": str(study.parent / "bundle")})[1]["folder"]["id"]
    bundle = client.post("/api/bundles", {"folder": folder})[1]["id"]
    case = client.get("/api/cases")[1]["cases"][0]["id"]
    assert client.post(f"/api/cases/{case}/predict", {"bundle": bundle})[0] == 200
    client.post("/api/jobs", {"command": "check"})
    pages = ["/", "/import", "/doubts", "/steps", "/jobs", "/reading"]
    return [*pages, f"/case/{case}", f"/result/{case}", f"/annotators/{case}"]


def test_contrast_and_size(study, workstation, chromium):
    server = workstation(study)
    pages = answered(server, study)
    for scheme, width in (("light", 1920), ("dark", 1280), ("light", 640)):  # 640 is 1280 at 200 %
        context = chromium.new_context(viewport={"width": width, "height": 720}, color_scheme=scheme)
        page = context.new_page()
        page.goto(server.url, wait_until="networkidle")
        for path in pages:
            page.goto(server.origin + path)
            page.wait_for_timeout(300)
            assert page.evaluate(CONTRAST) == [], (path, scheme)
            assert not page.evaluate(TOO_WIDE), (path, width)
            assert page.title().endswith("nephroscope"), path
        context.close()


def test_keyboard_reaches_everything(study, workstation, page):
    server = workstation(study)
    pages = answered(server, study)
    page.goto(server.url, wait_until="networkidle")
    for path in pages:
        page.goto(server.origin + path)
        page.wait_for_timeout(400)
        wanted = page.evaluate(PRESSABLE)
        for _ in range(3 * wanted + 10):
            page.keyboard.press("Tab")
            page.evaluate(FOCUSED)
        assert page.evaluate(COUNTED) >= wanted, path
