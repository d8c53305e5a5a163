"""The command deidentify."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nephroscope.cli.command import Command, Outcome, PathOption, Switch

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
        data = deidentify_export(self.source, self.destination, self.key, options, self.labels)
        warning = "\n".join(_warnings(data))
        exit_code = 3 if data["n_refused"] else 0
        return Outcome(data=data, text="\n".join(self._lines(data)), warning=warning, exit_code=exit_code)

    def _lines(self, data: dict[str, Any]) -> list[str]:
        written = ", ".join(f"{n} {kind}" for kind, n in data["written"].items()) or "nothing"
        lines = [f"{data['n_files']} files read; written, read back and searched: {written}"]
        lines.append(f"{data['n_patients']} patients; profile: {data['profile']}")
        lines += [f"left out {n}: {kind}" for kind, n in data["left_out"].items()]
        for key, words in (("n_not_dicom", "not DICOM"), ("n_twice", "the same image twice")):
            if data[key]:
                lines.append(f"left out {data[key]}: {words}")
        if "labels" in data:
            labels = data["labels"]
            dropped = ", ".join(labels["columns_dropped"]) or "none"
            emptied = f"; cells emptied: {labels['n_cells_emptied']}" if labels["n_cells_emptied"] else ""
            lines.append(
                f"labels: {labels['n_rows']} rows in {self.destination / labels['file']}, "
                f"{labels['n_rows_without_images']} of them without images here; columns dropped: {dropped}{emptied}"
            )
        if not self.keep_descriptions:
            lines.append(
                "phases can no longer be recognized from descriptions; --keep-descriptions keeps their known words"
            )
        made = "a NEW key was made" if data["key_made"] else "key"
        lines.append(f"{made}: {data['key']}; patients and pseudonyms: {data['linkage']}")
        lines.append("both files can link pseudonyms to patients: keep them in the hospital")
        with_labels = f" --labels {self.destination / 'labels.csv'}" if "labels" in data else ""
        lines.append(f"next: nephroscope import dicom my-study {self.destination}{with_labels}")
        return lines


def _warnings(data: dict[str, Any]) -> list[str]:
    lines = [f"warning: {n} files: {doubt}" for doubt, n in data["doubts"].items()]
    lines += [f"refused: file {r['file']} ({r['digest']}): {r['reason']}" for r in data["refused"][:_LISTED]]
    if data["n_refused"] > _LISTED:
        lines.append(f"and {data['n_refused'] - _LISTED} more refused, listed in deidentification.json")
    lines.append("warning: pixels were not checked: look for burned-in text and faces")
    return lines
