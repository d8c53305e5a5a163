"""What could be read back from a model: whether a patient was among those it learned from, told by the loss.

A lower bound: the attack is the simplest there is (Yeom et al. 2018), and knows only the model that leaves.
"""

from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import GroupError
from nephroscope.federated.archive import open_archive
from nephroscope.federated.contents import fold_name, own_names
from nephroscope.federated.group import site_snapshot
from nephroscope.federated.keys import make_key
from nephroscope.federated.leaving import save_leaves, waiting_of
from nephroscope.federated.place import SitePlace
from nephroscope.federated.site import own_norms
from nephroscope.learning.training.rounds import arrays_from_bytes, case_probabilities, final_weights
from nephroscope.learning.training.run import fold_task
from nephroscope.records import Estimate
from nephroscope.statistics.estimates import Rows, estimate_all
from nephroscope.statistics.intervals import Patients
from nephroscope.study.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What the inspector found.

    Attributes:
        auc: Of telling training cases of a fold from its held-out cases by their loss; 0.5 is a guess.
        training, held_out: Cases.
        archive: What was inspected.
    """

    auc: Estimate
    training: int
    held_out: int
    archive: str


def inspect(place: SitePlace, snapshot: Snapshot) -> Inspected:
    """Try the weights that wait for approval on this site's own patients; writes the answer on the page.

    Raises:
        GroupError: No archive with weights waits.
    """
    plan = place.invitation.plan
    found = [w for step in range(1, plan.closing + 1) if (w := waiting_of(place, step)) is not None]
    if not found:
        raise GroupError(
            where=f"group {plan.name}",
            expected="an archive with weights that waits for approval",
            found="none",
            remedy="run `nephroscope federate train-round STUDY` first",
        )
    waiting = found[-1]
    study, alone = site_snapshot(snapshot, plan), waiting.leaves.step == plan.closing
    losses, inside, patients = [], [], []
    for fold in study.split.folds:
        name = ("alone-" if alone else "") + fold_name(fold.index)
        weights = arrays_from_bytes(_member(place, waiting.leaves.step, name), name)
        if not alone:
            if own := own_names(plan):
                task = fold_task(study, plan.training, fold)
                weights |= own_norms(place, task, study, waiting.leaves.step, own)
            weights = final_weights(weights, None)
        for part, member in ((fold.train, True), (fold.test, False)):
            cases = sorted(part)
            p = case_probabilities(study, plan.training, weights, cases)
            of_truth = p[np.arange(len(cases)), [study.labels[case] for case in cases]]
            losses += (-np.log(np.maximum(of_truth, 1e-12))).tolist()
            inside += [member] * len(cases)
            patients += [f"{fold.index} {study.cohort.by_id[case].patient_id}" for case in cases]
    y = np.array(inside)
    truth = y.astype(np.intp)
    who = Patients.of(patients, truth)
    rows = Rows(unit="case", truth=truth, called=truth, p=np.array([losses]).T, patients=who)
    auc = estimate_all(rows, {}, {"auc": [(-rows.p[:, 0], y)]}, study.settings.evaluation)["auc"]
    waiting.leaves.risk["membership_auc"] = auc.value
    save_leaves(place, waiting.archive, waiting.leaves)
    n = int(y.sum())
    return Inspected(auc=auc, training=n, held_out=len(y) - n, archive=waiting.archive.name)


def _member(place: SitePlace, step: int, name: str) -> bytes:
    path = place.waiting / place.name_of(step)
    return open_archive(path, make_key(place.folder), place.invitation.plan.id, place.site).read(name)
