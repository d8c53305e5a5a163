"""New certificates for a group whose own end; a site takes them over with the new invitation."""

import shutil
from dataclasses import replace
from pathlib import Path

from nephroscope.base.errors import GroupError
from nephroscope.base.files import publish_folder
from nephroscope.federated.certificates import RELAYS, certifier_in, host_of
from nephroscope.federated.group_place import GroupPlace, write_invitation
from nephroscope.federated.keys import write_private


def renew(place: GroupPlace) -> list[Path]:
    """Make all certificates of a group again, and write them into its invitations; gives these.

    Keys that sign archives, plan and rounds stay as they are.

    Raises:
        GroupError: Its archives pass through a folder.
    """
    address, tls = place.relay or place.flower, place.folder / "tls"
    if not address:
        raise GroupError(
            where=f"group {place.plan.name}",
            expected="a group with a relay or Flower",
            found="one whose archives pass through a folder",
            remedy="there is nothing to renew",
        )
    draft = place.folder / ".tls.new"
    shutil.rmtree(draft, ignore_errors=True)
    certify = certifier_in(draft, place.plan.name, host_of(address)[0])
    texts = {one.site: certify(one.site) for one in place.invitations()}
    shutil.rmtree(tls, ignore_errors=True)  # killed from here on: the same command makes all of it again
    publish_folder(draft, tls)
    paths = []
    for one in place.invitations():
        path = place.folder / "invitations" / f"{one.site}.json"
        authority, certificate, private = texts[one.site]
        write_invitation(path, replace(one, authority=authority, certificate=certificate, private=private))
        paths.append(path)
    if place.relay:
        for name in RELAYS:
            write_private(place.folder / "relay" / name, (tls / name).read_bytes())
    return paths
