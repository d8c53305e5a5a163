"""Every transfer as three pictures: the tumor as drawn, the other phase at the same place, and after the motion."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.base.files import save_text
from nephroscope.imaging.masks.resample import resample_nearest
from nephroscope.imaging.picture import data_address, draw_slice
from nephroscope.records import CTVolume, RoiMask, counted_noun
from nephroscope.regions.transfer import Transfer
from nephroscope.report.check.page import SheetCard
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import Filled, Fragment, Section, Text
from nephroscope.study.transfer_rows import TransferRow

SIZE_PX, AROUND_PX, SHOWN_PX = 768, 60, 300


class TransferPictures:
    """Pictures of transfers, kept as they are made so that each CT is read once."""

    def __init__(self) -> None:
        self._cards: list[tuple[bool, SheetCard]] = []

    def offer(
        self, row: TransferRow, drawn: CTVolume, roi: RoiMask, other: CTVolume, found: Transfer
    ) -> None:
        """Keep the pictures of one transfer."""
        before = resample_nearest(roi.voxels, roi.geometry.affine, other.geometry)
        parts = [_around(drawn, roi.voxels, row.case), _around(other, before, row.case)]
        if found.voxels is not None:
            parts.append(_around(other, found.voxels, row.case))
        strip = Image.new("RGB", (SHOWN_PX * len(parts), SHOWN_PX))
        for number, part in enumerate(parts):
            strip.paste(part, (number * SHOWN_PX, 0))
        moved = f"{row.shift_mm:.1f} mm" if row.shift_mm is not None else "no motion found"
        card = SheetCard(
            case_id=row.case,
            subtype=f"{row.drawn_on} to {row.phase}",
            address=data_address(strip),
            slice_index=None,
            facts=f"{'accepted' if row.accepted else 'refused'}, {moved}: {row.reason}",
            findings=(),
        )
        self._cards.append((row.accepted, card))

    def write(self, folder: Path, study: str, rows: Sequence[TransferRow], *, synthetic: bool) -> Path:
        """Write transfers.html into ``folder``; returns its path."""
        n = sum(row.accepted for row in rows)
        key = (
            f"{counted_noun(len(rows), 'transfer')}: {n} accepted, {len(rows) - n} to be drawn. "
            "Left: as drawn. Middle: the other phase with the outline at the same place. Right: after the motion."
        )
        titles = ((False, "To be drawn"), (True, "Accepted"))
        sections = []
        for accepted, title in titles:
            cards = [card for kind, card in self._cards if kind == accepted]
            section: Section[None] = Section(
                id=title.lower().replace(" ", "-"), title=title, navigation=title, fill=lambda _: None
            )
            if cards:
                sections.append((section, Filled(blocks=[Fragment("check/cards.html.j2", cards)])))
        page = Page(
            title=f"{study}: ROIs on other phases",
            subtitle="At level 40, width 400 HU. Click a picture to enlarge it.",
            marks=("SYNTHETIC",) if synthetic else (),
            top=[Text(key, "key")],
            sections=sections,
            footer=("docs/how-to/phases.md",),
        )
        save_text(folder / "transfers.html", render(page, {}))
        return folder / "transfers.html"


def _around(volume: CTVolume, voxels: npt.NDArray[np.bool_], case_id: str) -> Image.Image:
    """What lies around the tumor on its largest slice; the middle of the CT where there is no voxel."""
    if not voxels.any():
        middle = np.array(volume.hu.shape) // 2
        voxels = np.zeros(volume.hu.shape, np.bool_)
        voxels[tuple(middle.tolist())] = True
    picture = draw_slice(
        volume, RoiMask(voxels=voxels, geometry=volume.geometry, case_id=case_id), size_px=SIZE_PX
    )
    left, top, right, bottom = picture.edge.getbbox() or (0, 0, *picture.image.size)
    half = max(right - left, bottom - top) / 2 + AROUND_PX
    x, y = (left + right) / 2, (top + bottom) / 2
    return picture.image.crop((int(x - half), int(y - half), int(x + half), int(y + half))).resize(
        (SHOWN_PX, SHOWN_PX)
    )
