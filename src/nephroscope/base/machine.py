"""How this process shares the computer: waiting threads sleep, and a training keeps the memory that it uses again."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# GNU OpenMP (Linux) reads the first; those of Intel and LLVM (Windows, macOS) the first two; OpenBLAS, of NumPy and
# SciPy, the third (2 to this power clock ticks of spinning; by default 26, a fiftieth of a second). A user may set
# each otherwise.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
# GNU OpenMP again: rounds that a thread waits awake before it sleeps. So many span most gaps of a training step; more
# gain little alone and cost much beside other programs (benchmarks/waiting.py).
SPIN, ROUNDS_ALONE = "GOMP_SPINCOUNT", "1000"
# Options of mallopt and their values, from glibc's malloc.h; the second value is what glibc ends with by itself.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT = ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_MAX, 0))
_GIVEN_BACK = ((_TRIM_THRESHOLD, 2**26), (_MMAP_THRESHOLD, 2**25), (_MMAP_MAX, 65536))

LOAD, LOOKS, SECONDS_BETWEEN_LOOKS = Path("/proc/loadavg"), 10, 0.0005
GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def wait_asleep() -> None:
    """Let the threads of OpenMP and OpenBLAS sleep while they wait, in this process and all that it starts.

    Spinning, they take the processor from the very threads that they wait for as soon as another program runs. Only
    where none runs now, those of OpenMP wait awake for a moment first. It must be said before such a library is
    loaded; no result depends on it.
    """
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault(SPIN, ROUNDS_ALONE if _alone() else "0")


def _alone() -> bool:
    """Whether nothing but this process computes now; False where Linux does not say.

    A program that computes is runnable each time one looks; what only wakes up for a moment is not.

    Source: proc_loadavg(5): the fourth field is "runnable now/existing"; the asking thread is one of the runnable.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        for _ in range(LOOKS):
            if LOAD.read_text(encoding="ascii").split()[3].split("/")[0] == "1":
                return True
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return False


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory for the next allocation while the block runs, then give it back.

    By default glibc asks the system for every large array anew and gives it back at once, and each of its pages is
    cleared each time: in a training step that took a third of the time. Other systems' allocators stay as they are.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    for option, value in _KEPT:
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _GIVEN_BACK:
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def usable_cores() -> int:
    """Cores that this process may use, fewer than the computer has where it was bound to some."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_of_machine() -> int:
    """Bytes of memory that this computer has, or that a container or cluster job may use; 0 where it is not known."""
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value * 1024
    with contextlib.suppress(ValueError, OSError):
        return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits_of_groups()])
    return 0


def _limits_of_groups() -> list[int]:
    """Memory limits in bytes of the control groups that this process is in, each with those above it.

    Source: cgroups(7); version 2 has memory.max, "max" for none, and version 1 memory.limit_in_bytes. In a container
    the path of the group may be one that only the computer outside knows; the highest folder then has its limit.
    """
    limits: list[int] = []
    with contextlib.suppress(OSError):
        for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, kinds, group = line.split(":", 2)
            if kinds not in {"", "memory"}:
                continue
            top, name = (GROUPS / "memory", "memory.limit_in_bytes") if kinds else (GROUPS, "memory.max")
            place = top / group.strip("/")
            for folder in (place, *place.parents):
                with contextlib.suppress(OSError, ValueError):
                    limits.append(int((folder / name).read_text(encoding="utf-8")))
                if folder == top:
                    break
    return limits


def _glibc() -> Any:
    """The C library where it is glibc; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    libc = ctypes.CDLL(None)
    return (
        libc
        if all(hasattr(libc, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
        else None
    )
