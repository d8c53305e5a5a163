"""The bundle: model.onnx, bundle.json, reference.npz and README.md in one folder, guarded by SHA-256 digests.

bundle.json is written last and holds the digests of the others. It carries no identifier of any patient: training
cases are known by a digest of their slices, so that a prediction on one of them can say so.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError, ConfigError, StudyError
from nephroscope.base.files import load_json
from nephroscope.clinic.score import ApplicabilityDomain, CaseInput, Scorer
from nephroscope.clinic.session import NetworkSession
from nephroscope.records import OperatingPoint, SliceSpec, from_mapping

FORMAT = 2
FILES = ("model.onnx", "reference.npz", "README.md")
REFERENCE_TOLERANCE = 1e-3  # logits; other processors round differently


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
class Bundle:
    """An opened bundle: how to cut, how to answer, what it needs and what it was trained on.

    Attributes:
        trained_on: Digests of the slices of its training and validation cases.
        phases: Contrast phases of these cases, with the number of cases; empty in bundles of format 1.
    """

    scorer: Scorer
    spec: SliceSpec
    synthetic: bool
    leaky: bool
    trained_on: frozenset[str]
    about: dict[str, Any]
    needs: Needs = field(default_factory=Needs)
    phases: Mapping[str, int] = field(default_factory=dict)


def slices_digest(hu: npt.NDArray[np.int16]) -> str:
    """By which a bundle knows a case it was trained on: digest of its slices (N, size, size)."""
    return hashlib.sha256(np.ascontiguousarray(hu).tobytes()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bundle_content(scorer: Scorer, about: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What bundle.json holds, for files already written into ``folder``."""
    return {
        "format": FORMAT,
        "research_use_only": "Not a medical device.",
        "subtypes": list(scorer.subtypes),
        "positive": scorer.positive,
        "slices": scorer.spec.as_dict,
        "slices_digest": scorer.spec.digest,
        "operating_point": asdict(scorer.point),
        "not_sure_margin": scorer.not_sure_margin,
        "applicability": {name: list(limits) for name, limits in scorer.domain.limits.items()},
        **about,
        "sha256": {name: file_digest(folder / name) for name in FILES},
    }


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle, checking format, digests, the slice specification and the reference slices.

    Raises:
        BundleError: A file is missing, changed, of a newer format, or computes something else here.
    """
    if not (folder / "bundle.json").is_file():
        raise _refusal(
            folder, "a folder with bundle.json", "none", "export the run again, or correct the path"
        )
    try:
        about = load_json(folder / "bundle.json", FORMAT)
    except StudyError as error:
        raise _refusal(folder, error.expected, error.found, error.remedy) from error
    for name, digest in _digests(folder, about).items():
        if not (folder / name).is_file():
            raise _refusal(folder, f"the file {name}", "none", "copy the whole folder again")
        if file_digest(folder / name) != digest:
            found = "another content: the file was changed or damaged"
            raise _refusal(
                folder, f"{name} with digest {digest[:16]}", found, "copy or export the bundle again"
            )
    try:
        session = NetworkSession(folder / "model.onnx")
        scorer = _scorer(about, session)
        trained = about["training"]
        bundle = Bundle(
            scorer=scorer,
            spec=scorer.spec,
            synthetic=bool(trained["synthetic"]),
            leaky=bool(trained["leaky"]),
            trained_on=frozenset(trained["slices_digests"]),
            about=about,
            needs=_needs(about.get("needs", {})),
            phases={str(phase): int(n) for phase, n in trained.get("phases", {}).items()},
        )
        specification = about["slices_digest"]
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise _refusal(
            folder,
            "a complete bundle.json",
            f"one that is missing or has damaged {error}",
            "export the bundle again",
        ) from error
    if scorer.spec.digest != specification:
        found = f"{scorer.spec.digest}: the specification was edited"
        raise _refusal(folder, f"the slice specification {specification}", found, "export the bundle again")
    _check_reference(folder, session)
    return bundle


def _needs(content: Mapping[str, Any]) -> Needs:
    return Needs(phases=tuple(content.get("phases", ())), clinical=tuple(content.get("clinical", ())))


def _digests(folder: Path, about: dict[str, Any]) -> dict[str, str]:
    digests = about.get("sha256")
    if not isinstance(digests, dict) or set(digests) != set(FILES):
        raise _refusal(
            folder, f"digests of {', '.join(FILES)}", "other or no digests", "export the bundle again"
        )
    return {str(name): str(digest) for name, digest in digests.items()}


def _scorer(about: dict[str, Any], network: NetworkSession) -> Scorer:
    spec = from_mapping(SliceSpec, about["slices"], "bundle.json, slices")
    return Scorer(
        network=network,
        subtypes=tuple(about["subtypes"]),
        positive=about["positive"],
        point=OperatingPoint(**about["operating_point"]),
        not_sure_margin=float(about["not_sure_margin"]),
        domain=ApplicabilityDomain(
            limits={name: (float(low), float(high)) for name, (low, high) in about["applicability"].items()}
        ),
        spec=spec,
        model_digest=about["sha256"]["model.onnx"][:16],
    )


def _check_reference(folder: Path, session: NetworkSession) -> None:
    """One stored slice must give its stored logits on this machine too."""
    with np.load(folder / "reference.npz", allow_pickle=False) as reference:
        apart = float(np.abs(session.logits(reference["hu"][:1]) - reference["logits"][:1]).max())
    if not apart <= REFERENCE_TOLERANCE:
        raise _refusal(
            folder,
            f"the reference slice to give its stored logits within {REFERENCE_TOLERANCE:g}",
            f"a difference of {apart:.2g} on this machine",
            "update onnxruntime, or report this with `nephroscope info`",
        )


def _refusal(folder: Path, expected: str, found: str, remedy: str) -> BundleError:
    return BundleError(where=f"bundle {folder.name}", expected=expected, found=found, remedy=remedy)
