"""The protocol of a reader study: who reads which cases, in which arms and order. Locked by its SHA-256.

The digest is taken before the first case is shown. A change is a new study: a protocol whose file does not have the
digest that was locked is refused.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nephroscope.base.documents import as_plain, read_document, save_document
from nephroscope.workstation.reading.refusals import LockedError, PlanError

FORMAT = 1
FOLDER, FILE = "reading", "protocol.json"  # a folder for each reader study, below the workstation's own
SCALE = "1-5"
LOWEST, MIDDLE, HIGHEST = 1, 3, 5  # of the confidence: certainly not the positive subtype ... certainly
LEAST_WASHOUT_DAYS, MOST_WASHOUT_DAYS = 28, 3650
MOST_CASES, MOST_TRAINING, MOST_READERS, LONGEST_TEXT = 2000, 50, 50, 500
SEEDS = 2**53  # whole numbers below it are exact in JavaScript
PSEUDONYM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _-]{0,30}[A-Za-z0-9])?")

Arm = Literal["unaided", "aided"]
Design = Literal["single", "sequential", "crossover"]
ModelKind = Literal["run", "bundle"]


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """The model that aids: a run by its name, or a bundle by its folder."""

    kind: ModelKind
    name: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an organizer decides about a reader study.

    Attributes:
        title: Of the study, for lists.
        question: What a reader is asked about each case.
        cases: case_id of the cases that count.
        readers: Pseudonyms.
        training: case_id of cases for practice, shown first; they are never exported.
        arms: unaided, aided, or both.
        design: ``single`` with one arm; with both ``sequential`` (the aided answer right after the unaided one) or
            ``crossover`` (all cases in one arm, and after the washout in the other).
        seed: Of the orders.
        washout_days: Of a crossover.
        outline: Show the outline of the tumor, as a person drew it.
        model: That aids; None where no arm is aided.
    """

    title: str
    cases: tuple[str, ...]
    readers: tuple[str, ...]
    seed: int
    question: str = ""
    training: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ("unaided",)
    design: Design = "single"
    washout_days: int = LEAST_WASHOUT_DAYS
    outline: bool = True
    model: ChosenModel | None = None


@dataclass(frozen=True, kw_only=True)
class ReadCase:
    """A case of the protocol; ``shown`` is the digest of its series and outline as they are listed in the study."""

    case_id: str
    shown: str


@dataclass(frozen=True, kw_only=True)
class UsedModel:
    """The model that aids.

    Attributes:
        digest: Of the run or of the bundle.
        answers: SHA-256 of its answers about the cases, which are kept with the protocol.
    """

    kind: ModelKind
    name: str
    digest: str
    answers: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A locked reader study; the fields of `Plan` as they were checked against the study.

    Attributes:
        positive: The subtype that the confidence is about.
        scale: Of the confidence.
        synthetic: True when a case is a phantom.
    """

    title: str
    question: str
    subtypes: tuple[str, ...]
    positive: str
    cases: tuple[ReadCase, ...]
    training: tuple[ReadCase, ...]
    readers: tuple[str, ...]
    arms: tuple[Arm, ...]
    design: Design
    seed: int
    washout_days: int
    outline: bool
    model: UsedModel | None
    scale: str = SCALE
    synthetic: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form: JSON with sorted keys and without spaces, 64 hex digits."""
        return canonical_digest({"format": FORMAT, **as_plain(self)})


def canonical_digest(content: object) -> str:
    """SHA-256 of plain JSON values with sorted keys and without spaces, as 64 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_plan(plan: Plan) -> None:
    """Refuse a plan that contradicts itself, before the study is looked at.

    Raises:
        PlanError: A field is empty, too long, named twice, or does not go with another one.
    """
    _check_texts(plan)
    _check_names("cases", plan.cases, MOST_CASES, least=1)
    _check_names("training", plan.training, MOST_TRAINING)
    _check_names("readers", plan.readers, MOST_READERS, least=1)
    both = sorted(set(plan.cases) & set(plan.training))
    if both:
        raise _refused(
            "training",
            "cases that do not count",
            f"{', '.join(both[:5])} also among the cases",
            "leave it out of one",
        )
    for reader in plan.readers:
        if not PSEUDONYM.fullmatch(reader):
            expected = "a pseudonym of at most 32 letters, digits, spaces, - and _"
            raise _refused("readers", expected, repr(reader), "use pseudonyms such as R1 and R2")
    named = (*plan.readers, *([Path(plan.model.name).name] if plan.model else []))
    folded = ["".join(sign for sign in name.casefold() if sign.isalnum()) for name in named]
    twice = [name for name, words in zip(named, folded, strict=True) if folded.count(words) > 1]
    if twice:
        found = f"{' and '.join(twice)}, which differ in capitals, spaces or signs only"
        raise _refused(
            "readers", "names that cannot be confused, the model's too", found, "rename one of them"
        )
    if not 0 <= plan.seed < SEEDS:
        raise _refused(
            "seed", "a whole number of 0 or more, below 2**53", str(plan.seed), "choose another number"
        )
    _check_arms(plan)


def _check_texts(plan: Plan) -> None:
    texts = [("title", plan.title.strip(), 1), ("question", plan.question, 0)]
    texts += [("model", plan.model.name.strip(), 1)] if plan.model else []
    for name, text, least in texts:
        odd = any(not sign.isprintable() for sign in text)
        if odd or not least <= len(text) <= LONGEST_TEXT:
            expected = f"{'a' if least else 'no, or a'} line of text of at most {LONGEST_TEXT} characters"
            found = "a line break or another control character" if odd else f"{len(text)} characters"
            raise _refused(name, expected, found if text else "none", "correct it" if text else "write one")


def _check_names(field: str, names: Sequence[str], most: int, least: int = 0) -> None:
    if not least <= len(names) <= most:
        raise _refused(
            field, f"{least} to {most}", str(len(names)), "choose fewer" if names else "choose one"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refused(field, "each once", f"{', '.join(twice[:5])} twice", "remove the second")


def _check_arms(plan: Plan) -> None:
    arms = set(plan.arms)
    if not arms or len(arms) < len(plan.arms):
        raise _refused(
            "arms", "unaided, aided, or both", ", ".join(plan.arms) or "none", "name each arm once"
        )
    if (len(arms) == 1) != (plan.design == "single"):
        expected = "single with one arm; sequential or crossover with two"
        raise _refused("design", expected, f"{plan.design} with {len(arms)}", "choose another design")
    if ("aided" in arms) != (plan.model is not None):
        expected = "a model where an arm is aided, and none where no arm is"
        found = "none" if plan.model is None else f"{plan.model.kind} {Path(plan.model.name).name}"
        raise _refused("model", expected, found, "choose a run or a bundle, or leave the aided arm out")
    days = plan.washout_days
    if not LEAST_WASHOUT_DAYS <= days <= MOST_WASHOUT_DAYS:
        expected = f"{LEAST_WASHOUT_DAYS} to {MOST_WASHOUT_DAYS} days"
        raise _refused(
            "washout_days", expected, str(days), "readers remember cases for weeks: use 28 or more"
        )


def _refused(field: str, expected: str, found: str, remedy: str) -> PlanError:
    return PlanError(where=f"protocol, {field}", expected=expected, found=found, remedy=remedy)


def save_protocol(folder: Path, protocol: Protocol) -> None:
    """Write protocol.json into the folder of a reader study, whole or not at all."""
    save_document(folder / FILE, protocol, FORMAT)


def read_protocol(folder: Path, locked: str) -> Protocol:
    """The protocol of a reader study.

    Args:
        folder: Of the reader study.
        locked: The digest under which it was locked.

    Raises:
        LockedError: The file is lost, damaged, or not the one that was locked.
    """
    remedy = "restore the file from a copy; for another protocol make a new reader study"
    protocol = read_document(folder / FILE, Protocol, FORMAT, remedy, LockedError)
    if protocol.digest != locked:
        raise LockedError(
            where=FILE,
            expected=f"the protocol as it was locked, SHA-256 {locked}",
            found=f"another one, SHA-256 {protocol.digest}",
            remedy=remedy,
        )
    return protocol
