"""Section Methods: prose for a paper, filled from the records that were used; only what was done is described."""

from collections import Counter
from collections.abc import Iterable

from nephroscope.learning.networks.table import encoder_of, fuses
from nephroscope.learning.training.batches import BLUR_SHARE, BLUR_SIGMA_PX, ROTATION_DEG, SHIFT_HU
from nephroscope.records import OUT_OF_FOLD, Answer, OperatingPoint, counted_noun
from nephroscope.report.cohort.flow import reason_group
from nephroscope.report.page.names import CONSENSUS, group_name, percent, with_interval
from nephroscope.report.page.section import Definitions, Filled, Section, Text
from nephroscope.report.study.appraisal import SENSITIVITIES, Appraisal, RunSource
from nephroscope.report.study.content import Environment, ReportContent
from nephroscope.statistics.cross_validation import variance_factor
from nephroscope.statistics.intervals import FEW_ROWS
from nephroscope.statistics.placements import FEW_CLUSTERS


def _fill(source: RunSource) -> Filled:
    own = methods(source.content, source.appraisal)
    found = (*own, *(pair for filled in source.above for pair in filled.methods))
    lead = Text(
        "Written automatically from the records of this run. Copy it into your manuscript and complete it.",
        "notes",
    )
    return Filled(blocks=[lead, Definitions(found)], methods=found)


METHODS = Section(id="methods", title="Methods", navigation="Methods", fill=_fill)


def methods(content: ReportContent, appraisal: Appraisal | None = None) -> list[tuple[str, str]]:
    """(heading, text) of each method."""
    return [
        ("Study population", _population_text(content)),
        ("Imaging", _imaging_text(content)),
        ("Regions of interest", _roi_text(content)),
        ("Slices and intensities", _slices_text(content)),
        ("Split", _split_text(content)),
        ("Network", network_text(content)),
        ("Training and augmentation", training_text(content)),
        ("Choice of the weights", selection_text(content)),
        ("From slices to a case", _call_text(content)),
        ("Figures and intervals", _interval_text(content)),
        *_probability_texts(content, appraisal or Appraisal()),
        ("Software", software_text(content)),
    ]


def network_text(content: ReportContent) -> str:
    """Architecture, head, initial weights."""
    train, report = content.main.train, content.main.report
    start = "ImageNet weights" if train.pretrained else "random weights"
    head = (
        f"one linear layer of {len(report.subtypes)} outputs"
        if train.recipe == "default"
        else "the head of Zuo et al. 2021"
    )
    more = (
        " Its mean probability and age, sex and size go into one logistic regression, fitted for each fold on the "
        "out-of-fold answers of the others and held to the network's answer by a weak prior; gaps are filled with "
        "means and marked. A case without any fact has the network's answer."
        if fuses(train.model)
        else ""
    )
    size = content.spec.size_px
    return (
        f"{encoder_of(train.model)} as torchvision builds it, with {head}, from {start}. Input: slices of {size} x "
        f"{size} pixels in the window, repeated to three channels. Output: probabilities of "
        f"{', '.join(report.subtypes)} (softmax).{more}"
    )


def training_text(content: ReportContent) -> str:
    """Optimizer, schedule, loss, stop, augmentation, seed."""
    train = content.main.train
    rate = f"learning rate {train.learning_rate:g}"
    if train.schedule == "cosine":
        rate += f", rising over the first {100 * train.warmup:g} % of the steps, then falling to zero along a cosine"
    else:
        rate += ", constant" + (
            f" after the first {100 * train.warmup:g} % of the steps" if train.warmup else ""
        )
    decay = f"AdamW with weight decay {train.weight_decay:g}" if train.weight_decay else "Adam"
    weighted = (
        "weighted so that every subtype counts the same" if train.class_weights else "not weighted by subtype"
    )
    if content.main.keeps_prior:
        weighted += (
            ", and the probabilities put back to the share of each subtype among the training cases (logits plus its "
            "logarithm, Saerens 2002)"
        )
    elif train.class_weights:
        weighted += ", so that probabilities are as if all subtypes were equally frequent"
    most = (
        f", at most {counted_noun(train.slices_per_case, 'slice')} of a case in an epoch"
        if train.slices_per_case
        else ""
    )
    return (
        f"{decay}, {rate}, batches of {train.batch_size} slices{most}; cross-entropy {weighted}. "
        f"{_augmentation_text(content)} Recipe {train.recipe}, seed {train.seed}."
    )


def selection_text(content: ReportContent) -> str:
    """Which epoch's weights were kept, and how many epochs there were."""
    run, train = content.main, content.main.train
    patience = (
        f"stopped after {train.patience} epochs without a better validation loss"
        if 0 < train.patience < train.epochs
        else "no early stop"
    )
    done = [len(epochs) for epochs in run.curves.values() if epochs]
    trained = f" {min(done)} to {max(done)} epochs were trained." if done and min(done) < max(done) else ""
    each = " in each fold" if len(done) > 1 else ""
    if done and not trained:
        trained = f" {done[0]} epoch{'s were' if done[0] > 1 else ' was'} trained{each}."
    failed = sorted(fold for fold, good in run.converged.items() if not good)
    lost = f" Fold {', '.join(map(str, failed))} did not converge." if failed else ""
    kept = (
        "loss were kept; the validation slices come from patients who are also in training."
        if content.split.leaky
        else "loss (mean over cases) were kept; test cases played no part in the choice."
    )
    return (
        f"At most {train.epochs} epochs ({patience}).{trained} The weights of the epoch with the lowest validation "
        f"{kept}{lost}"
    )


def software_text(content: ReportContent) -> str:
    """Versions and machine, from the run's environment.json."""
    recorded = content.environment or Environment()
    trained_by = recorded.nephroscope or content.version
    versions = (
        *(("nephroscope", trained_by), ("Python", recorded.python), ("PyTorch", recorded.torch)),
        *(("torchvision", recorded.torchvision), ("NumPy", recorded.numpy)),
    )
    text = ", ".join(f"{name} {version}" for name, version in versions if version)
    if recorded.device:
        threads = "" if recorded.threads is None else f", {counted_noun(recorded.threads, 'thread')}"
        text += f"; trained on {recorded.device}{threads}, {recorded.precision}"
    if trained_by != content.version:
        text += f"; evaluated with nephroscope {content.version}"
    return f"{text}."


def _augmentation_text(content: ReportContent) -> str:
    if not content.main.train.augmentation:
        return "No augmentation."
    return (
        f"Augmentation of training slices, drawn again for each batch: rotation by up to {ROTATION_DEG:g}°, flips in "
        f"both axes, Gaussian blur of {BLUR_SIGMA_PX[0]:g} to {BLUR_SIGMA_PX[1]:g} pixels on {100 * BLUR_SHARE:g} % "
        f"of the slices, brightness by up to {SHIFT_HU:g} HU."
    )


def counted(words: Iterable[str]) -> str:
    """``3 a, 1 b``, the most frequent first."""
    counts = Counter(words)
    return ", ".join(
        f"{n} {word}" for word, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _population_text(content: ReportContent) -> str:
    cohort = content.cohort
    n_patients = len({c.patient_id for c in cohort.chosen})
    by_subtype = ", ".join(f"{sum(c.subtype == s for c in cohort.chosen)} {s}" for s in cohort.subtypes)
    text = (
        f"{counted_noun(len(cohort.chosen), 'tumor')} of {counted_noun(n_patients, 'patient')} were included "
        f"({by_subtype}); the reference standard is the subtype in the label table of the study"
    )
    second = [c for c in cohort.chosen if c.subtype_reader2 is not None]
    if second:
        differ = sum(c.subtype != c.subtype_reader2 for c in second)
        text += f", and {len(second)} have a second pathology reading, which differs in {differ}"
    left_out = [e for e in cohort.exclusions if e.case_id not in cohort.by_id]
    if left_out:
        reasons = Counter(map(reason_group, left_out)).most_common()
        why = ", ".join(f"{reason} ({n})" for reason, n in reasons)
        were = "was" if len(left_out) == 1 else "were"
        text += f". {counted_noun(len(left_out), 'tumor')} {were} excluded: {why}"
    parts = Counter(c.cohort for c in cohort.chosen)
    if len(parts) > 1:
        text += ". By part of the study: " + ", ".join(f"{n} {group_name(name)}" for name, n in parts.items())
    sites = {c.site_id for c in cohort.chosen}
    text += f". The cases come from {counted_noun(len(sites), 'site')}."
    return text + (" All are SYNTHETIC phantoms." if all(c.synthetic for c in cohort.chosen) else "")


def _imaging_text(content: ReportContent) -> str:
    cases = content.cohort.chosen
    text = f"Contrast phases: {counted(c.phase for c in cases)}"
    if len(set(content.cohort_config.phase_preference)) > 1:
        order = ", ".join(content.cohort_config.phase_preference)
        text += f" (where an import found several series of a patient, the first of {order} was taken)"
    text += f". Images: {counted(c.format for c in cases)}; intensities: {counted(c.source for c in cases)}."
    scans = [content.scans[c.case_id] for c in cases if c.case_id in content.scans]
    makers = [scan.manufacturer for scan in scans if scan.manufacturer]
    if makers:
        text += f" Vendors: {counted(makers)}."
    spacing = sorted(scan.spacing_mm for scan in scans if scan.spacing_mm is not None)
    if spacing:
        middle = spacing[len(spacing) // 2]
        text += f" Slice spacing (between positions of slices): median {middle:g} mm, "
        text += f"{spacing[0]:g} to {spacing[-1]:g} mm, {counted_noun(len(spacing), 'CT')}."
    return text


def _roi_text(content: ReportContent) -> str:
    cases = content.cohort.chosen
    two = sum(c.both_readers is not None for c in cases)
    none = sum(c.roi is None for c in cases)
    text = f"{len(cases) - none} of {len(cases)} cases have a tumor region drawn by an annotator"
    if none:
        text += f"; in {none} the whole image is the region"
    if two:
        text += f"; {two} have a second annotator's, and {CONSENSUS[content.roi_config.consensus]}"
        dice = content.roi_agreement
        if dice is not None:
            n = counted_noun(dice.n, dice.unit)
            text += f". Mean Dice of both annotators: {with_interval(dice, 3)}, {n}"
    return text + "."


def _slices_text(content: ReportContent) -> str:
    spec = content.spec
    seen = {
        "crop": f"a square box around the tumor with a margin of {spec.margin_mm:g} mm on each side",
        "mask": "the same box, with air outside the tumor",
        "full": "the whole slice",
    }[spec.roi_mode]
    coarse = sum(c.source != "HU" for c in content.cohort.chosen)
    if coarse:
        source = (
            f"{coarse} of {len(content.cohort.chosen)} cases came as 8-bit images: their gray values were converted "
            "back to Hounsfield units by the window given for them, and are cut off at its limits. All intensities "
            "were"
        )
    else:
        source = "Intensities in Hounsfield units were"
    return (
        f"Every axial slice in which the tumor covers at least {spec.min_area_mm2:g} mm² was cut to {seen}, "
        f"at one scale per case, {spec.size_px} x {spec.size_px} pixels: {sum(content.slice_counts.values())} slices "
        f"of {len(content.slice_counts)} cases. {source} windowed (level {spec.window_level_hu:g}, width "
        f"{spec.window_width_hu:g} HU) and scaled to 0 to 1, the same for all cases."
    )


def _split_text(content: ReportContent) -> str:
    split, config = content.split, content.split.config
    if split.leaky:
        return (
            f"LEAKY: slices were divided at random into {counted_noun(len(split.folds), 'fold')} without regard to "
            "the patient, as in the paper, so slices of one patient are used in both training and "
            "testing. The figures show how "
            "good that makes a network look; they say nothing about a new patient."
        )
    folds = (
        f"{len(split.folds)} folds, each patient tested once by a network that never saw them"
        if len(split.folds) > 1
        else "one training with a held-out test set"
    )
    held = f" {len(split.holdout)} cases were held out of all training." if split.holdout else ""
    return (
        f"By patient and stratified by subtype: {folds}.{held} Within a fold, {percent(config.validation)} of the "
        f"remaining patients were used to decide when to stop training. Seed {config.seed}."
    )


def _call_text(content: ReportContent) -> str:
    report, config = content.main.report, content.evaluation
    points = dict.fromkeys(_point_text(p) for p in report.operating_points)
    if len(report.subtypes) == 2:
        rule = (
            f"A case is called {report.positive} at or above the threshold {'; '.join(points)}. Within "
            f"{config.not_sure_margin:.2f} of the threshold, or with a doubt about the images, the "
            "answer is “not sure”"
        )
    else:
        rule = (
            "The most probable subtype is called. If the next one is within "
            f"{config.not_sure_margin:.2f} of it, or with a doubt about the images, the answer is “not "
            "sure”"
        )
    return (
        f"The probability of a case is the mean over all its slices. {_answered_by(content)}{rule}. Accuracy, "
        "sensitivity, specificity and precision count the call that would be given without “not sure”. Majority of "
        f"three: the call of at least two of three slices drawn at random (seed {config.seed}), as in the paper."
    )


def _answered_by(content: ReportContent) -> str:
    """Who classified the cases that were held out of all folds."""
    held_out = [p for p in content.main.report.predictions if p.case_id in content.split.holdout]
    if not held_out or len(content.split.folds) < 2 or content.split.leaky:
        return ""
    return f"Held-out cases were classified by {content.held_out_by}, as in the exported bundle. "


def _point_text(point: OperatingPoint) -> str:
    how = "before any data" if point.criterion == "fixed" else f"by {point.criterion} on {point.chosen_on}"
    return f"{point.threshold:.2f} (chosen {how})"


def _interval_text(content: ReportContent) -> str:
    config = content.evaluation
    several = _patients_with_several(content.main.report.predictions)
    tumors = f" Of the tested patients, {several} had several tumors." if several else ""
    return (
        f"{100 * config.confidence:g} % intervals. Where every case is a different patient: Wilson for proportions "
        f"(Clopper-Pearson with fewer than {FEW_ROWS} cases), DeLong on the logit scale for the AUC, over three "
        "subtypes or more the mean of their placement values. By image, and where a patient has two tumors: Korn and "
        "Graubard for proportions, Obuchowski's clustered variance on the logit scale for the AUC, both with t over "
        "patients. With fewer than five patients of a subtype, or when the classes do not overlap, the AUC has "
        f"Newcombe's interval (method 5), and by image with fewer than {FEW_CLUSTERS} the wider limits of both."
        f"{tumors}{_fold_text(content)}"
    )


def _fold_text(content: ReportContent) -> str:
    """What the intervals of cross-validated predictions contain, and what those of one network do not."""
    single = " Intervals account for chance in which patients were tested, not for chance in training."
    k = len({p.fold for p in content.main.report.predictions if p.group == OUT_OF_FOLD})
    if k < 2:
        return single
    others = any(p.group != OUT_OF_FOLD for p in content.main.report.predictions)
    return (
        f" Cross-validated predictions come from {k} networks whose training patients overlap: the variance of their "
        f"figures and curves is multiplied by {variance_factor(k):.3g} (1 + K/(K - 1), Nadeau and Bengio 2003). The "
        "intervals are about the mean of these networks; choices made after seeing the results are not in them."
        + (single.replace("Intervals", "On the other test sets, intervals") if others else "")
    )


def _probability_texts(content: ReportContent, appraisal: Appraisal) -> list[tuple[str, str]]:
    """What was computed from the probabilities, where it was."""
    if not appraisal.groups:
        return []
    config, positive = content.evaluation, content.main.report.positive
    text = (
        "Intercept and slope of a logistic regression of the outcome on the log odds (Cox), the ratio of observed to "
        "expected, the Brier score, and the distance of a smooth curve from the diagonal (ICI, E50, E90)"
    )
    texts = []
    if appraisal.rescalings:
        text += (
            "; for the probabilities as they are, and after temperature scaling and Platt scaling, each fitted on "
            "the out-of-fold predictions of patients other than those it was applied to"
        )
    if any(group.operating for group in appraisal.groups.values()):
        wanted = ", ".join(percent(s) for s in SENSITIVITIES)
        points = (
            f"Thresholds for a sensitivity of {wanted} were chosen on the out-of-fold predictions of folds other "
            "than those they were applied to: the highest that reaches it, halfway to the next lower probability."
        )
        texts.append(("Operating points", points))
    if any(group.decision is not None for group in appraisal.groups.values()):
        benefit = (
            f"Net benefit of calling {positive} was computed over threshold probabilities (Vickers and Elkin), with "
            "Wilson limits of true and false positives, squared and added; by patient bootstrap where patients have "
            "several cases."
        )
        texts.append(("Net benefit", benefit))
    first = (
        "Calibration",
        f"{text}. Intercept and slope have intervals by profile likelihood, the Brier scores by t over patients, the "
        f"smooth curve by the standard errors of its regression; ICI, E50, E90 and the proportion of wrong answers "
        f"by {config.resamples} bootstrap resamples of patients.",
    )
    attributes = dict.fromkeys(s.attribute for g in appraisal.groups.values() for s in g.subgroups)
    compared = (
        f" Subgroups by {', '.join(attributes)} were each compared with all other cases; p values of the gaps are "
        "also given with Holm's correction."
    )
    last = (
        "Not sure, and subgroups",
        "Risk against coverage: cases are answered in order, the surest first. As this depends on how frequent the "
        "subtypes are, patients are resampled regardless of their subtype."
        + (compared if attributes else ""),
    )
    return [first, *texts, last]


def _patients_with_several(predictions: Iterable[Answer]) -> int:
    counts = Counter(p.patient_id for p in predictions if p.truth is not None)
    return sum(n > 1 for n in counts.values())
