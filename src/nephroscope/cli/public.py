"""The commands `nephroscope import kits` and `import idc`: public cohorts, and what they print."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nephroscope.api import Study
from nephroscope.cli.outcome import Command, Outcome, SourcePath, StudyPath, findings_as_json, table
from nephroscope.cohort.public.idc_plan import IdcPlan, Wanted
from nephroscope.cohort.public.kits import Vote
from nephroscope.errors import ConfigError
from nephroscope.study import Settings

MASK_SOURCES = ("rcc-aid", "bamf")


@dataclass(frozen=True, kw_only=True)
class ImportKits(Command):
    """Import the folder that the KiTS19, KiTS21 or KiTS23 project makes, with its clinical table.

    Example: nephroscope import kits my-study kits23/
    """

    study: StudyPath
    """Study folder."""
    source: SourcePath
    """Clone of the KiTS repository with the CT downloaded, or its folder of cases."""
    vote: Vote = "MAJ"
    """KiTS21 only: how the label maps of its three annotators were merged."""

    def run(self) -> Outcome:
        """Import it."""
        from nephroscope.cli.imports import imported
        from nephroscope.cohort.public.kits import NO_CT

        study = Study(self.study)
        cohort, found = study.import_kits(self.source, self.vote)
        outcome = imported(study, cohort)
        counts = [asdict(count) | {"without_ct": count.in_table - count.with_ct} for count in found.counts]
        lines = [
            f"{found.release}: {sum(count.in_table for count in found.counts)} cases in its table",
            table(
                ((c.subtype, c.in_table, c.with_ct, "yes" if c.in_study else "no") for c in found.counts),
                ("subtype", "cases", "with CT", "in the study"),
            ),
        ]
        data = outcome.data | {"release": found.release, "table": counts}
        warning = "" if any(c["with_ct"] for c in counts) else f"no CT in {self.source.name}: {NO_CT}"
        return replace(outcome, data=data, text="\n".join([*lines, outcome.text]), warning=warning)


@dataclass(frozen=True, kw_only=True)
class ImportIdc(Command):
    """Choose, download and import CT with masks of the Imaging Data Commons, one series per patient.

    Example: nephroscope import idc my-study --collections tcga_kirp tcga_kich --dry-run
    """

    study: StudyPath
    """Study folder; with --dry-run it need not exist."""
    collections: tuple[str, ...]
    """Of tcga_kirp, tcga_kich, tcga_kirc, cptac_ccrcc, c4kc_kits."""
    masks: str = ",".join(MASK_SOURCES)
    """Who drew the masks, the preferred first; masks that belong to a collection itself are always used."""
    kits_json: Path | None = None
    """Clinical table of a KiTS release, for c4kc_kits, whose files do not say the histology."""
    dry_run: bool = False
    """Only print patients, series, sizes, licences and citations; no network."""

    def run(self) -> Outcome:
        """Choose, and unless it is a dry run, download and import."""
        from nephroscope.cli.imports import imported
        from nephroscope.cohort.public.idc import plan_findings
        from nephroscope.cohort.public.idc_summary import plan_as_dict

        sources = _sources(self.masks)
        study = None if self.dry_run and not (self.study / "study.toml").is_file() else Study(self.study)
        if study is None:
            plan, wanted = self._plan_without_study(sources)
        else:
            plan, wanted = study.plan_idc(self.collections, sources, self.kits_json)
        data = plan_as_dict(plan, sources)
        if study is None or self.dry_run:
            data["findings"] = findings_as_json(plan_findings(plan, wanted))
            return Outcome(
                data=data, text=_in_words(data) + f"\nnext: the same without --dry-run ({self.study})"
            )
        cohort, refused = study.import_idc(plan, wanted)
        outcome = imported(study, cohort)
        warning = "\n".join(f"left out: {one.case_id}: {one.reason}" for one in refused)
        text = "\n".join([_in_words(data), outcome.text])
        data = outcome.data | {"plan": data}
        return Outcome(data=data, text=text, warning=warning, exit_code=3 if refused else 0)

    def _plan_without_study(self, sources: tuple[str, ...]) -> tuple[IdcPlan, Wanted]:
        from nephroscope.cohort.public.idc import wanted_of
        from nephroscope.cohort.public.idc_index import read_index
        from nephroscope.cohort.public.idc_plan import plan_idc

        settings = Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC")
        wanted = wanted_of(settings, sources, self.kits_json)
        return plan_idc(read_index(self.collections), wanted), wanted


def _sources(text: str) -> tuple[str, ...]:
    """Mask sources from ``rcc-aid,bamf``."""
    sources = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in sources if name not in MASK_SOURCES]
    if unknown or not sources:
        raise ConfigError(
            where="import idc --masks",
            expected=f"one or more of {', '.join(MASK_SOURCES)}, with commas",
            found=", ".join(unknown) or "none",
            remedy="for example --masks rcc-aid,bamf",
        )
    return sources


def _in_words(data: dict[str, Any]) -> str:
    """The plan as a table of collections, with phases, licences and citations below."""
    rows = [
        (
            name,
            one["patients_with_ct"],
            ", ".join(f"{source} {n}" for source, n in one["patients_with_mask"].items()),
            one["patients_chosen"],
            one["series_chosen"],
            f"{one['size_GB']:.2f}",
        )
        for name, one in data["by_collection"].items()
    ]
    header = ("collection", "patients with CT", "with masks of", "chosen", "series", "GB")
    phases = Counter(one["phase"] for one in data["series"] if one["chosen"] and one["kind"] == "ct")
    lines = [table(rows, header), f"{data['patients_chosen']} patients, {data['size_GB']:.2f} GB to download"]
    lines += ["phases: " + ", ".join(f"{n} {phase}" for phase, n in phases.most_common())] if phases else []
    lines += [f"licence of {one['of']}: {one['licence']}, doi {one['doi']}" for one in data["licences"]]
    lines += [f"cite: {one['citation']}" for one in data["citations"]]
    return "\n".join(lines)
