"""A bundle as one HTML text: libraries, network, rules and scripts with their digests; no connection is allowed."""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.errors import BundleError, ConfigError
from nephroscope.base.version import __version__
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.bundle_file import EMBEDDING
from nephroscope.web.libraries import LICENSE, pinned_libraries, read_library
from nephroscope.web.rules import page_rules
from nephroscope.web.scripts import OURS, SHARED, joined, modules

MOST_BYTES = 25_000_000
MODULE = ' type="module"'
FEW_REFERENCE = 2  # slices that are compared when the page is opened
ORT, DICOM, LOSSLESS = "onnxruntime-web", "dicom-parser", "jpeg-lossless-decoder-js"
OPENJPEG, CHARLS = "@cornerstonejs/codec-openjpeg", "@cornerstonejs/codec-charls"
# Scripts of the libraries: package, file, and the name under which the page finds what a module exports.
SCRIPTS = (
    (DICOM, "dist/dicomParser.min.js", ""),
    (OPENJPEG, "dist/openjpegwasm_decode.js", ""),
    (CHARLS, "dist/charlswasm_decode.js", ""),
    (LOSSLESS, "release/lossless-min.js", "JpegLossless"),
    (ORT, "dist/ort.wasm.bundle.min.mjs", "ort"),
)
BINARIES = (
    (ORT, "dist/ort-wasm-simd-threaded.wasm"),
    (OPENJPEG, "dist/openjpegwasm_decode.wasm"),
    (CHARLS, "dist/charlswasm_decode.wasm"),
)
# Fields of bundle.json that the page uses, or that say nothing of how a case is answered.
KNOWN_FIELDS = {
    *("format", "research_use_only", "subtypes", "positive", "slices", "slices_digest", "operating_point"),
    *("not_sure_margin", "applicability", "training", "sha256", "needs", "evaluation", "nephroscope", "made"),
    *("model", "recipe", "reference", "digest", "outside", "sets"),
}
POLICY = (
    "default-src 'none'; script-src 'wasm-unsafe-eval' {scripts}; style-src {styles}; img-src data: blob:; "
    "connect-src 'none'; form-action 'none'; base-uri 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether a browser reproduced the golden cases.

    Attributes:
        run: False where there was no browser.
        cases: Number of cases that it reproduced: all of them.
        browser: Its name and version.
        why: Why it was not run.
        largest_difference: Of a probability, over all cases.
    """

    run: bool = False
    cases: int = 0
    browser: str = ""
    why: str = ""
    largest_difference: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page before it is written."""

    before: str
    after: str
    about: Mapping[str, Any]

    def text(self, gate: Gate) -> str:
        """The whole HTML, which says whether the gate was passed."""
        return self.before + _json({**self.about, "gate": asdict(gate)}) + self.after


def check_answerable(bundle: Path) -> None:
    """Refuse a bundle that needs more than the slices of one series: the page must not guess.

    Raises:
        BundleError: It does.
    """
    content = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    more = [name for name, value in content.items() if name not in KNOWN_FIELDS and value]
    more += [f"needs.{name}" for name, value in (content.get("needs") or {}).items() if value]
    more += ["slices.phases"] if content["slices"].get("phases") else []
    if more:
        raise BundleError(
            where=f"export --web, bundle {bundle.name}",
            expected="a bundle that answers from the slices of one series alone",
            found=f"one that also uses {', '.join(more)}, which the page does not know",
            remedy="use `nephroscope predict` or `nephroscope laptop`, or train without them; no page was written",
        )


def make_page(bundle: Path, tarballs: Mapping[str, Path]) -> Page:
    """The page of a bundle.

    Args:
        bundle: Its folder.
        tarballs: Of `find_libraries`.

    Raises:
        BundleError: The bundle is damaged or needs more than the slices of one series, or the page is too large.
    """
    opened, pins = open_bundle(bundle), pinned_libraries()
    check_answerable(bundle)
    content = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    with np.load(bundle / "reference.npz", allow_pickle=False) as stored:
        hu, logits = stored["hu"][:FEW_REFERENCE], stored["logits"][:FEW_REFERENCE]
    needed = {
        pin.name: [member for name, member, *_ in (*SCRIPTS, *BINARIES) if name == pin.name] for pin in pins
    }
    read = {name: read_library(tarballs[name], members) for name, members in needed.items()}
    parts = {member.rpartition("/")[2]: read[name][member] for name, member in BINARIES}
    parts["reference.i16"] = hu.astype("<i2").tobytes()
    parts["model.onnx"] = (bundle / "model.onnx").read_bytes()
    if EMBEDDING in opened.about.sha256:
        parts[EMBEDDING] = (bundle / EMBEDDING).read_bytes()
    scripts = [_script(read[name][member].decode(), given) for name, member, given in SCRIPTS]
    scripts.append((MODULE, _harmless(_code())))
    rules = _json(page_rules())
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    sha256["scripts"] = hashlib.sha256("".join(text for _, text in scripts).encode()).hexdigest()
    sha256["rules"] = hashlib.sha256(rules.encode()).hexdigest()
    about = {
        "nephroscope": __version__,
        "bundle": content,
        "reference": {
            "shape": hu.shape,
            "logits": logits.astype(float).tolist(),
            "shows": opened.about.reference,
        },
        "sha256": sha256,
        "digest": hashlib.sha256(_json(sha256).encode()).hexdigest(),
        "libraries": [
            asdict(pin) | {"text": read[pin.name][LICENSE].decode("utf-8", "replace")} for pin in pins
        ],
    }
    page = _assembled(scripts, rules, parts, about)
    check_size(page, len(parts["model.onnx"]), len(opened.about.training.networks))
    return page


def check_size(page: Page, network: int, n_networks: int) -> None:
    """Refuse a page above `MOST_BYTES`.

    Args:
        page: With everything.
        network: Bytes of the ONNX file.
        n_networks: That are in it.

    Raises:
        BundleError: It is.
    """
    size = len(page.text(Gate()).encode())
    if size <= MOST_BYTES:
        return
    of = "network" if n_networks < 2 else f"{n_networks} networks"
    raise BundleError(
        where="export --web",
        expected=f"a page of at most {MOST_BYTES / 1e6:.0f} MB",
        found=f"{size / 1e6:.1f} MB: the {of} of the bundle alone have {network / 1e6:.1f} MB",
        remedy=("export the network of one fold alone (--fold 0), or " if n_networks > 1 else "")
        + "train a smaller network (--model shufflenet_v2_x1_0, or --width 0.5); no page was written",
    )


def _code() -> str:
    """Our own script."""
    texts = modules()
    return f"{texts.pop('parts.js')}\n{joined(texts)}"


def _assembled(
    scripts: Sequence[tuple[str, str]], rules: str, parts: Mapping[str, bytes], about: Mapping[str, Any]
) -> Page:
    styles = (SHARED / "common.css", SHARED / "viewer.css", OURS / "page.css")
    style = "\n".join(path.read_text(encoding="utf-8") for path in styles)
    policy = POLICY.format(scripts=" ".join(_hash(text) for _, text in scripts), styles=_hash(style))
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>nephroscope</title>\n<style>{style}</style>\n</head>\n"
    )
    body = (OURS / "page.html").read_text(encoding="utf-8")
    packed = [
        (name, base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()) for name, data in parts.items()
    ]
    lines = [f'</script>\n<script type="application/json" id="rules">{rules}</script>']
    lines += [f'<script type="text/plain" id="part-{name}">{text}</script>' for name, text in packed]
    lines += [f"<script{kind}>{text}</script>" for kind, text in scripts]
    return Page(
        before=f'{head}{body}\n<script type="application/json" id="page">',
        after="\n".join([*lines, "</body>\n</html>\n"]),
        about=about,
    )


def _script(text: str, given: str) -> tuple[str, str]:
    """Kind and text of a library's script; what a module exports becomes a global object."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL"))
    if not given:
        return "", _harmless(text)
    head, found, names = text.rstrip().rpartition("export{")
    if not found or not names.endswith("};"):
        raise ConfigError(
            where="a library of the page",
            expected="a module that names what it exports at its end",
            found="another",
            remedy="install nephroscope again",
        )
    pairs = [part.split(" as ") for part in names.removesuffix("};").split(",")]
    fields = ",".join(f"{pair[-1]}:{pair[0]}" for pair in pairs if pair[-1] != "default")
    return MODULE, _harmless(f"{head}globalThis.{given}={{{fields}}};")


def _harmless(text: str) -> str:
    """A script in which nothing ends its element or begins a comment."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")
