"""A bundle as a notebook uses it: CT and ROI in, an answer out. No torch."""

from dataclasses import replace
from pathlib import Path

from nephroscope.base.html import Record, ShownAsTable
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.predict import predict
from nephroscope.imaging.read import UnplacedRoi
from nephroscope.records import Answer, CTVolume, RoiMask


class Bundle(ShownAsTable):
    """An exported model.

    Args:
        folder: Folder that `Run.export` or `nephroscope export` wrote.

    Raises:
        BundleError: It is damaged, of a newer format, or computes something else on this machine.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._opened = open_bundle(self.folder)

    def __repr__(self) -> str:
        return f"Bundle({self.summary()})"

    @property
    def subtypes(self) -> tuple[str, ...]:
        """Subtypes it tells apart, in the order of its output."""
        return self._opened.scorer.subtypes

    def predict(self, ct: CTVolume, roi: RoiMask | UnplacedRoi) -> Answer:
        """Predict the subtype of one tumor.

        Args:
            ct: From `read_ct`.
            roi: From `read_roi`.

        Raises:
            RoiError: The ROI does not lie on this CT, or no cross-section is large enough.
        """
        if isinstance(roi, UnplacedRoi):
            roi = replace(roi, case_id=roi.case_id or "case").on(ct)
        return predict(self._opened, ct, roi)[0]

    def records(self) -> list[Record]:
        """A row per figure of the evaluation by case that the bundle carries."""
        return [
            {"test_set": group, "figure": name, **estimate}
            for group, figures in self._opened.about.get("evaluation", {}).items()
            for name, estimate in figures.items()
        ]

    def summary(self) -> str:
        """Folder, network, subtypes and marks."""
        opened = self._opened
        head = (
            f"bundle {self.folder.name}: {opened.about.get('model', 'network')}, {' or '.join(self.subtypes)}"
        )
        marks = [("trained on SYNTHETIC phantoms", opened.synthetic), ("LEAKY split by image", opened.leaky)]
        return " | ".join([head, *(mark for mark, applies in marks if applies)])
