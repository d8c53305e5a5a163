"""What the figures of a replication show, in sentences made from them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nephroscope.base.progress import time_words
from nephroscope.questions.replicate.deviations import deviations
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.questions.replicate.replication import (
    TOGETHER,
    BothArms,
    Compared,
    Network,
    Replication,
    ShuffledControl,
)
from nephroscope.records import Estimate, counted_noun

TOO_WIDE = 0.3  # an interval wider than this says little
CHANCE = 0.5
POOLED = (
    "Cases of several folds are ranked together. With few patients and nothing to learn, such an AUC is somewhat "
    "below 0.50, because each training has fewer cases of the subtype that it is then judged on."
)


def with_sentences(found: Replication) -> Replication:
    """The same with every sentence filled in."""
    best, control = best_network(found), found.shuffled
    return replace(
        found,
        shuffled=None if control is None else replace(control, sentence=shuffled_sentence(control)),
        summary=summary(found),
        tests_sentence="" if best is None else tests_sentence(found, best),
        one_sided=one_sided_sentence(found.models),
        twin_differs=tuple(twin_differs(found)),
        isolated=isolated(found.shuffled is not None),
        hours_sentence=hours_sentence(found),
        area_sentence=area_sentence(found),
        shortened=tuple(shortened(found)),
        deviations=tuple(deviations(found)),
    )


def with_interval(e: Estimate) -> str:
    """A figure with its interval, to two digits."""
    return "not available" if e.value is None else e.interval("z.2f")


def summary(found: Replication) -> str:
    """How good the paper's protocol makes the best network look, and how good it is on new patients."""
    best = best_network(found)
    if best is None:
        return "No network gave an answer that can be counted."
    paper, twin = best.paper.validation["accuracy"], best.twin.by_image["accuracy"]
    judged = sum(fold.judge_patients for fold in best.twin.folds)
    text = (
        f"Under the paper's protocol (LEAKY) the accuracy of {NAMES[best.model]} appears to be "
        f"{with_interval(paper)}; its leak-free twin, the same network trained and tested by patient, "
        "reaches "
        f"{with_interval(twin)} on new patients (by image, {counted_noun(judged, 'patient')})."
    )
    gap = best.difference["accuracy"]
    if gap.low is not None and gap.high is not None:
        beyond = "" if gap.low > 0 else ", which chance alone could explain in this run"
        if gap.high < 0:
            beyond = ": here the twin is the better one"
        text += f" The difference is {with_interval(gap)}{beyond}."
    learning = _range([fold.train_patients for fold in found.folds])
    text += (
        f"{shares_alone(best)} The two differ in more than the leak, for example in the number of "
        f"training patients ({learning} against {found.leak.development_patients}); see below."
    )
    if not best.paper.converged:
        text += (
            " No network converged under the paper's protocol in "
            f"{counted_noun(found.configuration.epochs, 'epoch')}: these are accuracies of networks that "
            "learned next to nothing."
        )
    return text


def best_network(found: Replication) -> Network | None:
    """The one that the paper would choose: best validation accuracy of those that converged."""
    known = [n for n in found.models if n.paper.validation["accuracy"].value is not None]
    sound = [n for n in known if n.paper.converged] or known
    return max(sound, key=lambda n: n.paper.validation["accuracy"].value or 0.0, default=None)


def tests_sentence(found: Replication, network: Network) -> str:
    """How the best network does on the test cases under both protocols, and whether they are enough to tell."""
    compared = network.tests[TOGETHER].by_case
    paper, twin = compared.paper["accuracy"], compared.twin["accuracy"]
    if paper.value is None or twin.value is None:
        return "On the test cases no accuracy can be computed."
    text = (
        f"On the {counted_noun(twin.n, 'test case')}, not used for training under either protocol, "
        f"{NAMES[network.model]} classifies {_hits(paper)} correctly under the paper's protocol (epoch chosen on the "
        f"LEAKY split) and {_hits(twin)} as the leak-free twin (by case, two of three slices)."
    )
    truth = Counter(case.truth for case in found.cases)
    text += _what_tests_show(compared, max(truth.values()) / sum(truth.values()))
    if paper.value > twin.value:
        text += (
            " That the paper's protocol classifies more of them correctly is not a leak: it was trained on no image "
            "of a test patient, and on more patients than the twin."
        )
    return text


def _hits(e: Estimate) -> str:
    """Hits of all, with the share and its interval."""
    interval = "" if e.low is None else f", {e.low:.2f} to {e.high:.2f}"
    return f"{round((e.value or 0.0) * e.n)} of {e.n} ({e.value:.2f}{interval})"


def _what_tests_show(compared: Compared, share: float) -> str:
    """Whether the cases show a difference, and an advantage over always naming the more frequent subtype."""
    gap, both = compared.difference["accuracy"], (compared.paper["accuracy"], compared.twin["accuracy"])
    text = f"these {both[0].n} cases do not show a difference between the two"
    if gap.low is None and gap.value:
        text = f"the difference is {gap.value:.2f}, without an interval"
    if gap.low is not None and gap.high is not None and not gap.low <= 0 <= gap.high:
        text = f"the difference is {gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f})"
    paper, twin = (e.low is None or e.low <= share for e in both)
    if (paper or twin) and share < 1:
        who = "neither is" if paper and twin else f"{'the first' if paper else 'the twin'} is not"
        text += f"; {who} shown to be better than always calling the more frequent subtype ({share:.2f})"
    widths = [e.high - e.low for e in both if e.low is not None and e.high is not None]
    if max(widths, default=1.0) > TOO_WIDE:
        return f" The test set is too small to say much: {text}."
    return f" {text[0].upper()}{text[1:]}."


def one_sided_sentence(networks: Sequence[BothArms]) -> str:
    """Which networks call every image one subtype, so that their accuracy says nothing about them."""
    found = []
    for network in networks:
        name, folds = NAMES[network.model], network.twin.one_sided
        if network.paper.one_sided:
            found.append(f"{name} (paper's protocol)")
        if any(folds):
            n = "" if len(folds) == 1 else f" in {sum(folds)} of {len(folds)} folds"
            found.append(f"{name} (twin{n})")
    if not found:
        return ""
    return (
        f"Every image is assigned to the same subtype by {', '.join(found)}. Such an accuracy is only "
        "the proportion of that subtype; the AUC, which depends only on the ranking, may still be high."
    )


def shares_alone(network: BothArms) -> str:
    """That the difference is not the leak where one side calls every image the same subtype; else empty."""
    paper, twin = network.paper.one_sided, all(network.twin.one_sided)
    if not paper and not twin:
        return ""
    who = "That network assigns" if paper else "Each network of the twin assigns"
    who = "That network, like each network of its twin, assigns" if paper and twin else who
    return (
        f" {who} every image to the same subtype. Its accuracy, and therefore the difference, reflects "
        "only the proportions of the subtypes among the images and not the leak."
    )


def twin_differs(found: Replication) -> list[str]:
    """The four things in which the twin differs from the paper's protocol."""
    leak, folds, n = found.leak, found.folds, found.leak.development_patients
    choose, learning = (
        _range([getattr(f, f"{part}_patients") for f in folds]) for part in ("choose", "train")
    )
    fewer = _range([n - fold.train_patients for fold in folds])
    return [
        "Split. Paper's protocol: by image, after augmentation, so that copies of one slice are in both "
        f"training and validation ({leak.patients_on_both_sides} of {leak.validation_patients} "
        "validation patients are also in training). "
        "Twin: by patient.",
        f"Training patients. A training of the twin uses {learning} patients, one of the paper's "
        f"protocol all {n}: {fewer} fewer, because the twin needs patients to choose its epoch and for "
        "testing.",
        "Epoch. Paper's protocol: the epoch with the best accuracy on the same images whose accuracy is "
        f"reported. Twin: the epoch with the lowest loss on {choose} patients who are used neither for "
        "training nor for testing.",
        f"Tested on. Paper's protocol: {found.configuration.validation_images_used:,} augmented copies. "
        "Twin: "
        "original slices.",
    ]


def isolated(with_control: bool) -> str:
    """Where the leak can be seen alone."""
    text = (
        "A difference between the two is therefore not due to the leak alone. Shuffled labels isolate the leak: "
        "there is nothing to learn about a new patient, so nothing except the leak can raise the paper's protocol "
        "above chance (and, slightly, choosing the best epoch on the images that are reported)."
    )
    return text if with_control else f"{text} They were not run here."


def hours_sentence(found: Replication) -> str:
    """How long the trainings took, and where."""
    used = found.models[0].resources
    where = used.device
    if used.device == "cpu":
        where = f"CPU, {counted_noun(used.threads, 'thread')}"
    return (
        f"Training took {time_words(3600 * found.hours)} in all ({counted_noun(found.trainings, 'training')}, all "
        f"their epochs with validation) on {where}."
    )


def area_sentence(found: Replication) -> str:
    """AUC by case of the twins, where chance is 0.5 whatever the mixture of subtypes."""
    known = []
    for network in found.models:
        area = network.twin.by_case["auc"]
        if area.value is not None:
            known.append(f"{NAMES[network.model]} {with_interval(area)}")
    if not known:
        return ""
    pooled = f" {POOLED}" if found.configuration.twin_folds > 1 else ""
    return f"AUC by case on new patients, where chance is 0.50: {'; '.join(known)}.{pooled}"


def shuffled_sentence(control: ShuffledControl) -> str:
    """What shuffled labels show, no more than the intervals allow."""
    paper, twin = control.paper.validation["auc"], control.twin.by_case["auc"]
    name = NAMES[control.model]
    if paper.value is None or twin.value is None:
        return f"With shuffled labels no AUC of {name} can be computed."
    accuracy = control.paper.validation["accuracy"]
    text = (
        "With labels shuffled between patients there is nothing to learn about a new patient, and "
        "hardly anything but the leak can raise an AUC above 0.50. The paper's protocol then gives "
        f"{name} an accuracy of "
        f"{accuracy.value:.2f} and an AUC of {with_interval(paper)} by image ({counted_noun(paper.n, 'image')}, "
        f"LEAKY); the leak-free twin's AUC is {with_interval(twin)} by case ({counted_noun(twin.n, 'case')})."
    )
    seen = paper.low is not None and paper.low > CHANCE
    honest = twin.low is not None and twin.high is not None and twin.low <= CHANCE <= twin.high
    twins = "The twin was not shown to differ from chance"
    if not control.paper.converged:
        text += " It did not converge under the paper's protocol."
    if seen and honest:
        return (
            f"{text} The illusion appears under the paper's protocol alone. {twins} ({with_interval(twin)})."
        )
    if not seen:
        text += (
            " The illusion does not appear here: under the paper's protocol the AUC is not above 0.50 by more than "
            "chance."
        )
    if twin.low is None:
        text += " The twin's AUC has no interval, so nothing can be said about it."
    elif not honest:
        text += (
            " The twin's interval does not include 0.50: this is rare by chance, but common after a mistake."
        )
    elif not seen:
        text += f" {twins}."
    return text


def shortened(found: Replication) -> list[str]:
    """What was made smaller than in the paper."""
    used, leak = found.configuration, found.leak
    lines = [f"Epochs: {used.epochs}; the paper does not say how many it used."]
    if used.images_per_epoch < leak.train_images:
        share = used.images_per_epoch / leak.train_images
        lines.append(
            f"An epoch draws {used.images_per_epoch:,} of {leak.train_images:,} augmented copies ({100 * share:.0f} "
            "%), under both protocols; each slice has 16, the original and 15 copies."
        )
    if used.validation_images_used < leak.validation_images:
        lines.append(
            f"The paper's protocol validates on {used.validation_images_used:,} of {leak.validation_images:,} "
            "augmented copies; the last partial batch is dropped as in the paper."
        )
    missing = [name for key, name in NAMES.items() if key not in used.models]
    if missing:
        lines.append(f"Networks not trained: {', '.join(missing)}.")
    if used.size_px != 256:
        lines.append(f"Slices have {used.size_px} x {used.size_px} pixels, the paper's 256 x 256.")
    if used.twin_folds == 1:
        judged = found.folds[0].judge_patients
        lines.append(
            f"The twin was trained once and tested on {judged} of {leak.development_patients} patients."
        )
    if found.shuffled is None:
        lines.append("Shuffled labels were not run.")
    return lines


def _range(numbers: Sequence[int]) -> str:
    """One number, or the smallest to the largest."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
