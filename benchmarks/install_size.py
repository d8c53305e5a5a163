"""Size of each install in a new environment, as JSON: MB on disk, number of packages, and the largest of them.

python benchmarks/install_size.py [clinic train dev]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("clinic", "train", "dev")
MEASURE = """
import json, importlib.metadata as m
sizes = {}
for d in m.distributions():
    found = [f.locate() for f in d.files or []]
    sizes[d.metadata["Name"]] = sum(f.stat().st_size for f in found if f.is_file())
largest = sorted(sizes.items(), key=lambda row: -row[1])[:5]
total = sum(sizes.values())
nvidia = sum(n for name, n in sizes.items() if name.startswith(("nvidia", "cuda", "triton")))
print(json.dumps({"mb": round(total / 1e6), "of_it_for_gpu_mb": round(nvidia / 1e6), "packages": len(sizes),
                  "largest_mb": {name: round(n / 1e6) for name, n in largest}}))
"""


def size_of(kind: str) -> dict[str, object]:
    """Install requirements/KIND.txt into a new environment and add up its files."""
    with tempfile.TemporaryDirectory() as name:
        run("uv", "venv", "--quiet", "--python", sys.executable, name)
        run(
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            name,
            "--require-hashes",
            "-r",
            ROOT / "requirements" / f"{kind}.txt",
        )
        python = Path(name) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        found: dict[str, object] = json.loads(run(python, "-c", MEASURE))
    return found


def run(*command: object) -> str:
    """Run a command; gives what it prints."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    kinds = sys.argv[1:] or KINDS
    result = {
        "platform": sys.platform,
        "python": sys.version.split()[0],
        "installs": {k: size_of(k) for k in kinds},
    }
    print(json.dumps(result, indent=2))
