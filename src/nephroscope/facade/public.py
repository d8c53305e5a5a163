"""The verbs of public cohorts: a KiTS folder or collections of the Imaging Data Commons in, cases out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.facade.who import CohortVerbs
from nephroscope.intake.labels.pathology import load_pathology
from nephroscope.records import Cohort, Exclusion

if TYPE_CHECKING:
    from nephroscope.intake.public.idc_plan import IdcPlan, Wanted
    from nephroscope.intake.public.kits import KitsImport, Vote


class PublicVerbs(CohortVerbs):
    """Cases from collections that anybody can have."""

    def import_kits(self, source: Path | str, vote: "Vote" = "MAJ") -> "tuple[Cohort, KitsImport]":
        """Add the cases of the folder that the KiTS19, KiTS21 or KiTS23 project makes.

        Args:
            source: Clone of the KiTS repository with the CT downloaded, or its folder of cases.
            vote: KiTS21 only: how the label maps of its three annotators were merged.

        Returns:
            The study's new cohort, and what the folder held.
        """
        from nephroscope.intake.public.kits import import_kits

        settings, pathology = self.settings, load_pathology(self.folder.root)
        found = import_kits(Path(source), settings.subtypes, settings.positive, vote, pathology)
        return self.add(found.cases, found.exclusions, found.findings), found

    def plan_idc(
        self, collections: Sequence[str], masks: Sequence[str], kits_json: Path | None = None
    ) -> "tuple[IdcPlan, Wanted]":
        """Choose one CT with its mask per patient, without a network and without changing the study.

        Args:
            collections: Of the Imaging Data Commons, such as ``tcga_kirp``.
            masks: Who drew the masks, the preferred first.
            kits_json: Clinical table of a KiTS release, for ``c4kc_kits``.
        """
        from nephroscope.intake.public.idc import wanted_of
        from nephroscope.intake.public.idc_index import read_index
        from nephroscope.intake.public.idc_plan import plan_idc

        cohort = self.cohort if self.folder.cohort_csv.exists() else None
        wanted = wanted_of(self.settings, masks, kits_json, cohort, load_pathology(self.folder.root))
        return plan_idc(read_index(tuple(collections)), wanted), wanted

    def import_idc(self, plan: "IdcPlan", wanted: "Wanted") -> tuple[Cohort, tuple[Exclusion, ...]]:
        """Download what `plan_idc` chose into the study's folder ``idc`` and add it; goes on after an interruption.

        Returns:
            The study's new cohort, and who was left out on the way.
        """
        from nephroscope.intake.public import idc_fetch
        from nephroscope.intake.public.idc import download, hand_over, plan_findings

        refused: tuple[Exclusion, ...] = ()
        if plan.choices:
            settled, failed = download(plan, wanted, self.folder.root / "idc", idc_fetch.open_client())
            refused = (*failed, *hand_over(settled, self.import_dicom))
        return self.add((), (*plan.exclusions, *refused), plan_findings(plan, wanted)), refused
