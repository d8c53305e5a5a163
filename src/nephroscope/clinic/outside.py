"""Tumors outside the question: how far a case lies from the training cases of every subtype. NumPy only.

embedding.onnx turns slices into a few numbers (a frozen network and one linear layer, in which the spread within the
subtypes is 1); bundle.json has their mean for each subtype. Neither shows a patient.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError
from nephroscope.clinic.session import NetworkSession
from nephroscope.records import Estimate, Finding, OutsideAnswer, note, warning

KEPT = 0.9  # share of the cases of the question's own subtypes that are not flagged


@dataclass(frozen=True, kw_only=True)
class OutsideCheck:
    """What a bundle knows of tumors that are none of its subtypes.

    Attributes:
        recognizes: Whether a subtype that was left out is told from the others; where not, there is no distance.
        words: The same as a sentence, for every answer.
        auroc, flagged: By the subtype that was left out: AUROC, and the share that lies beyond the limit.
        centers: By subtype of the question, the mean of embedding.onnx over its training cases.
        limit: Distance within which `KEPT` of them lie.
        other: Subtypes that the study itself counts as outside its question.
    """

    recognizes: bool
    words: str
    auroc: dict[str, Estimate] = field(default_factory=dict)
    flagged: dict[str, Estimate] = field(default_factory=dict)
    centers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    limit: float = 0.0
    other: tuple[str, ...] = ()


def answer_outside(
    check: OutsideCheck, embedding: NetworkSession | None, hu: npt.NDArray[np.int16], case_id: str
) -> tuple[OutsideAnswer, list[Finding]]:
    """How far a case lies, and what there is to say: a warning beyond the limit, a note where nothing is recognized.

    Args:
        check: Of the bundle.
        embedding: Its embedding.onnx; None where foreign tumors are not recognized.
        hu: Slices (N, size, size).
        case_id: For the findings.

    Raises:
        BundleError: The embedding gives other numbers than the centers have.
    """
    if embedding is None:
        found = note("foreign-tumors-not-recognized", check.words, case_id=case_id)
        return OutsideAnswer(recognizes=False, distance=None, limit=None, words=check.words), [found]
    place = embedding.logits(hu).astype(np.float64).mean(axis=0)
    centers = np.array(list(check.centers.values()))
    if centers.shape[1:] != place.shape:
        raise BundleError(
            where="bundle, embedding.onnx",
            expected=f"{centers.shape[1]} numbers a slice",
            found=f"{place.size}",
            remedy="export the bundle again",
        )
    distance = float(np.sqrt(((centers - place) ** 2).sum(axis=1)).min())
    answer = OutsideAnswer(recognizes=True, distance=distance, limit=check.limit, words=check.words)
    if distance <= check.limit:
        return answer, []
    text = (
        f"unlike the training cases of {' and '.join(check.centers)}: distance {distance:.2f}, and "
        f"{100 * KEPT:.0f} % of theirs are within {check.limit:.2f}; it may be another tumor"
    )
    return answer, [warning("outside-question", text, case_id=case_id)]


def called_other(check: OutsideCheck, call: str, case_id: str) -> list[Finding]:
    """A note where the call is a subtype that the study counts as outside its question."""
    if call not in check.other:
        return []
    text = f"{call} is a subtype that the study counts as outside its question"
    return [note("called-outside", text, case_id=case_id)]
