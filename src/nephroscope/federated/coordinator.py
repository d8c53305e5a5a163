"""What the coordinator does: make a group, invite sites, and close each step from the archives of its sites.

What was decided stands in the coordinator's own archives, one a step, each signed and naming the one before it.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nephroscope.base.documents import save_document
from nephroscope.base.errors import ArchiveError, GroupError
from nephroscope.base.files import file_digest, make_folder, publish_folder
from nephroscope.federated.archive import (
    Archive,
    as_json,
    claimed_document,
    manifest_of,
    open_archive,
    refused,
    write_archive,
)
from nephroscope.federated.contents import check_contents, is_mean
from nephroscope.federated.group import (
    COORDINATOR,
    FORMAT,
    Group,
    Invitation,
    Joining,
    Plan,
    Refusal,
    SiteKey,
    Step,
    Used,
    check_name,
    plan_of,
)
from nephroscope.federated.group_place import PLAN, GroupPlace, write_invitation
from nephroscope.federated.keys import make_key, sign
from nephroscope.federated.store import refusal_of
from nephroscope.federated.ways import archive_name
from nephroscope.records.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What there is of a step: archives by site, refusals, who is missing and until when they are waited for."""

    step: int
    archives: dict[str, Archive]
    refused: tuple[Refusal, ...]
    missing: tuple[str, ...]
    until: str

    @property
    def is_late(self) -> bool:
        """True after the deadline."""
        return datetime.now(UTC) >= datetime.fromisoformat(self.until)


def new_group(folder: Path, settings: Settings, **decided: object) -> Plan:
    """Make the folder of a group, with the coordinator's key.

    Raises:
        ConfigError: A name or setting is not allowed.
        GroupError: There is something in the folder already.
    """
    check_name(folder.name)
    if folder.exists() and any(folder.iterdir()):
        raise GroupError(
            where=f"folder {folder.name}",
            expected="a new or empty folder",
            found="one with files in it",
            remedy="choose another name",
        )
    draft = folder.with_name(f".{folder.name}.new")
    key = make_key(draft)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    plan = plan_of(settings, name=folder.name, id=secrets.token_hex(16), key=key, made=made, **decided)
    save_document(draft / PLAN, plan, FORMAT)
    make_folder(draft / "exchange")
    if folder.exists():
        folder.rmdir()
    publish_folder(draft, folder)
    return plan


def invite(
    place: GroupPlace,
    site: str,
    relay: str = "",
    certify: Callable[[str], tuple[str, str, str]] | None = None,
    flower: str = "",
) -> Path:
    """Write the invitation of a site; the same one again changes nothing.

    Args:
        place: Of the group.
        site: Its name.
        relay: Address of the relay, where there is one.
        certify: Gives the authority's certificate, and certificate and key for a site, as PEM texts.
        flower: Address of Flower, where it carries the archives.

    Raises:
        ConfigError: The name cannot stand in a file's name.
        GroupError: Joining is closed.
    """
    check_name(site)
    path = place.folder / "invitations" / f"{site}.json"
    if path.exists():
        return path
    if place.made():
        raise GroupError(
            where=f"group {place.plan.name}",
            expected="a group whose sites are still joining",
            found="one whose rounds have begun",
            remedy="make a new group with all sites",
        )
    authority, certificate, private = certify(site) if certify else ("", "", "")
    invitation = Invitation(
        plan=place.plan,
        site=site,
        code=secrets.token_hex(16),
        relay=relay,
        flower=flower,
        authority=authority,
        certificate=certificate,
        private=private,
    )
    return write_invitation(path, invitation)


def look(place: GroupPlace) -> Arrived:
    """Take what came for the present step: proved archives are kept, others are refused by name and reason."""
    made, plan = place.made(), place.plan
    step = len(made)
    if step > plan.figures:
        raise GroupError(
            where=f"group {plan.name}",
            expected="a step that is not closed",
            found="none: the group is finished",
            remedy="look at its page",
        )
    names = set(place.way.names())
    sites = [one.site for one in place.invitations()] if step == 0 else [s.name for s in place.group().sites]
    archives: dict[str, Archive] = {}
    refusals: list[Refusal] = _late(place, made, names)
    for site in sites:
        try:
            archive = _take(place, site, step, made, names)
        except ArchiveError as error:
            refusals.append(
                Refusal(site=site, step=step, code=error.code, why=f"{error.expected}; found {error.found}")
            )
            continue
        if archive is not None:
            archives[site] = archive
    until = made[-1].document("step.json", Step).until if made else _first_deadline(place)
    missing = tuple(site for site in sites if site not in archives)
    return Arrived(step=step, archives=archives, refused=tuple(refusals), missing=missing, until=until)


def _take(
    place: GroupPlace, site: str, step: int, made: Sequence[Archive], names: set[str]
) -> Archive | None:
    """The archive of a site for this step, fetched and proved once; None where there is none yet."""
    kept, copy = place.accepted(step, site), place.refused(step, site)
    name = kept.name
    if not kept.exists():
        if name not in names:
            if copy.exists():  # refused, removed from the relay, and not made again yet
                archive = _prove(place, site, step, copy, made, name)
                check_contents(archive, place.plan, bool(made) and is_mean(made[-1]))
            return None
        draft = kept.with_name(f".{name}.new")
        make_folder(draft.parent)
        place.way.fetch(name, draft)
        try:
            archive = _prove(place, site, step, draft, made, name)
            check_contents(archive, place.plan, bool(made) and is_mean(made[-1]))
        except ArchiveError:
            make_folder(copy.parent)
            draft.replace(copy)
            digest = file_digest(copy)
            place.way.give_up(name, digest, sign(place.folder, refusal_of(place.plan.id, name, digest)))
            raise
        draft.replace(kept)
    return _prove(place, site, step, kept, made, name)


def _prove(
    place: GroupPlace, site: str, step: int, path: Path, made: Sequence[Archive], name: str
) -> Archive:
    """Prove that an archive is this site's answer to the coordinator's last archive.

    Raises:
        ArchiveError: It is not; the code names why.
    """
    shown = path.with_name(name)
    key = place.group().key_of(site) if step else _joining_key(place, site, path)
    archive = open_archive(path, key, place.plan.id, site)
    if archive.manifest.step != step:
        old = archive.manifest.step < step
        raise refused(
            "replayed" if old else "round",
            shown,
            f"the archive of {place.plan.words(step)}",
            f"that of {place.plan.words(archive.manifest.step)}{', sent again' if old else ''}",
        )
    if archive.manifest.previous != (made[-1].digest if made else ""):
        raise refused("round", shown, "an answer to the coordinator's last archive", "one to another archive")
    archive.check_all()
    return archive


def _joining_key(place: GroupPlace, site: str, path: Path) -> str:
    """The public key in a request to join, once it is proved that it comes from who was invited."""
    invitation = next(one for one in place.invitations() if one.site == site)
    joining = claimed_document(path, "joining.json", Joining)
    proof = hmac.new(invitation.code.encode(), joining.key.encode(), "sha256").hexdigest()
    if not hmac.compare_digest(proof, joining.proof):
        raise refused("key", path, "a request made with the code of the invitation", "one without it")
    return joining.key


def _late(place: GroupPlace, made: Sequence[Archive], names: set[str]) -> list[Refusal]:
    """Archives for steps that were closed without them, each with the round that it missed."""
    found = []
    for archive in made[1:]:
        record = archive.document("step.json", Step)
        for site in record.missing:
            step = record.step
            if archive_name(place.plan.name, step, site) in names and not place.accepted(step, site).exists():
                why = f"{place.plan.words(step)} was closed without it; it goes on with the next one"
                found.append(Refusal(site=site, step=step, code="archive-late", why=why))
    return found


def _first_deadline(place: GroupPlace) -> str:
    """Deadline of joining: counted from when the group was made."""
    made = datetime.fromisoformat(place.plan.made)
    return (made + timedelta(days=place.plan.days)).isoformat(timespec="seconds")


def check_complete(arrived: Arrived, plan: Plan, without: Sequence[str]) -> None:
    """Refuse to close a step with fewer sites in silence.

    Args:
        arrived: What came.
        plan: With quorum and deadline.
        without: Sites that the coordinator says to go on without.

    Raises:
        GroupError: Fewer than the quorum are here; or somebody is missing, and the deadline has not passed, or the
            coordinator did not name exactly those who are missing.
    """
    n, missing = len(arrived.archives), arrived.missing
    where = f"group {plan.name}, {plan.words(arrived.step)}"
    if not missing and n:
        return
    who = ", ".join(missing)
    notes = "; ".join(f"{r.site}: {r.code}" for r in arrived.refused if r.step == arrived.step)
    found = f"{n}; missing: {who or 'everybody'}" + (f" (refused: {notes})" if notes else "")
    if n < plan.quorum:
        raise GroupError(
            where=where,
            expected=f"archives of at least {plan.quorum} sites, the quorum of the group",
            found=found,
            remedy="wait for them, or ask them; below the quorum no round is closed",
        )
    if not arrived.is_late:
        raise GroupError(
            where=where,
            expected=f"the archives of all sites, which have time until {arrived.until}",
            found=found,
            remedy="wait, or ask them; after that time the round can be closed without them",
        )
    if set(without) != set(missing):
        raise GroupError(
            where=where,
            expected="to be told to go on without exactly those who are missing",
            found=f"{found}; told: {', '.join(without) or 'nothing'}",
            remedy=f"wait longer, or run it again with --without {' '.join(missing)}",
        )


def publish(
    place: GroupPlace, arrived: Arrived, members: Mapping[str, bytes], record: Step
) -> tuple[Archive, Step]:
    """Write the coordinator's archive of a step, which closes it, and lay it out for the sites."""
    plan = place.plan
    made = place.made()
    everything = {**members, "step.json": as_json(record)}
    previous = made[-1].digest if made else ""
    manifest = manifest_of(plan.id, arrived.step, COORDINATOR, previous, everything)
    name = archive_name(plan.name, arrived.step, COORDINATOR)
    path = place.folder / "made" / name
    write_archive(path, manifest, everything, place.folder)
    lay_out(place)
    return open_archive(path, plan.key, plan.id, COORDINATOR), record


def lay_out(place: GroupPlace) -> None:
    """Lay out every archive that the sites should have; those of a run that was killed, too."""
    made, way = place.made(), place.way
    names = set(way.names())
    for archive in made:
        if archive.path.name not in names or archive is made[-1]:
            way.put(archive.path, archive.path.name)


def record_of(arrived: Arrived, plan: Plan, **more: object) -> Step:
    """The record of a step that is being closed."""
    until = datetime.now(UTC) + timedelta(days=plan.days)
    return Step(
        step=arrived.step,
        used=tuple(Used(site=site, digest=a.digest) for site, a in sorted(arrived.archives.items())),
        missing=arrived.missing,
        told=bool(arrived.missing),
        refused=arrived.refused,
        until=until.isoformat(timespec="seconds"),
        **more,  # type: ignore[arg-type]
    )


def group_of(arrived: Arrived, plan: Plan) -> Group:
    """The group of those who joined."""
    keys = [
        SiteKey(name=site, key=archive.document("joining.json", Joining).key)
        for site, archive in sorted(arrived.archives.items())
    ]
    return Group(plan=plan, sites=tuple(keys))
