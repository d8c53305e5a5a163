"""Set up nephroscope and run it, with nothing but Python 3.11 and pip.

python dev.py demo [DIR] [options]   install everything, then `nephroscope demo`
python dev.py test [options]         install everything, then the tests
python dev.py lint | types | clinic  ruff, mypy, and an install without extras that predicts without torch
python dev.py docs                   the book as a site, into site/
python dev.py lowest | newest        a small study on the lowest or newest versions that pyproject.toml allows
python dev.py flower                 archives carried by Flower on loopback, in an environment of its own
python dev.py lock                   write requirements/*.txt anew from pyproject.toml
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
INTO = ("--quiet", "--python", VENV)
DEFAULT_DEMO = "nephroscope-demo"
CLINIC_LIMIT_MB = 320
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")  # long files first: tests/conftest.py
NETWORK = (
    "Did uv not reach its index? Behind a proxy set HTTPS_PROXY; if the error is about a certificate, the network "
    "inspects TLS: set UV_SYSTEM_CERTS=true (before uv 0.11 UV_NATIVE_TLS=true). See docs/how-to/clinic.md."
)


def call(*command: object) -> None:
    """Run a command and stop with its exit code when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def uv(*args: object) -> None:
    """Run uv; where it fails, say what helps on a hospital's network."""
    done = subprocess.run([find_uv(), *(str(part) for part in args)], cwd=ROOT, check=False)
    if done.returncode:
        print(NETWORK, file=sys.stderr)
        sys.exit(done.returncode)


def uv_or_none(*args: object, env: dict[str, str]) -> bool:
    """Run uv without a word; False when it fails."""
    command = [find_uv(), *(str(part) for part in args)]
    return subprocess.run(command, cwd=ROOT, check=False, env=env, capture_output=True).returncode == 0


def find_uv() -> str:
    """Path of uv, which is installed into a small environment of its own when it is not there."""
    found = shutil.which("uv")
    if found is None:
        tools = ROOT / ".venv-uv"
        binary = tools / BIN.name / "uv"
        if not binary.exists() and not binary.with_suffix(".exe").exists():
            call(sys.executable, "-m", "venv", tools)
            call(tools / BIN.name / "python", "-m", "pip", "install", "--quiet", "uv")
        found = str(binary)
    return found


def make_venv() -> None:
    """Make .venv, if it is not there."""
    if not (BIN / "python").exists() and not (BIN / "python.exe").exists():
        uv("venv", "--quiet", "--python", sys.executable, VENV)


def set_up(pinned: str = "dev.txt") -> None:
    """Make .venv with the pinned versions and this checkout; quick when nothing changed."""
    make_venv()
    uv("pip", "install", *INTO, "--require-hashes", "-r", ROOT / "requirements" / pinned)
    uv("pip", "install", *INTO, "--no-deps", "--editable", ROOT)


def set_up_light() -> None:
    """Make .venv without test tools, on Linux with a CPU build of torch (4 GB less) if its index can be reached."""
    make_venv()
    if sys.platform != "linux" or not with_cpu_torch():
        set_up("train.txt")


def with_cpu_torch() -> bool:
    """Install torch from the index of CPU builds that uv knows, and the rest as pinned; False if that fails."""
    blocks = (
        (ROOT / "requirements" / "train.txt").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    )
    torch = [line.split()[0] for line in blocks if line.startswith(("torch==", "torchvision=="))]
    quick = os.environ | {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "0"}
    done = uv_or_none("pip", "install", *INTO, "--torch-backend", "cpu", *torch, env=quick)
    if not done:
        return False
    with tempfile.TemporaryDirectory() as name:
        rest = Path(name) / "rest.txt"
        of_gpu = ("torch==", "torchvision==", "nvidia-", "cuda-", "triton==")
        rest.write_text("\n".join(line for line in blocks if not line.startswith(of_gpu)), encoding="utf-8")
        uv("pip", "install", *INTO, "--require-hashes", "--no-deps", "-r", rest)
    uv("pip", "install", *INTO, "--no-deps", "--editable", ROOT)
    return True


def demo(args: list[str]) -> None:
    """Set up without test tools, then the whole way on phantoms."""
    set_up_light()
    folder = [] if args and not args[0].startswith("-") else [DEFAULT_DEMO]
    call(BIN / "nephroscope", "demo", *folder, *args)


def test(args: list[str]) -> None:
    """Set up, then the tests, on all cores: a process each, one thread each."""
    set_up()
    os.environ["OMP_NUM_THREADS"] = "1"
    call(BIN / "python", "-m", "pytest", "-n", os.cpu_count() or 1, *BY_FILE, *args)


def docs(args: list[str]) -> None:
    """Set up, then the book: docs/ as a site in site/."""
    set_up()
    uv("pip", "install", *INTO, "--require-hashes", "-r", ROOT / "requirements" / "docs.txt")
    call(BIN / "python", ROOT / "docs" / "make_reference.py")
    strict = ("-W", "--keep-going", "-q", "-b", "html")
    call(BIN / "python", "-m", "sphinx", *strict, ROOT / "docs", ROOT / "site", *args)


def lint(args: list[str]) -> None:
    """Set up, then ruff."""
    set_up()
    call(BIN / "ruff", "check", *args)
    call(BIN / "ruff", "format", "--check", *args)


def types(args: list[str]) -> None:
    """Set up, then mypy on src."""
    set_up()
    call(BIN / "mypy", *args)


def clinic(args: list[str]) -> None:
    """Install the wheel without extras elsewhere: no torch, small, and `predict` works on a stored bundle.

    With the pinned versions, then with the lowest that pyproject.toml allows.
    """
    set_up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
        wheel = next(folder.glob("*.whl"))
        call(BIN / "python", ROOT / "tests" / "make_clinic_case.py", folder)
        pinned = ("--require-hashes", "-r", ROOT / "requirements" / "clinic.txt")
        for which, packages in (("pinned", pinned), ("lowest", ("--resolution", "lowest-direct", ROOT))):
            uv("venv", "--quiet", "--python", sys.executable, folder / which)
            target = ("--quiet", "--python", folder / which)
            uv("pip", "install", *target, *packages)
            uv("pip", "install", *target, "--no-deps", wheel)
            python = folder / which / BIN.name / "python"
            call(python, ROOT / "tests" / "clinic_check.py", folder, CLINIC_LIMIT_MB, *args)


def lowest(args: list[str]) -> None:
    """A small study from phantoms to an answer, on the lowest versions that pyproject.toml allows.

    With ``--cached`` only where uv has them in its cache: they are 3 GB.
    """
    at_versions("lowest-direct", args)


def newest(args: list[str]) -> None:
    """The same on the newest."""
    at_versions("highest", args)


def at_versions(resolution: str, args: list[str]) -> None:
    """Install versions chosen so into an environment of their own, and run a small study there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uv("venv", "--quiet", "--python", sys.executable, folder / "venv")
        install = ("pip", "install", "--quiet", "--python", folder / "venv", "--resolution", resolution)
        if "--cached" in args:
            args = [arg for arg in args if arg != "--cached"]
            if not uv_or_none(*install, "--offline", f"{ROOT}[train]", env=dict(os.environ)):
                print(f"{resolution}: not in uv's cache, so not tried here but by .ci/weekly")
                return
        else:
            uv(*install, f"{ROOT}[train]")
        call(folder / "venv" / BIN.name / "python", ROOT / "tests" / "lowest_check.py", folder, *args)


def flower(args: list[str]) -> None:
    """Hospitals together through Flower on loopback, in an environment of its own: its pins fit few programs."""
    with tempfile.TemporaryDirectory() as name:
        venv = Path(name) / "venv"
        uv("venv", "--quiet", "--python", sys.executable, venv)
        uv("pip", "install", "--quiet", "--python", venv, f"{ROOT}[train,federated,flower]")
        call(venv / BIN.name / "python", ROOT / "tests" / "flower_check.py", *args)


def wheel(args: list[str]) -> None:
    """Build the wheel into dist/."""
    uv("build", "--quiet", "--wheel", "--out-dir", ROOT / "dist", *args, ROOT)


def lock(args: list[str]) -> None:
    """Write the pinned versions: names, versions and hashes, no address."""
    options = (
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--quiet",
    )
    out = ROOT / "requirements"
    out.mkdir(exist_ok=True)
    project = ROOT / "pyproject.toml"
    uv("pip", "compile", *options, *args, "-o", out / "clinic.txt", project)
    uv("pip", "compile", *options, *args, "-o", out / "train.txt", "--extra", "train", project)
    station = ("--extra", "workstation", "--group", f"{project}:laptop")
    uv("pip", "compile", *options, *args, "-o", out / "workstation.txt", *station, project)
    uv(
        "pip",
        "compile",
        *options,
        *args,
        "-o",
        out / "dev.txt",
        "--extra",
        "train",
        "--extra",
        "workstation",
        "--extra",
        "federated",
        "--group",
        "dev",
        project,
    )
    uv("pip", "compile", *options, *args, "-o", out / "docs.txt", "--group", f"{project}:docs")


def main() -> None:
    """Run the verb that was asked for."""
    verbs = {
        "demo": demo,
        "test": test,
        "docs": docs,
        "lint": lint,
        "types": types,
        "clinic": clinic,
        "lowest": lowest,
        "newest": newest,
        "flower": flower,
        "wheel": wheel,
        "lock": lock,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in ([], ["-h"], ["--help"]) else 2)
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # in .venv, compiled modules halve the start of every process
    verbs[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
