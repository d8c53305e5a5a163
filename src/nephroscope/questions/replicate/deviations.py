"""Every decision of a replication: what the paper says, what this run did, and why."""

from nephroscope.learning.training.copies import (
    BLUR_SIGMA_PX,
    JPEG_QUALITY,
    LEVEL_HU,
    ROTATION_DEG,
    SHIFT_GRAY,
    WIDTH_HU,
)
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.questions.replicate.replication import Deviation, Replication

Row = tuple[str, str, str]


def deviations(found: Replication) -> list[Deviation]:
    """The twenty decisions; those that depend on the run are filled from it."""
    rows = [*_images(found), *_protocol(found), *_judging(found), *_scope(found)]
    return [
        Deviation(number=i, paper=paper, done=done, why=why)
        for i, (paper, done, why) in enumerate(rows, start=1)
    ]


def _images(found: Replication) -> list[Row]:
    used, n = found.configuration, found.cohort["development"]
    return [
        (
            "Window of 40 HU width and 400 HU level",
            f"Level {LEVEL_HU:g}, width {WIDTH_HU:g} HU",
            "The two words are swapped in print: level 400 with width 40 shows every tumor black.",
        ),
        (
            "80 reviewed, 74 tumors, 70 patients",
            f"{n.cases} tumors of {n.patients} patients, {n.slices:,} slices in development",
            "A case is a tumor. The twin is split by patient, and every interval is over patients, except the one "
            "that repeats the paper's in Figure 4.",
        ),
        (
            "90 to 10 by image, after augmentation",
            f"The same, LEAKY: {found.leak.patients_on_both_sides} of {found.leak.validation_patients} "
            "validation patients are also in training. In addition the twin, by patient",
            "To show how far the figures of such a split are from those of new patients; what else differs "
            "between the two is listed at the top.",
        ),
        (
            "Blur, rotation, flipping, brighter, darker: 15 times",
            f"4 geometries (none, rotation by {ROTATION_DEG:g} degrees, two flips) times 4 intensities "
            "(none, blur, brighter, darker), less the original",
            "One reading of the paper that gives 15 copies; the paper does not state angles or strengths.",
        ),
        (
            "Brighter, darker, blurred; no strengths",
            f"{SHIFT_GRAY} of 255 gray values ({SHIFT_GRAY / 255 * WIDTH_HU:.0f} HU); blur with a sigma of "
            f"{BLUR_SIGMA_PX:g} px",
            "Strong enough to be seen. nephroscope's own training shifts by at most 10 HU, because "
            "attenuation is the best known sign.",
        ),
        (
            "ROI segmented and exported",
            {
                "crop": f"Square crop around the tumor with {used.margin_mm:g} mm margin",
                "mask": f"Crop with {used.margin_mm:g} mm margin, air outside the ROI",
                "full": "The whole slice",
            }[used.roi_mode],
            "The study's own slices; the paper does not say how its images were cut.",
        ),
        (
            "8-bit JPEG, normalization",
            f"Written as JPEG of quality {JPEG_QUALITY} and read again, scaled to 0 to 1, then "
            "ImageNet's mean and SD",
            "The paper does not state the quality. An image is never scaled by its own minimum and "
            "maximum, because that would lose the attenuation.",
        ),
    ]


def _protocol(found: Replication) -> list[Row]:
    training = found.configuration.training
    few = sum(case.n_slices < 3 for case in found.cases)
    lost = [NAMES[n.model] for n in found.models if not n.paper.converged]
    return [
        (
            "Three random images of a test case, majority",
            "The same three for every network, seeded, called by two of three"
            + (f" ({few} of {len(found.cases)} cases have fewer than three slices)" if few else "")
            + "; in addition the mean over all slices",
            "The printed rule, more than 2, would mean 3 of 3 and cap the case accuracy at 9 of 10.",
        ),
        (
            "Adam, 0.005, batch 24",
            f"Adam, {training.learning_rate:g}, batch {training.batch_size}, {training.schedule} rate; the twin "
            "takes as many steps on as many images",
            "So that neither learns longer than the other.",
        ),
        (
            "Cannot converge",
            "Shown as “did not converge”, with the loss curve: "
            f"{', '.join(lost) if lost else 'no network here'}",
            "Not converged: no epoch's balanced accuracy on its own training images exceeds 0.55.",
        ),
        (
            "Best validation accuracy over epochs",
            "Reported as in the paper. The twin's epoch has the lowest loss on patients who are used "
            "neither for training nor for testing",
            "The maximum over epochs is too optimistic even without the leak.",
        ),
    ]


def _judging(found: Replication) -> list[Row]:
    sets, readers = [name for name in found.cohort if name != "development"], [r.name for r in found.readers]
    drawn = (
        " (the study marks none: drawn at random from its patients, up to three of each subtype)"
        * found.configuration.tests_drawn
    )
    together = (
        f"Together and separately: {', '.join(sets)}" if len(sets) > 1 else f"One set here: {', '.join(sets)}"
    )
    return [
        (
            "Sensitivity of 88.2353 % by image",
            "Sensitivity and precision, each under its correct name",
            "15 of 17 is the precision; the sensitivity was 15 of 15.",
        ),
        (
            "Six held-out and four TCIA cases as one test",
            f"{together}{drawn}",
            "Cases of another hospital answer a different question.",
        ),
        (
            "Mean of two readers",
            f"Each reader and their mean: {', '.join(readers)}"
            if readers
            else "No readers' calls were given (--readers)",
            "Exact McNemar test of the paper's readers against its model: p = 1.0 and 0.5; no "
            "superiority is shown.",
        ),
        (
            "No clinical data",
            "None here",
            "`nephroscope compare` compares the networks with age, sex, size and attenuation on the "
            "same folds.",
        ),
        (
            "Classifier with ReLU",
            "Logits",
            "A ReLU before the softmax would stop learning where both outputs are 0.",
        ),
        (
            "Labels, age and sex in the file names",
            "Labels from cohort.csv; nothing but pixels enters a network",
            "A file name must not be an input.",
        ),
    ]


def _scope(found: Replication) -> list[Row]:
    used = found.models[0].resources
    phases = ", ".join(f"{name or 'not known'} {n}" for name, n in found.phases.items())
    return [
        (
            "Arterial phase preferred, one phase",
            f"One series or set of slices a case, as in cohort.csv. Phases: {phases}",
            "The phase is recorded; the report of the study shows the results by phase.",
        ),
        (
            "Other subtypes not mentioned",
            "Left out on import and counted in Figure 1",
            "In practice, most tumors that such a model meets are of other subtypes.",
        ),
        (
            "TensorFlow, one RTX 2080 Ti",
            f"PyTorch on {used.device}, {used.precision}; batch norm with PyTorch's momentum. Tested "
            "with ONNX Runtime "
            "in fp32",
            "The number of weights is the same; their initial values are drawn differently.",
        ),
    ]
