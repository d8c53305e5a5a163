"""What leaves a hospital: a page and a JSON of every tensor, count and setting before it is sent, and the approval.

The list is made from the archive's bytes; approving compares it with them again, signs both and sends the archive.
"""

import hashlib
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import GroupError
from nephroscope.base.files import copy_file, file_digest, save_text
from nephroscope.base.limits import parse_json
from nephroscope.federated.archive import MANIFEST, SIGNATURE, as_json, claimed
from nephroscope.federated.group import FORMAT, Plan
from nephroscope.federated.keys import fingerprint, sign
from nephroscope.federated.leaves import Leaves, SentMember, SentTensor
from nephroscope.federated.place import SitePlace

if TYPE_CHECKING:
    from nephroscope.learning.training.rounds import Arrays

LIST, PAGE, APPROVAL = "leaves.json", "leaves.html", "approval.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class Change:
    """Tensors before and after a round; ``before`` is empty where there were none."""

    before: "Arrays"
    after: "Arrays"


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Who let an archive go, when, and a signature of that and of the list by the site's key."""

    archive: str
    sha256: str
    list_sha256: str
    by: str
    when: str
    computer: str
    signature: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Waiting:
    """An archive that waits for approval, with its list and its page."""

    archive: Path
    list: Path
    page: Path
    leaves: Leaves


def keep_waiting(
    place: SitePlace,
    step: int,
    digest: str,
    members: Mapping[str, bytes],
    changes: Mapping[str, Change],
    synthetic: bool,
) -> Waiting:
    """Write the list and the page of an archive that was just made; the list makes it complete."""
    from nephroscope.federated.mean import difference, norm  # torch, which `approve` needs not

    archive = place.waiting / place.name_of(step)
    plan = place.invitation.plan
    tensors = [one for name in sorted(members) for one in tensors_in(name, members[name], changes.get(name))]
    listed = [
        SentMember(
            name=name,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            figures=parse_json(content.decode()) if name.endswith(".json") else None,
        )
        for name, content in sorted(members.items())
    ]
    leaves = Leaves(
        archive=archive.name,
        bytes=archive.stat().st_size,
        sha256=file_digest(archive),
        digest=digest,
        group=plan.name,
        step=step,
        step_words=plan.words(step),
        sender=place.site,
        recipient=f"the coordinator of {plan.name}, key {fingerprint(plan.key)}",
        through=place.through,
        words=words_of(plan, step, listed, tensors),
        members=tuple(listed),
        tensors=tuple(tensors),
        change={
            name: norm(difference(change.after, change.before)) if change.before else None
            for name, change in sorted(changes.items())
        },
        settings=plan,
        synthetic=synthetic,
    )
    return save_leaves(place, archive, leaves)


def save_leaves(place: SitePlace, archive: Path, leaves: Leaves) -> Waiting:
    """Write the list and its page next to an archive."""
    from nephroscope.federated.leaves_page import leaves_page

    paths = [archive.with_name(f"{archive.stem}-{name}") for name in (LIST, PAGE)]
    save_text(paths[1], leaves_page(leaves))
    save_document(paths[0], leaves, FORMAT)
    return Waiting(archive=archive, list=paths[0], page=paths[1], leaves=leaves)


def tensors_in(member: str, content: bytes, change: Change | None) -> list[SentTensor]:
    """Every tensor of a member; none of one that holds figures."""
    if member.endswith(".json"):
        return []
    from nephroscope.learning.training.rounds import arrays_from_bytes

    found = []
    for name, value in sorted(arrays_from_bytes(content, member).items()):
        before = change.before.get(name) if change else None
        went = None if before is None else float(np.linalg.norm((value.astype(np.float64) - before).ravel()))
        found.append(
            SentTensor(
                member=member,
                name=name,
                shape=value.shape,
                type=str(value.dtype),
                bytes=value.nbytes,
                sha256=hashlib.sha256(value.tobytes()).hexdigest(),
                change=went,
            )
        )
    return found


def is_weight(tensor: SentTensor) -> bool:
    """True for what belongs to a network, not to its optimizer."""
    from nephroscope.learning.training.rounds import NETWORK

    return tensor.name.startswith(NETWORK) or tensor.member.startswith("alone")


def words_of(plan: Plan, step: int, members: list[SentMember], tensors: list[SentTensor]) -> tuple[str, ...]:
    """What leaves, in sentences."""
    words = [f"This is the archive of {plan.words(step)} of the group {plan.name}."]
    n_weights = sum(int(np.prod(t.shape)) for t in tensors if is_weight(t))
    if tensors:
        size = sum(t.bytes for t in tensors) / 1e6
        words.append(
            f"It holds {len(tensors)} tensors, {size:.1f} MB: the weights of {plan.training.model} "
            f"({n_weights:,} numbers) and, in a round, the moments of the optimizer. They are sums over all slices "
            "of all training patients. They hold no picture, but a network can give away whether a patient was "
            "among those it learned from; the inspector tries that."
        )
    if any(m.name.startswith("norm-") for m in members):
        words.append(
            "It holds mean and variance of each channel of batch norm that the group's weights give on the training "
            "slices of this site."
        )
    files = [m.name for m in members if m.figures is not None]
    words.append(
        f"It holds {len(files)} file of figures, printed in full below. Counts of one to four patients are left out."
        if len(files) == 1
        else f"It holds {len(files)} files of figures, printed in full below."
    )
    if step == plan.figures:
        words.append(
            "A histogram of scores counts the cases of each subtype in each of its bins. With 15 cases most bins "
            "hold one case: whoever sees it knows the score of each case to the width of a bin, though not whose "
            "it is. Who knows that a certain patient is among few of a subtype learns what the model said of that "
            "patient."
        )
    words.append("It holds no name, no case number, no date of a patient, no path and no code.")
    return tuple(words)


def waiting_of(place: SitePlace, step: int) -> Waiting | None:
    """What waits for approval of a step; None where nothing does."""
    archive = place.waiting / place.name_of(step)
    listed = archive.with_name(f"{archive.stem}-{LIST}")
    if not archive.exists() or not listed.exists():
        return None
    leaves = read_document(listed, Leaves, FORMAT, "run the step again", GroupError)
    if file_digest(archive) != leaves.sha256:
        return None
    return Waiting(
        archive=archive, list=listed, page=archive.with_name(f"{archive.stem}-{PAGE}"), leaves=leaves
    )


def approve(place: SitePlace, by: str) -> tuple[Approval, Path]:
    """Sign what waits, send it, and keep the approval; run again, it sends the same bytes.

    Raises:
        GroupError: Nothing waits, or the archive is not the one that was listed; nothing is sent then.
    """
    waiting = _only_waiting(place)
    check_list(waiting)
    name = waiting.archive.name
    approval = Approval(
        archive=name,
        sha256=waiting.leaves.sha256,
        list_sha256=file_digest(waiting.list),
        by=by,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        computer=platform.node(),
    )
    signed = replace(approval, signature=sign(place.folder, as_json(approval)))
    for path in (waiting.list, waiting.page):
        copy_file(path, place.sent / path.name)
    save_document(place.sent / f"{waiting.archive.stem}-{APPROVAL}", signed, FORMAT)
    place.way.put(waiting.archive, name)
    sent = place.sent / name
    waiting.archive.replace(sent)
    for path in (waiting.list, waiting.page):
        path.unlink(missing_ok=True)
    return signed, sent


def send_again(place: SitePlace) -> tuple[Approval, Path]:
    """Send the newest archive that was approved once more, the same bytes: it was lost or damaged on its way.

    Raises:
        GroupError: None was sent, or it is not the one that was approved.
    """
    step = max(
        (s for s in range(place.invitation.plan.figures + 1) if _sent(place, s).exists()), default=None
    )
    if step is None:
        raise _nothing(place, "an archive that was approved", "none")
    sent = _sent(place, step)
    path = sent.with_name(f"{sent.stem}-{APPROVAL}")
    approval = read_document(path, Approval, FORMAT, "run the step again", GroupError)
    if file_digest(sent) != approval.sha256:
        raise _nothing(place, f"{sent.name} as it was approved", "other bytes in sent/")
    place.way.put(sent, sent.name)
    return approval, sent


def _sent(place: SitePlace, step: int) -> Path:
    return place.sent / place.name_of(step)


def check_list(waiting: Waiting) -> None:
    """Compare the list with the bytes of the archive: nothing is in one and not in the other.

    Raises:
        GroupError: They differ.
    """
    leaves, manifest = waiting.leaves, claimed(waiting.archive)
    with zipfile.ZipFile(waiting.archive) as file:
        inside = {
            info.filename: (info.file_size, hashlib.sha256(file.read(info)).hexdigest())
            for info in file.infolist()
            if info.filename not in (MANIFEST, SIGNATURE)
        }
    listed = {one.name: (one.bytes, one.sha256) for one in leaves.members}
    same = inside == listed == {one.name: (one.bytes, one.sha256) for one in manifest.members}
    if not same or file_digest(waiting.archive) != leaves.sha256:
        raise GroupError(
            where=f"archive {waiting.archive.name}",
            expected="the bytes that its list names",
            found="others: the archive or the list was changed",
            remedy="remove both from waiting/, and run the step again; nothing was sent",
        )


def _only_waiting(place: SitePlace) -> Waiting:
    plan = place.invitation.plan
    found = [waiting for step in range(plan.figures + 1) if (waiting := waiting_of(place, step))]
    if len(found) != 1:
        there = [path.name for path in sorted(place.waiting.glob("*.zip"))]
        other = f"{', '.join(there)}, whose bytes are not those that its list names" if there else "none"
        raise _nothing(
            place, "an archive that waits for approval", f"{len(found)} of them" if found else other
        )
    return found[0]


def _nothing(place: SitePlace, expected: str, found: str) -> GroupError:
    return GroupError(
        where=f"group {place.invitation.plan.name}",
        expected=expected,
        found=found,
        remedy="run `nephroscope federate train-round STUDY` first",
    )
