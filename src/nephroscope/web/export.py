"""Write the page of a bundle, after a browser gave for every golden case what `predict` gives."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import ConfigError
from nephroscope.base.files import file_digest, replacing
from nephroscope.clinic.bundle import open_bundle
from nephroscope.web.browser import browser, find_chromium
from nephroscope.web.gate import check_page
from nephroscope.web.golden import golden_cases
from nephroscope.web.libraries import find_libraries
from nephroscope.web.page import Gate, Page, make_page

CASES = 200
NO_BROWSER = "no Chromium, Chrome or Edge was found on the computer that made it"


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """A page that was written.

    Attributes:
        sha256: Of the whole file.
        gate: Whether a browser reproduced the golden cases.
    """

    path: Path
    n_bytes: int
    sha256: str
    gate: Gate


def check_new_page(out: Path) -> None:
    """Refuse the name of a page that exists or is no HTML file.

    Raises:
        ConfigError: It is so.
    """
    if out.suffix.lower() not in (".html", ".htm") or out.exists():
        raise ConfigError(
            where="--web",
            expected="the name of a new file that ends in .html",
            found=f"the existing {out.name}" if out.exists() else out.name,
            remedy="choose another name, or remove it; nothing was changed",
        )


def export_page(bundle: Path, out: Path, libraries: Path | None = None, cases: int = CASES) -> WebPage:
    """Write the page of a bundle into a new file, or nothing.

    Args:
        bundle: Its folder.
        out: The file.
        libraries: Folder with the tarballs of the JavaScript libraries; None lets npm download them.
        cases: How many golden cases a browser must reproduce.

    Raises:
        BundleError: The bundle is damaged, needs more than the slices of one series, is too large for a page, or the
            browser says something else than `predict`.
        ConfigError: ``out`` exists, a library is missing, or the browser does not answer.
    """
    check_new_page(out)
    page = make_page(bundle, find_libraries(libraries))
    gate = _gate(page, bundle, cases)
    with replacing(out) as temporary:
        temporary.write_text(page.text(gate), encoding="utf-8", newline="\n")
    return WebPage(path=out, n_bytes=out.stat().st_size, sha256=file_digest(out), gate=gate)


def _gate(page: Page, bundle: Path, cases: int) -> Gate:
    """What the page says of its proof."""
    program = find_chromium()
    if program is None:
        return Gate(why=NO_BROWSER)
    with tempfile.TemporaryDirectory() as folder, browser(program) as (tab, _):
        draft = Path(folder) / "page.html"
        draft.write_text(page.text(Gate(why="it is being proven")), encoding="utf-8", newline="\n")
        tab.open(draft)
        tab.evaluate("nephroscope.opened")
        largest = check_page(tab, open_bundle(bundle), golden_cases(cases), cases)
        name = str(tab.ask("Browser.getVersion").get("product", "Chromium"))
    return Gate(run=True, cases=cases, browser=name, largest_difference=largest)
