"""A program that draws for tests of `nephroscope segment`: it does what its last word says, well or badly."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HEADER = 352


def read(path):
    """Header and voxels (C, R, S) of a NIfTI file of ours, with NumPy alone."""
    content = gzip.decompress(Path(path).read_bytes())
    shape = np.frombuffer(content, "<i2", 3, 42)
    return content[:HEADER], np.frombuffer(content, "<i2", int(np.prod(shape)), HEADER).reshape(
        shape, order="F"
    )


def write(path, header, labels, kind=2):
    """A label map with the header of the image; ``kind`` is the NIfTI datatype."""
    made = bytearray(header)
    made[40:48] = np.array([3, *labels.shape], "<i2").tobytes()
    bits = {2: 8, 16: 32}[kind]
    made[70:74] = np.array([kind, bits], "<i2").tobytes()
    voxels = labels.astype({2: np.uint8, 16: "<f4"}[kind])
    Path(path).write_bytes(gzip.compress(bytes(made) + voxels.tobytes(order="F"), 1))


def main(image, output, does, *more):  # noqa: C901, PLR0915 - one way to fail after another
    header, hu = read(image)
    drawn = (hu > 70) & (hu < 120)
    if does == "sleep":
        subprocess.Popen([sys.executable, "-c", f"import os, time; os.setsid(); time.sleep({more[0]})"])
        time.sleep(60)
    if does == "crash":
        sys.stderr.write("no GPU was found\n")
        sys.stderr.flush()
        os._exit(7)
    if does == "nothing":
        return
    if does == "name":
        sys.stderr.write("patient DOE^JOHN 1954-03-02\nValueError: DOE^JOHN\n")
        raise SystemExit(3)
    if does == "chatty":
        while True:
            os.write(1, b"still drawing\n" * 100_000)
    if does == "stdin" and sys.stdin.read() != "":
        return
    if does == "removes":
        Path(image).unlink()
    if does == "swapped":
        Path(output).parent.rmdir()
        Path(output).parent.symlink_to(Path(image).parent)
        return
    if does == "directory":
        Path(output).mkdir()
        return
    if does == "slow":
        Path(more[0]).touch()
        subprocess.Popen([sys.executable, "-c", f"import os, time; os.setsid(); time.sleep({more[1]})"])
        time.sleep(float(more[1]))
    if does == "elsewhere":
        Path(more[0]).write_text("case_id\n")
    if does == "input":
        Path(image).write_bytes(b"gone")
    if does == "empty":
        drawn[:] = False
    if does == "mirrored":
        drawn = drawn[:, ::-1]
    if does == "several":
        write(Path(output).with_name("kidney.nii.gz"), header, drawn)
    if does == "grid":
        drawn = drawn[::2]
    if does == "flipped":
        header = bytearray(header)
        turned = -np.frombuffer(header, "<f4", 4, 280)
        header[280:296] = turned.astype("<f4").tobytes()
        header[252:254] = b"\0\0"  # no qform
    labels = drawn.astype(int) * {"named": 7, "labels": 3}.get(does, 1)
    if does == "named":
        says = {
            "tool": "Net of Tests",
            "version": "2.1",
            "weights": "ab" * 32,
            "labels": {"tumor": 7, "kidney": 3},
        }
        Path(output).with_name("image.json").write_text(json.dumps({**says, "seconds": 0.1}))
    if does == "says":
        Path(output).with_name("image.json").write_text(Path(more[0]).read_text())
    if does == "nan":
        write(output, header, np.where(drawn, np.nan, 0.0), 16)
    elif does == "fractions":
        write(output, header, drawn * 0.5, 16)
    elif does == "floats":
        write(output, header, drawn * 1.0, 16)
    elif does == "hard-link":
        os.link(image, output)
    elif does == "link":
        Path(output).symlink_to(image)
    else:
        for _ in range(2 if does == "twice" else 1):
            write(output, header, labels)


main(*sys.argv[1:])
