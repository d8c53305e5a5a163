"""A wheel of one module, made in a moment, and the line that pins it."""

import hashlib
import zipfile


def tiny_wheel(folder, name="tiny", version="1.0", tag="py3-none-any"):
    """A wheel with one module that prints its name."""
    content = {
        f"{name}.py": f"print('{name} is here')\n",
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{name}-{version}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    content[f"{name}-{version}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in content)
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def pin(wheel):
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
