"""A group of hospitals for tests: archives of rounds that nobody trained, so that its rules are tried in no time."""

import csv
from dataclasses import replace

import numpy as np

from nephroscope.base.documents import read_document
from nephroscope.federated.archive import as_json, manifest_of, write_archive
from nephroscope.federated.contents import is_mean, norm_name
from nephroscope.federated.coordinator import invite, new_group
from nephroscope.federated.group import FoldFigures, Invitation, Joining, RoundFigures
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.keys import make_key
from nephroscope.federated.leaving import keep_waiting
from nephroscope.federated.place import SitePlace, make_place
from nephroscope.federated.ways import archive_name
from nephroscope.learning.training.rounds import (
    NETWORK,
    STATISTICS,
    VARIANCE,
    arrays_as_bytes,
    arrays_from_bytes,
    moment_shapes,
)
from nephroscope.records import SplitConfig, TrainConfig
from nephroscope.records.settings import Settings
from small_study import SPEC, make_study

TRAINING = TrainConfig(
    model="shufflenet_v2_x1_0",
    width=0.5,
    epochs=2,
    batch_size=16,
    slices_per_case=2,
    precision="fp32",
    seed=3,
)
SITES = ("east", "north", "west")


def settings(**changes):
    found = Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC")
    return replace(found, slices=SPEC, split=SplitConfig(folds=2), training=TRAINING, **changes)


def new_place(folder, sites=SITES, **decided):
    """A coordinator's folder with invitations."""
    decided = {"rounds": 2, "quorum": 2, "days": 0.0, "proximal": 0.0, "local_norm": False} | decided
    new_group(folder, settings(), **decided)
    place = GroupPlace(folder)
    for site in sites:
        invite(place, site)
    return place


def site_place(root, place, site):
    """A site's folder, joined through the folder of the group."""
    path = place.folder / "invitations" / f"{site}.json"
    own = make_place(root / site, read_document(path, Invitation, 1), place.exchange)
    make_key(own.folder)
    return own


def send(own: SitePlace, step, members, previous=None, key=None, name=None, group=None, folder=None):
    """Lay a signed archive of a site into the folder of the group, or another one; gives its path there."""
    if previous is None:
        previous = own.receive()[-1].digest
    plan = own.invitation.plan
    manifest = manifest_of(group or plan.id, step, own.site, previous, members)
    path = (folder or own.way.folder) / (name or archive_name(plan.name, step, own.site))
    write_archive(path, manifest, members, key or own.folder)
    return path


def wait(own: SitePlace, step, members):
    """Lay an archive down for approval, as `train-round` does."""
    path = own.waiting / own.name_of(step)
    manifest = manifest_of(own.invitation.plan.id, step, own.site, own.receive()[-1].digest, members)
    digest = write_archive(path, manifest, members, own.folder)
    return keep_waiting(own, step, digest, members, {}, synthetic=True)


def send_joining(own: SitePlace, code=None, key_folder=None, folder=None):
    """The request to join."""
    import hmac

    key_folder = key_folder or own.folder
    key = make_key(key_folder)
    proof = hmac.new((code or own.invitation.code).encode(), key.encode(), "sha256").hexdigest()
    joining = Joining(key=key, proof=proof, counts=(), synthetic=False, findings=())
    return send(own, 0, {"joining.json": as_json(joining)}, previous="", key=key_folder, folder=folder)


def round_members(own: SitePlace, add=0.0, patients=10):
    """The members of a round that changed every weight by the same number, and no mean of batch norm."""
    archive, members = own.receive()[-1], {}
    for fold in range(own.invitation.plan.split.folds):
        name = f"fold-{fold}.safetensors"
        arrays = arrays_from_bytes(archive.read(name), name)
        still = {k for k, v in arrays.items() if v.dtype.kind != "f" or k.endswith(".running_mean")}
        moved = {k: v if k in still else v + np.asarray(add, v.dtype) for k, v in arrays.items()}
        plan = own.invitation.plan
        for moment, (shape, kind) in moment_shapes(plan.training, len(plan.subtypes), plan.slices).items():
            moved.setdefault(moment, np.zeros(shape, kind))
        members[name] = arrays_as_bytes(moved)
    return members | figures(own, patients)


def figures(own: SitePlace, patients):
    """What a site says of each fold."""
    folds = [
        FoldFigures(index=fold, patients=patients, cases=(5, 5), received_loss=0.7)
        for fold in range(own.invitation.plan.split.folds)
    ]
    return {"figures.json": as_json(RoundFigures(folds=tuple(folds), versions={}))}


def closing_members(own: SitePlace, add=0.0):
    """The members of the closing exchange: the weights as if trained alone, batch norm moved by a number."""
    archive, members = own.receive()[-1], {}
    for fold in range(own.invitation.plan.split.folds):
        name = f"fold-{fold}.safetensors"
        arrays = arrays_from_bytes(archive.read(name), name)
        plain = {k.removeprefix(NETWORK): v for k, v in arrays.items() if k.startswith(NETWORK)}
        members[f"alone-{name}"] = arrays_as_bytes(plain)
        if is_mean(archive):
            moved = {k: v + np.asarray(add * k.endswith(VARIANCE), v.dtype) for k, v in plain.items()}
            members[norm_name(fold)] = arrays_as_bytes(
                {k: v for k, v in moved.items() if k.endswith(STATISTICS)}
            )
    return members | figures(own, 10)


PLANTED = "DOE-JANE-"  # begins the name of every case and patient of many_sites


def many_sites(root, n_cases, sites):
    """A study on disk whose cases are of several hospitals; each has as many of both subtypes."""
    study = make_study(root, n_cases)
    names = ("model", "width", "epochs", "batch_size", "slices_per_case", "precision", "seed")
    study.change("training", **{name: getattr(TRAINING, name) for name in names})
    study.change("split", folds=2)
    for name in ("cohort.csv", "series.csv", "rois.csv"):
        with (root / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for number, row in enumerate(rows):
            row |= {key: PLANTED + row[key] for key in ("case_id", "patient_id") if row.get(key)}
            if name == "cohort.csv":
                row["site_id"] = f"h{(number // 2) % sites}"
        with (root / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    study.cut_slices()
    return study
