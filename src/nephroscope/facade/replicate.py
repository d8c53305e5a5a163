"""A study in; a published study repeated on its cases out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

FORMAT = 1

if TYPE_CHECKING:
    from nephroscope.facade.study import Study
    from nephroscope.questions.replicate.setup import ReplicateOptions


def replicate_zuo2021(
    study: "Study", options: "ReplicateOptions | None" = None, readers: Path | str | None = None
) -> dict[str, Any]:
    """Repeat Zuo et al. 2021 with and without its leak; writes replicate/zuo2021 into the study.

    What an earlier call finished is not done again, and an interrupted training goes on at its epoch.

    Args:
        study: With its slices cut.
        options: Networks, epochs, images per epoch and folds; by default all six networks.
        readers: CSV of radiologists' calls of the test cases: case, reader, call.

    Returns:
        The content of replicate.json.
    """
    from nephroscope.intake.labels.pathology import load_pathology, name_of_subtype
    from nephroscope.questions.replicate.setup import ReplicateOptions
    from nephroscope.report.replicate.page import ReplicateInputs
    from nephroscope.report.replicate.page import replicate_zuo2021 as run

    table, subtypes = load_pathology(study.folder.root), study.cohort.subtypes
    inputs = ReplicateInputs(
        title=study.folder.root.resolve().name,
        cohort=study.cohort,
        store=study.slices(),
        evaluation=study.settings.evaluation,
        options=options or ReplicateOptions(),
        findings=study.import_findings,
        readers=None if readers is None else Path(readers),
        means=lambda text: name_of_subtype(text, subtypes, table),
        scored_readers="" if readers is not None else _scored_readers(study),
    )
    return run(inputs, study.folder.root / "replicate" / "zuo2021")


def _scored_readers(study: "Study") -> str:
    """What readers/readers.json holds, in words; it has figures, and not the single calls that are needed here."""
    from nephroscope.base.files import load_json
    from nephroscope.questions.readers.write import changed_since

    path = study.folder.root / "readers" / "readers.json"
    if not path.is_file():
        return ""
    content = load_json(path, FORMAT)
    made, evaluation = content.get("made_from", {}), study.settings.evaluation
    changed = changed_since(study.folder, study.cohort.label_digest, evaluation, made)
    if changed:
        older = f"The study's readers/readers.json is older than its {', '.join(changed)}"
        return f"{older}: run `nephroscope readers` again."
    names = ", ".join(dict.fromkeys(str(reader["name"]) for reader in content.get("readers", ())))
    return f"The study has scored readers ({names}), see readers/readers.json."
