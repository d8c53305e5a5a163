"""A site of a group that is played: it does its step as a hospital would, and its failure is its own."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.parallel import Unfinished, Workers
from nephroscope.federated.figures import make_figures
from nephroscope.federated.group import Invitation, Refusal
from nephroscope.federated.leaving import approve
from nephroscope.federated.place import SitePlace
from nephroscope.federated.site import join, train_next
from nephroscope.federated.ways import archive_name
from nephroscope.study.snapshot import Snapshot, take_snapshot

logger = logging.getLogger(__name__)
FAILED = "failed"  # code of what is no refusal: a mistake of ours, a full disk, a process that was ended


@dataclass(frozen=True, kw_only=True)
class SiteJob:
    """What a site has to do, small enough to be sent to a process."""

    study: str
    place: str
    site_id: str
    invitation: Invitation
    exchange: str
    step: int


def of_site(snapshot: Snapshot, site_id: str) -> Snapshot:
    """The cases of one site, as its own study would have them."""
    cases = tuple(case for case in snapshot.cohort.cases if case.site_id == site_id)
    return replace(snapshot, cohort=replace(snapshot.cohort, cases=cases), own_slices=snapshot.slices)


def play_sites(jobs: Sequence[SiteJob], n: int) -> tuple[Refusal, ...]:
    """Let every site do its step, so many at a time; gives those that could not, each with its reason.

    Args:
        jobs: Of the sites.
        n: Processes; 1 does all in this one.
    """
    if n > 1 and len(jobs) > 1:
        workers = Workers(attempt, None, threading.TIMEOUT_MAX, min(n, len(jobs)))
        found = [_told(job, answer) for job, answer in workers.answers(jobs)]
    else:
        found = [attempt(job) for job in jobs]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.site))


def _told(job: SiteJob, answer: Refusal | Unfinished | None) -> Refusal | None:
    """What a process said, or that it said nothing more."""
    if isinstance(answer, Unfinished):
        return _refusal(job, FAILED, "its process was ended, perhaps because memory ran out")
    return answer


def attempt(job: SiteJob | None) -> Refusal | None:
    """Do what a site has to do; gives why it could not. None, which a new process is given first, does nothing.

    A hospital's computer that fails stops no other one, so whatever is raised ends here.
    """
    if job is None:
        return None
    try:
        do_step(job)
    except NephroscopeError as error:
        return _refusal(job, error.code, str(error))
    except Exception as error:
        logger.exception("site %s", job.invitation.site)
        return _refusal(job, FAILED, type(error).__name__)
    return None


def _refusal(job: SiteJob, code: str, why: str) -> Refusal:
    return Refusal(site=job.invitation.site, step=job.step, code=code, why=why)


def do_step(job: SiteJob) -> None:
    """Do what a site has to do now, and approve it; nothing where it is done."""
    study = of_site(take_snapshot(Path(job.study)), job.site_id)
    place, plan = SitePlace(Path(job.place)), job.invitation.plan
    step = len(place.receive()) if (place.folder / "invitation.json").exists() else 0
    if (place.sent / archive_name(plan.name, step, job.invitation.site)).exists():
        return
    if step == 0:
        join(place.folder, study, job.invitation, Path(job.exchange))
    elif job.step == plan.figures:
        make_figures(place, study, share="scores")
    else:
        train_next(place, study)
    approve(SitePlace(place.folder), "simulation")
