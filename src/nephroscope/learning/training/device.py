"""Where a network is trained: the GPU where there is one, in which precision, and with how much memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from nephroscope.base.errors import ConfigError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def training_device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bf16 where the device computes in it, else fp32.

    Raises:
        ConfigError: bf16 is asked for and the device has none.
    """
    if device.type == "cuda":
        capable = torch.cuda.is_bf16_supported()
    else:
        ask = getattr(torch.cpu, "get_capabilities", None)  # an older torch cannot say: fp32 is always right
        has = ask() if ask else {}
        # A user may hold torch to AVX2, where it would imitate bf16.
        wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        capable = bool((wide and (has.get("avx512_bf16") or has.get("amx_bf16"))) or has.get("arm_bf16"))
    if precision == "bf16" and not capable:
        raise ConfigError(
            where="training.precision",
            expected="a device that computes in bf16",
            found=f"a {device.type} that does not",
            remedy='use precision = "auto"',
        )
    return torch.bfloat16 if capable and precision != "fp32" else torch.float32


def n_threads() -> int:
    """How many threads of the processor torch computes with: OMP_NUM_THREADS, else one a core."""
    return torch.get_num_threads()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch compute with so many threads of the processor while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """Of the GPU, or "cpu"."""
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


def reset_peak(device: torch.device) -> None:
    """Count memory from now on; where the system cannot, the peak is that of the whole process."""
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
