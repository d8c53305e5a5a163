"""bundle.json: what it holds, typed; every field is checked, and the file carries a digest of its own."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from nephroscope.base.documents import from_plain, read_object
from nephroscope.base.errors import BundleError, NephroscopeError
from nephroscope.base.files import digest_of
from nephroscope.clinic.facts import AGE, FACTS, SEX, SIZE, FactsModel
from nephroscope.clinic.outside import OutsideCheck
from nephroscope.clinic.score import FEATURES, CaseInput
from nephroscope.clinic.sets import FEWEST, ConformalSets
from nephroscope.records import PHASES, ClinicalFacts, Estimate, OperatingPoint, SliceSpec
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS

FORMAT = 5  # 4: the networks of several folds in one; 5: several phases, clinical facts, an embedding
KIND, SEGMENT = "kind", "segment"  # of a bundle that draws; one that tells subtypes apart says no kind
ONE_PHASE = 4  # the format of a bundle that answers from one series alone: older programs read it
FILES = ("model.onnx", "reference.npz", "README.md")
CARD, EMBEDDING = "MODEL_CARD.md", "embedding.onnx"
MOST_BYTES = {
    "bundle.json": 16 << 20,
    "model.onnx": 1_000_000_000,  # ResNet101, the largest network, has 170 MB, times five folds
    "reference.npz": 64 << 20,
    "README.md": 4 << 20,
    CARD: 4 << 20,
    EMBEDDING: 64 << 20,
}
MOST_LOG_ODDS, LEAST_SD = 100.0, 1e-3  # of a regression on standardized facts
MEANS = {  # of a fact as the regression sees it
    AGE: (0.0, float(OLDEST_YEARS)),
    SEX: (0.0, 1.0),
    SIZE: (math.log(0.01), math.log(LARGEST_CM)),
}
FARTHEST = 1e6  # of a center from the middle, in SD of the training cases
MOST_SUBTYPES, LONGEST_NAME, LONGEST_TEXT = 20, 80, 200
REMEDY = "copy or export the bundle again"
HEX_16, HEX_64 = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a network needs besides the slices of the chosen series.

    Attributes:
        phases: Contrast phases, each as slices of the same places.
        clinical: Fields of `ClinicalFacts`.
    """

    phases: tuple[str, ...] = ()
    clinical: tuple[str, ...] = ()

    def check(self, case: CaseInput) -> None:
        """Refuse a case that does not have them.

        Raises:
            BundleError: A phase or a clinical fact is missing.
        """
        missing = [phase for phase in self.phases if phase not in case.slices]
        missing += [name for name in self.clinical if getattr(case.clinical, name, None) is None]
        if missing:
            raise BundleError(
                where=f"case {case.case_id}",
                expected=f"the data that the bundle needs: {', '.join((*self.phases, *self.clinical))}",
                found=f"no {', '.join(missing)}",
                remedy="give them, or use a bundle that does not need them",
            )


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """One of the networks of a bundle: its fold, its weights, and how many cases it learned from and stopped by."""

    fold: int
    weights_sha256: str
    n_train: int
    n_validation: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """What bundle.json says of the training.

    Attributes:
        networks: Those whose mean answers; formats before 4 hold one, of ``fold``.
        n_train: Cases that a network learned from; ``n_validation``: those that only decided when to stop.
        slices_digests: Digests of the slices of the training and validation cases.
        phases: Contrast phases of these cases, with the number of cases; formats before 2 do not say.
        n_unit: What ``n_train`` and ``n_validation`` count.
    """

    synthetic: bool
    leaky: bool
    slices_digests: tuple[str, ...]
    phases: dict[str, int] = field(default_factory=dict)
    run: str = ""
    networks: tuple[TrainedNetwork, ...] = ()
    fold: int = 0
    cohort_digest: str = ""
    weights_sha256: str = ""
    protocol: str = ""
    converged: bool = True
    n_train: int = 0
    n_validation: int = 0
    n_unit: str = "case"


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """bundle.json. ``digest`` is that of all other fields; formats before 3 have none.

    ``applicability`` holds the lowest and highest value of each of `FEATURES`; ``reference`` says what the stored
    slices show: ``phantoms`` or ``training cases``. ``facts`` says how age, sex and size are used; None: not at all.
    ``phases`` are those that the network is shown, in order, any of them missing; none where it sees one series.
    ``sets`` holds the limits of the sets of possible subtypes for answers of the image alone, ``sets_with_facts`` for
    those with clinical facts; ``outside`` says what is known of tumors that are none
    of the subtypes.
    """

    subtypes: tuple[str, ...]
    positive: str
    slices: SliceSpec
    slices_digest: str
    operating_point: OperatingPoint
    not_sure_margin: float
    applicability: dict[str, tuple[float, float]]
    training: Training
    sha256: dict[str, str]
    needs: Needs = field(default_factory=Needs)
    phases: tuple[str, ...] = ()
    evaluation: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    nephroscope: str = ""
    made: str = ""
    model: str = "network"
    recipe: str = ""
    reference: str = "training cases"
    facts: FactsModel | None = None
    sets: ConformalSets | None = None
    sets_with_facts: ConformalSets | None = None
    outside: OutsideCheck | None = None
    digest: str = ""


def content_digest(content: Mapping[str, object]) -> str:
    """SHA-256 of bundle.json without its field ``digest``, as canonical JSON."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_bundle_file(folder: Path) -> tuple[BundleFile, int]:
    """bundle.json, every field checked, and its format number.

    Raises:
        BundleError: It is missing or damaged, or a field is missing, of another type or out of its range.
    """
    if not (folder / "bundle.json").is_file():
        raise refusal(
            folder, "a folder with bundle.json", "none", "export the run again, or correct the path"
        )
    check_size(folder, "bundle.json")
    path = folder / "bundle.json"
    content = read_object(path, FORMAT, REMEDY, BundleError)
    if content.get(KIND) == SEGMENT:
        raise refusal(
            folder,
            "a bundle that tells subtypes apart",
            "one that draws",
            "use it with `nephroscope segment STUDY|IMAGE --with BUNDLE`",
        )
    number = content["format"]
    if not isinstance(number, int) or number < 1:
        raise _wrong("format", f"1 to {FORMAT}", number)
    for place, value in _numbers(content):
        if not math.isfinite(value):
            raise _wrong(place, "a number", value)
    try:
        about = from_plain(content, BundleFile, path.name, REMEDY, BundleError)
    except BundleError:
        raise
    except NephroscopeError as error:  # a record says that its own value is not allowed
        raise BundleError(
            where=f"{path.name}, {error.where}", expected=error.expected, found=error.found, remedy=REMEDY
        ) from error
    except (OverflowError, RecursionError) as error:
        raise _wrong("a number", "one that a computer can hold", "a larger one") from error
    _check_digest(content, about, number)
    _check_fields(about)
    if digest_of(content["slices"]) != about.slices_digest or about.slices.digest != about.slices_digest:
        found = f"{about.slices.digest}: the specification was edited"
        raise refusal(folder, f"the slice specification {about.slices_digest}", found)
    return about, number


def _check_digest(content: Mapping[str, object], about: BundleFile, number: int) -> None:
    if number < 3 and "digest" not in content:
        return
    if about.digest != content_digest(content):
        raise _wrong("digest", "that of its other fields", "another: the file was changed or damaged")


def _check_fields(about: BundleFile) -> None:
    """Values that have the right type and are still not allowed."""
    _check_subtypes(about.subtypes, about.positive)
    for place, value, high in (
        ("operating_point.threshold", about.operating_point.threshold, 1.0),
        ("not_sure_margin", about.not_sure_margin, 0.5),
    ):
        if not 0 <= value <= high:
            raise _wrong(place, f"a number from 0 to {high:g}", value)
    _check_texts(about)
    if set(about.applicability) != set(FEATURES):
        found = ", ".join(about.applicability) or "none"
        raise _wrong("applicability", f"limits of {', '.join(FEATURES)}", found)
    for name, (low, high) in about.applicability.items():
        if low > high:
            raise _wrong(f"applicability.{name}", "the lower limit first", [low, high])
    if not set(FILES) <= set(about.sha256) <= {*FILES, CARD, EMBEDDING}:
        raise _wrong("sha256", f"digests of {', '.join(FILES)}", ", ".join(about.sha256) or "none")
    for name, digest in about.sha256.items():
        if not HEX_64.fullmatch(digest):
            raise _wrong(f"sha256.{name}", "64 hexadecimal digits", digest)
    _check_training(about)
    _check_facts(about)
    _check_phases(about)
    _check_sets(about)
    _check_outside(about)


def _check_outside(about: BundleFile) -> None:
    """An embedding with centers of one length, where foreign tumors are recognized; texts that reach a terminal."""
    found = about.outside
    if found is None:
        return
    if len(found.words) > 10 * LONGEST_TEXT or not found.words.isprintable():
        raise _wrong("outside.words", f"at most {10 * LONGEST_TEXT} printable characters", found.words)
    if found.recognizes != (EMBEDDING in about.sha256):
        raise _wrong("outside.recognizes", f"true with {EMBEDDING}, false without", found.recognizes)
    if not set(found.other) <= set(about.subtypes):
        raise _wrong("outside.other", "some of the subtypes", list(found.other))
    places = [value for center in found.centers.values() for value in center]
    if max(map(abs, places), default=0.0) > FARTHEST or (
        found.recognizes and not 0 < found.limit <= FARTHEST
    ):
        raise _wrong("outside.limit", f"a limit above 0, and centers within {FARTHEST:g}", found.limit)
    sizes = {len(center) for center in found.centers.values()}
    if found.recognizes and (len(sizes) != 1 or 0 in sizes or not set(found.centers) <= set(about.subtypes)):
        raise _wrong(
            "outside.centers", "as many numbers for each subtype of the question", list(found.centers)
        )


def _check_sets(about: BundleFile) -> None:
    """A limit for each subtype, on patients enough for it."""
    if about.sets_with_facts is not None and about.facts is None:
        raise _wrong("sets_with_facts", "none without facts", list(about.sets_with_facts.least))
    for name, sets in (("sets", about.sets), ("sets_with_facts", about.sets_with_facts)):
        if sets is None:
            continue
        for place, names in (("least", sets.least), ("n_patients", sets.n_patients)):
            if set(names) != set(about.subtypes):
                raise _wrong(
                    f"{name}.{place}", f"a number for each of {', '.join(about.subtypes)}", ", ".join(names)
                )
        if not all(0 <= least <= 1 for least in sets.least.values()) or not 0 < sets.confidence < 1:
            raise _wrong(name, "probabilities from 0 to 1", sets.least)
        if min(sets.n_patients.values()) < FEWEST:
            raise _wrong(f"{name}.n_patients", f"at least {FEWEST} of each subtype", sets.n_patients)


def _check_facts(about: BundleFile) -> None:
    """One weight a subtype, no spread of zero (what would be divided by), and numbers that a regression can have."""
    if about.facts is None:
        return
    n, terms = len(about.subtypes), about.facts.terms
    names = [term.name for term in terms]
    if not terms or not set(names) <= {*FACTS} or len(set(names)) < len(names):
        raise _wrong("facts.terms", f"some of {', '.join(FACTS)}", ", ".join(names) or "none")
    for term in terms:
        if not LEAST_SD <= term.sd <= MOST_LOG_ODDS or {len(term.weights), len(term.unknown)} != {n}:
            raise _wrong(f"facts.{term.name}", f"an SD above 0, and {n} weights", [term.sd, *term.weights])
        low, high = MEANS[term.name]
        if not low <= term.mean <= high:
            raise _wrong(f"facts.{term.name}.mean", f"a number from {low:g} to {high:g}", term.mean)
    if len(about.facts.offsets) != n or about.facts.image_weight < 0:
        raise _wrong(
            "facts.offsets", f"{n} numbers, and no negative weight of the image", about.facts.offsets
        )
    numbers = [about.facts.image_weight, *about.facts.offsets]
    numbers += [value for term in terms for value in (*term.weights, *term.unknown)]
    if max(map(abs, numbers)) > MOST_LOG_ODDS:
        raise _wrong("facts", f"weights of at most {MOST_LOG_ODDS:g}", max(numbers, key=abs))
    if about.facts.n_patients < 1:
        raise _wrong("facts.n_patients", "a number of patients", about.facts.n_patients)


def _check_texts(about: BundleFile) -> None:
    """Texts that reach a terminal."""
    for place, text in (
        ("model", about.model),
        ("recipe", about.recipe),
        ("nephroscope", about.nephroscope),
        ("made", about.made),
        ("reference", about.reference),
        ("operating_point.criterion", about.operating_point.criterion),
        ("operating_point.chosen_on", about.operating_point.chosen_on),
    ):
        if len(text) > LONGEST_TEXT or not text.isprintable():
            raise _wrong(place, f"at most {LONGEST_TEXT} printable characters", text)


def _check_subtypes(names: tuple[str, ...], positive: str) -> None:
    if not 2 <= len(names) <= MOST_SUBTYPES or len(set(names)) < len(names):
        raise _wrong("subtypes", f"2 to {MOST_SUBTYPES} different names", list(names))
    for name in names:
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise _wrong("subtypes", f"names of 1 to {LONGEST_NAME} printable characters", name)
    if positive not in names:
        raise _wrong("positive", f"one of {', '.join(names)}", positive)


def _check_phases(about: BundleFile) -> None:
    if about.phases and about.phases != about.slices.phases:
        raise _wrong("phases", f"those of the slices: {', '.join(about.slices.phases)}", list(about.phases))


def _check_training(about: BundleFile) -> None:
    for digest in about.training.slices_digests:
        if not HEX_16.fullmatch(digest):
            raise _wrong("training.slices_digests", "16 hexadecimal digits each", digest)
    for place, phases in (
        ("training.phases", tuple(about.training.phases)),
        ("needs.phases", about.needs.phases),
        ("phases", about.phases),
    ):
        for phase in phases:
            if phase not in PHASES:
                raise _wrong(place, f"phases, of {', '.join(PHASES)}", phase)
    for place, n in (
        *((f"training.phases.{phase}", n) for phase, n in about.training.phases.items()),
        ("training.n_train", about.training.n_train),
        ("training.n_validation", about.training.n_validation),
        *(
            (f"training.networks.{one.fold}", min(one.n_train, one.n_validation))
            for one in about.training.networks
        ),
    ):
        if n < 0:
            raise _wrong(place, "a number of cases", n)
    for name in about.needs.clinical:
        if name not in {f.name for f in fields(ClinicalFacts)}:
            raise _wrong("needs.clinical", "fields of the clinical table", name)


def _numbers(value: object, place: str = "") -> Iterator[tuple[str, float]]:
    """Every decimal number in a JSON value, with its place."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _numbers(part, f"{place}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, f"{place}[]")


def check_size(folder: Path, name: str) -> None:
    """Refuse a file of a bundle that is larger than any that this program exports.

    Raises:
        BundleError: It is.
    """
    n, most = (folder / name).stat().st_size, MOST_BYTES[name]
    if n > most:
        raise refusal(folder, f"{name} of at most {most / 1e6:.0f} MB", f"{n / 1e6:.0f} MB")


def _wrong(place: str, expected: str, found: object) -> BundleError:
    """The refusal of a field of bundle.json."""
    said = found if isinstance(found, str) else repr(found)
    return BundleError(
        where=f"bundle.json, {place}",
        expected=expected,
        found=said[:200].encode("ascii", "backslashreplace").decode(),
        remedy=REMEDY,
    )


def refusal(folder: Path, expected: str, found: str, remedy: str = REMEDY) -> BundleError:
    """The refusal of a bundle as a whole."""
    return BundleError(where=f"bundle {folder.name}", expected=expected, found=found, remedy=remedy)
