"""Switches off what packages would send to their makers; the package does this before it imports any of them.

ONNX Runtime and Ray report usage to their makers by default. Both read these switches from the environment, which
every process that we start inherits; workers on other machines import this package, and so set them too.

Source: Privacy.md in the package onnxruntime, "Disabling Telemetry"; Ray's documentation, "Usage Stats Collection".
"""

import os

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",  # a head that is told not to report would report that
}


def send_nothing() -> None:
    """Set the switches for this process and all that it starts, whatever they were before."""
    os.environ.update(SWITCHES)
