"""A study in; a published study repeated on its cases out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

FORMAT = 1

if TYPE_CHECKING:
    from nephroscope.questions.replicate.setup import ReplicateOptions
    from nephroscope.records import Finding
    from nephroscope.study.snapshot import Snapshot


def replicate_zuo2021(
    snapshot: "Snapshot",
    findings: "Sequence[Finding]",
    options: "ReplicateOptions | None" = None,
    readers: Path | str | None = None,
) -> dict[str, Any]:
    """Repeat Zuo et al. 2021 with and without its leak; writes replicate/zuo2021 into the study.

    What an earlier call finished is not done again, and an interrupted training goes on at its epoch.

    Args:
        snapshot: The study.
        findings: Of its imports.
        options: Networks, epochs, images per epoch and folds; by default all six networks.
        readers: CSV of radiologists' calls of the test cases: case, reader, call.

    Returns:
        The content of replicate.json.
    """
    from nephroscope.intake.labels.pathology import load_pathology, name_of_subtype
    from nephroscope.questions.replicate.setup import ReplicateOptions
    from nephroscope.report.replicate.page import ReplicateInputs
    from nephroscope.report.replicate.page import replicate_zuo2021 as run

    table, subtypes = load_pathology(snapshot.folder.root), snapshot.cohort.subtypes
    inputs = ReplicateInputs(
        title=snapshot.folder.root.resolve().name,
        cohort=snapshot.cohort,
        store=snapshot.slices,
        evaluation=snapshot.settings.evaluation,
        options=options or ReplicateOptions(),
        findings=findings,
        readers=None if readers is None else Path(readers),
        means=lambda text: name_of_subtype(text, subtypes, table),
        scored_readers="" if readers is not None else _scored_readers(snapshot),
    )
    return run(inputs, snapshot.folder.root / "replicate" / "zuo2021")


def _scored_readers(snapshot: "Snapshot") -> str:
    """What readers/readers.json holds, in words; it has figures, and not the single calls that are needed here."""
    from nephroscope.base.files import load_json
    from nephroscope.questions.readers.write import changed_since

    path = snapshot.folder.root / "readers" / "readers.json"
    if not path.is_file():
        return ""
    content = load_json(path, FORMAT)
    made, evaluation = content.get("made_from", {}), snapshot.settings.evaluation
    changed = changed_since(snapshot.folder, snapshot.cohort.label_digest, evaluation, made)
    if changed:
        older = f"The study's readers/readers.json is older than its {', '.join(changed)}"
        return f"{older}: run `nephroscope readers` again."
    names = ", ".join(dict.fromkeys(str(reader["name"]) for reader in content.get("readers", ())))
    return f"The study has scored readers ({names}), see readers/readers.json."
