"""Peak memory of a stretch of work: a device in, MB out; None where the system does not tell."""

from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Begin anew; where the system cannot, the peak is that of the whole process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text("5")  # Linux: VmHWM starts again at the present size
        except OSError:
            return


def peak_mb(device: torch.device) -> float | None:
    """Most memory held since `reset_peak`: of the GPU's allocator, else the process's resident set, in MB.

    Source: proc(5), VmHWM of /proc/[pid]/status.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 1e6, 1)
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None
