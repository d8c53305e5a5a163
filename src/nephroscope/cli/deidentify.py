"""The command deidentify."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.text import shell_line
from nephroscope.cli.command import Command, Outcome, PathOption, Switch
from nephroscope.records import counted_noun

if TYPE_CHECKING:
    from nephroscope.intake.deidentify.export import Counts, Deidentified

_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Deidentify(Command):
    """De-identify a copy of a DICOM export (PS3.15 basic profile): pseudonyms and UIDs from a key, dates shifted.

    CT, DICOM SEG and RTSTRUCT are copied. Each copy is read back and searched for names, but not for burned-in text.

    Example: nephroscope deidentify export/ clean/ --key ../nephroscope.key --keep-age-sex --keep-descriptions
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """Folder of the export; nothing in it is changed."""
    destination: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DST")]
    """New or empty folder for the copy."""
    key: Path
    """Key file outside both folders, created if absent; it can link pseudonyms to patients, so keep it secret."""
    labels: PathOption = None
    """Label table (CSV or XLSX) with patient_id or case_id; columns with known titles are copied, with pseudonyms."""
    keep_age_sex: Switch = False
    """Keep sex and age, also in the label table; ages over 89 become 90."""
    keep_descriptions: Switch = False
    """Keep known words in descriptions (phase, body part, kernel, tumor), by which phase and ROI are recognized."""

    def run(self) -> Outcome:
        """Copy it."""
        from nephroscope.intake.deidentify.export import Options, deidentify_export

        options = Options(age_sex=self.keep_age_sex, descriptions=self.keep_descriptions)
        made = deidentify_export(self.source, self.destination, self.key, options, self.labels)
        where = {"key": str(made.key), "key_made": made.key_made, "linkage": str(made.linkage)}
        return Outcome(
            data={**made.summary(), **where},
            text="\n".join(self._lines(made)),
            warning="\n".join(_warnings(made.counts)),
            exit_code=3 if made.counts.n_refused else 0,
        )

    def _lines(self, made: "Deidentified") -> list[str]:
        counts = made.counts
        written = ", ".join(f"{n} {kind}" for kind, n in counts.written.items()) or "nothing"
        lines = [f"{counted_noun(made.n_files, 'file')} read; written, read back and searched: {written}"]
        lines.append(f"{counted_noun(counts.n_patients, 'patient')}; profile: {made.begun.profile}")
        lines += [f"left out {n}: {kind}" for kind, n in counts.left_out.items()]
        for n, words in ((counts.n_not_dicom, "not DICOM"), (counts.n_twice, "the same image twice")):
            if n:
                lines.append(f"left out {n}: {words}")
        if made.labels is not None:
            labels = made.labels
            dropped = ", ".join(labels.columns_dropped) or "none"
            emptied = f"; cells emptied: {labels.n_cells_emptied}" if labels.n_cells_emptied else ""
            lines.append(
                f"labels: {counted_noun(labels.n_rows, 'row')} in {self.destination / labels.file}, "
                f"{labels.n_rows_without_images} of them without images here; columns dropped: {dropped}{emptied}"
            )
        if not self.keep_descriptions:
            lines.append(
                "phases can no longer be recognized from descriptions; --keep-descriptions keeps their known words"
            )
        which = "a NEW key was made" if made.key_made else "key"
        lines.append(f"{which}: {made.key}; patients and pseudonyms: {made.linkage}")
        lines.append("both files can link pseudonyms to patients: keep them in the hospital")
        with_labels = (
            f" --labels {shell_line(self.destination / 'labels.csv')}" if made.labels is not None else ""
        )
        lines.append(f"next: nephroscope import dicom my-study {shell_line(self.destination)}{with_labels}")
        return lines


def _warnings(counts: "Counts") -> list[str]:
    lines = [f"warning: {counted_noun(n, 'file')}: {doubt}" for doubt, n in counts.doubts.items()]
    lines += [f"refused: file {one.file} ({one.digest}): {one.reason}" for one in counts.refused[:_LISTED]]
    if counts.n_refused > _LISTED:
        lines.append(f"and {counts.n_refused - _LISTED} more refused, listed in deidentification.json")
    lines.append("warning: pixels were not checked: look for burned-in text and faces")
    return lines
