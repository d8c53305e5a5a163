"""A study's path in; digests of what a reader study depends on, and what of it changed since, out."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from nephroscope.records import EvaluationConfig
from nephroscope.records.digest import digest_of
from nephroscope.study import StudyFolder

LABELS, SPLIT, SETTINGS, COMPARED = "cohort", "splits.json", "[evaluation]", "comparison/predictions.csv"
RUN = "run "


def made_from(
    folder: StudyFolder, label_digest: str, config: EvaluationConfig, runs: Iterable[str], compared: bool
) -> dict[str, str]:
    """Digests by what they are of; an empty one stands for a file that is not there.

    Args:
        folder: Of the study.
        label_digest: Of the cohort.
        config: As the figures were made.
        runs: Names of the runs that answered.
        compared: True where baselines of the last comparison were looked for.
    """
    files = {SPLIT: folder.splits} | {f"{RUN}{name}": folder.run(name) / "run.json" for name in runs}
    if compared:
        files[COMPARED] = folder.root / COMPARED
    digests = {name: _digest_of_file(path) for name, path in files.items()}
    return {LABELS: label_digest, SETTINGS: digest_of(asdict(config))} | digests


def changed_since(
    folder: StudyFolder, label_digest: str, config: EvaluationConfig, made: Mapping[str, str]
) -> list[str]:
    """What is no longer as it was, by name; what an older file did not hold counts as changed."""
    runs = [name.removeprefix(RUN) for name in made if name.startswith(RUN)]
    now = made_from(folder, label_digest, config, runs, COMPARED in made)
    changed = [name for name, digest in now.items() if made.get(name) != digest]
    return ["labels" if name == LABELS else name for name in changed]


def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
