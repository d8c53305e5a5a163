"""Why a drawing by a program was refused: one error, with its stable code, for each reason."""

from nephroscope.base.errors import RoiError


class SegmenterError(RoiError):
    """What a program drew, or that it drew nothing, is refused.

    Attributes:
        author: As the program itself says; empty where it did not come to that.
    """

    author = ""


class FailedError(SegmenterError):
    """The program could not be started, or ended with another exit code than 0."""

    code = "segmenter-failed"


class TimeLimitError(SegmenterError):
    """The program took longer than it may."""

    code = "segmenter-time"


class NoOutputError(SegmenterError):
    """The program left no label map."""

    code = "segmenter-no-output"


class SeveralFilesError(SegmenterError):
    """The program left several label maps."""

    code = "segmenter-several-files"


class DamagedOutputError(SegmenterError):
    """What the program left is no whole label map of whole numbers."""

    code = "segmenter-damaged"


class OtherGridError(SegmenterError):
    """The label map has another grid than the image."""

    code = "segmenter-other-grid"


class FlippedError(SegmenterError):
    """Axes of the label map run the other way than those of the image."""

    code = "segmenter-flipped"


class NothingDrawnError(SegmenterError):
    """The program drew no tumor."""

    code = "segmenter-empty"


class OtherLabelsError(SegmenterError):
    """The label map has values that nobody named, or none that is the tumor."""

    code = "segmenter-labels"


class MisplacedError(SegmenterError):
    """What was drawn cannot be a renal tumor where it lies."""

    code = "segmenter-misplaced"


class WroteElsewhereError(SegmenterError):
    """The program changed its input, the CT or the study."""

    code = "segmenter-wrote-elsewhere"
