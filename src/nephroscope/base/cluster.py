"""Run a function on many items on a Ray cluster; results come as they are done, even if machines fail."""

import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from nephroscope.base.errors import ConfigError, NephroscopeError
from nephroscope.base.version import install_line

Item = TypeVar("Item")
Result = TypeVar("Result")
RETRIES = 5
AHEAD = 4  # tasks for each core of the cluster that are given to it at a time
SECONDS_TO_ANSWER = 10
logger = logging.getLogger(__name__)


def map_on_ray(
    function: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Iterator[tuple[int, Result]]:
    """Run ``function`` on each item, with one core of the cluster each; yields position and result when done.

    A task whose machine fails is started again elsewhere, up to five times.

    Args:
        function: Function that every machine can import by its name.
        items: Its arguments; small, because each is sent over the network. Only a few are taken ahead.
        address: Address of the cluster, such as ``10.0.0.1:6379``; ``auto`` finds the cluster of this machine.

    Raises:
        ConfigError: Ray is not installed, no cluster answers, or machines failed too often.
        NephroscopeError: A refusal by the function.
    """
    ray = _ray()
    mine = not ray.is_initialized()
    if mine:
        _connect(ray, address)
    pending: dict[Any, int] = {}
    try:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(function)
        rest = enumerate(items)
        while True:
            most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 0)))
            pending |= {task.remote(item): i for i, item in islice(rest, max(0, most - len(pending)))}
            if not pending:
                return
            done, _ = ray.wait(list(pending), num_returns=1)
            for reference in done:
                yield pending.pop(reference), _get(ray, reference)
    finally:
        for reference in pending:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
        if mine:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError(
            where="--ray",
            expected="the extra 'ray'",
            found="no package ray",
            remedy=install_line("ray"),
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    if address != "auto":
        _check_address(address)  # Ray itself would wait for minutes
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _no_cluster(address, type(error).__name__) from error
    n = sum(1 for node in ray.nodes() if node["Alive"])
    logger.info(
        "Ray: %d machine%s, %g cores", n, "" if n == 1 else "s", ray.cluster_resources().get("CPU", 0)
    )


def _check_address(address: str) -> None:
    """Refuse an address that does not answer."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise _no_cluster(address, "no host:port")
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER):
            pass
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, type(error).__name__) from error


def _no_cluster(address: str, found: str) -> ConfigError:
    return ConfigError(
        where="--ray",
        expected=f"a Ray cluster at {address}",
        found=f"none that answers ({found})",
        remedy="start one with `ray start --head`, and give the address that it prints",
    )


def _get(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, NephroscopeError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise ConfigError(
            where="--ray",
            expected=f"the work to finish within {RETRIES + 1} attempts",
            found=f"a failing machine each time ({type(error).__name__})",
            remedy="check the memory of the machines and run the command again; finished work is kept",
        ) from error
