"""What the figures say, in sentences made from them: content of replicate.json in, text out."""

from collections.abc import Iterable
from typing import Any

from nephroscope.base.progress import time_words
from nephroscope.questions.replicate.printed import CITATION, NAMES

TOO_WIDE = 0.3  # an interval wider than this tells little


def twin_learns(content: dict[str, Any]) -> str:
    """From how many patients a training of the twin learns, beside the paper's protocol."""
    n = content["leak"]["development_patients"]
    folds = content["models"][0]["twin"]["folds"]
    told = _range([fold["train_patients"] for fold in folds])
    fewer = [n - fold["train_patients"] for fold in folds]
    return (
        f"A training of the twin learns from {told} patients, one of the paper's protocol from all {n}: "
        f"{_range(fewer)} fewer, as others choose its epoch and judge it."
    )


def fewer_learnt(content: dict[str, Any]) -> str:
    """The same in short, to stand beside the difference."""
    told = _range([fold["train_patients"] for fold in content["models"][0]["twin"]["folds"]])
    n = content["leak"]["development_patients"]
    return (
        f"The two differ in more than the leak, such as {told} patients to learn from against {n}: see below."
    )


def twin_differs(content: dict[str, Any]) -> list[str]:
    """The four things in which the twin differs from the paper's protocol."""
    leak, folds = content["leak"], content["models"][0]["twin"]["folds"]
    choose = _range([fold["choose_patients"] for fold in folds])
    used = content["configuration"]["validation_images_used"]
    return [
        "Split. Paper's protocol: by image, after augmentation, so that copies of one slice are trained on and "
        f"validated on ({leak['patients_on_both_sides']} of {leak['validation_patients']} patients on both sides). "
        "Twin: by patient.",
        f"Patients learnt from. {twin_learns(content)}",
        "Epoch. Paper's protocol: the best accuracy on the very images whose accuracy is printed. "
        f"Twin: the lowest loss on {choose} patients who are neither trained on nor judged.",
        f"Judged on. Paper's protocol: {used:,} augmented copies. Twin: original slices.",
    ]


def isolated(content: dict[str, Any]) -> str:
    """Where the leak stands alone."""
    told = (
        "A difference between the two is therefore not the leak's alone. Shuffled labels isolate the leak: there is "
        "nothing to learn about a new patient, so nothing but the leak can lift the paper's protocol above chance "
        "(and, by little, the choice of its best epoch on the images reported)."
    )
    return told if content["shuffled"] else f"{told} They were not run here."


def tests_sentence(content: dict[str, Any], network: dict[str, Any]) -> str:
    """What the network of the top sentence does on the test cases, under both protocols, and whether it can tell."""
    found = network["tests"]["together"]["by_case"]
    paper, twin = found["paper"]["accuracy"], found["twin"]["accuracy"]
    if paper["value"] is None or twin["value"] is None:
        return "On the test cases no accuracy can be counted."
    n = twin["n"]
    text = (
        f"On the {n} test case{'s' * (n != 1)}, learnt from under neither protocol, {NAMES[network['model']]} calls "
        f"{_right(paper)} right under the paper's protocol (epoch chosen on the LEAKY split) and {_right(twin)} as "
        f"the leak-free twin (by case, two of three slices)."
    )
    text += _what_tests_tell(content, (paper, twin), found["difference"]["accuracy"])
    if paper["value"] > twin["value"]:
        text += (
            " More right under the paper's protocol is no leak here: no image of a test patient was trained on, and "
            "it learnt from more patients than the twin."
        )
    return text


def _right(estimate: dict[str, Any]) -> str:
    """Hits of all with the share and its interval."""
    hits = round(estimate["value"] * estimate["n"])
    interval = "" if estimate["low"] is None else f", {estimate['low']:.2f} to {estimate['high']:.2f}"
    return f"{hits} of {estimate['n']} ({estimate['value']:.2f}{interval})"


def _what_tests_tell(
    content: dict[str, Any], both: tuple[dict[str, Any], dict[str, Any]], apart: dict[str, Any]
) -> str:
    """Whether the cases tell the two apart, and each from always naming the commoner subtype."""
    n, share = both[0]["n"], _commoner(content)
    known = apart["low"] is not None and not apart["low"] <= 0 <= apart["high"]
    text = f"these {n} cases do not tell the two apart"
    if apart["low"] is None and apart["value"]:
        text = f"the difference is {apart['value']:.2f}, without an interval"
    if known:
        text = f"the difference is {apart['value']:.2f} ({apart['low']:.2f} to {apart['high']:.2f})"
    paper, twin = (e["low"] is None or e["low"] <= share for e in both)
    if (paper or twin) and share < 1:
        who = "neither is" if paper and twin else f"{'the first' if paper else 'the twin'} is not"
        text += f"; {who} shown to be better than always naming the commoner subtype ({share:.2f})"
    if max((e["high"] - e["low"] for e in both if e["low"] is not None), default=1.0) > TOO_WIDE:
        return f" The test set is too small to tell much: {text}."
    return f" {text[0].upper()}{text[1:]}."


def one_sided(content: dict[str, Any]) -> str:
    """Which networks call every image one subtype, so that their accuracy says nothing of them."""
    found = []
    for network in content["models"]:
        name, folds = NAMES[network["model"]], network["twin"]["one_sided"]
        if network["paper"]["one_sided"]:
            found.append(f"{name} (paper's protocol)")
        if any(folds):
            found.append(f"{name} (twin{_in_folds(folds)})")
    if not found:
        return ""
    return (
        f"Every image is called the same subtype by {', '.join(found)}: such an accuracy is the share of that "
        "subtype and no more; the AUC, which asks for the order alone, may still be high."
    )


def shares_alone(network: dict[str, Any]) -> str:
    """That a difference is no leak, where a side of it calls every image the same subtype; else empty."""
    paper, twin = network["paper"]["one_sided"], all(network["twin"]["one_sided"])
    if not paper and not twin:
        return ""
    who = "That network calls" if paper else "Each network of the twin calls"
    who = "That network, as each of its twin, calls" if paper and twin else who
    return (
        f" {who} every image the same subtype, so that its accuracy, and with it the difference, shows the shares of "
        "the subtypes among the images and nothing of the leak."
    )


def _in_folds(folds: list[bool]) -> str:
    """`` in 2 of 5 folds``; empty where there is one."""
    return "" if len(folds) == 1 else f" in {sum(folds)} of {len(folds)} folds"


def _commoner(content: dict[str, Any]) -> float:
    """Share of the commoner subtype among the test cases."""
    counts: dict[str, int] = {}
    for case in content["cases"]:
        counts[case["truth"]] = counts.get(case["truth"], 0) + 1
    return max(counts.values()) / sum(counts.values())


def hours_of(records: Iterable[dict[str, Any]]) -> float:
    """Hours of all epochs of all trainings, from their arm.json."""
    return round(sum(float(row["seconds"]) for record in records for row in record["epochs"]) / 3600, 4)


def hours_words(content: dict[str, Any]) -> str:
    """How long the trainings took, and where."""
    used = content["models"][0]["resources"]
    n = content["trainings"]
    threads = f", {used['threads']} thread{'s' * (used['threads'] > 1)}" if used["device"] == "cpu" else ""
    told = time_words(3600 * content["hours"])
    device = used["device"].upper() if used["device"] == "cpu" else used["device"]
    return (
        f"Training took {told} in all ({n} trainings, all their epochs with validation) on {device}{threads}."
    )


def _range(numbers: list[int]) -> str:
    """One number, or the least to the most."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


CHANCE = 0.5
POOLED = (
    "Cases of several folds are ranked together: with few patients and nothing to learn such an AUC comes out "
    "somewhat below 0.50, as each training has fewer of the subtype that it is judged on."
)


def summary(content: dict[str, Any]) -> str:
    """The sentence on top: what the paper's protocol makes of the best network, and what new patients say."""
    best = best_network(content)
    if best is None:
        return "No network gave an answer that can be counted."
    paper, twin = best["paper"]["validation"]["accuracy"], best["twin"]["by_image"]["accuracy"]
    judged = sum(fold["judge_patients"] for fold in best["twin"]["folds"])
    text = (
        f"Under the paper's protocol (LEAKY) the accuracy of {NAMES[best['model']]} looks like "
        f"{said(paper)}; its leak-free twin, the same network trained and judged by patient, reaches "
        f"{said(twin)} on new patients (by image, {judged} patients)."
    )
    apart = best["difference"]["accuracy"]
    if apart["low"] is not None:
        beyond = "" if apart["low"] > 0 else ", not beyond chance in this run"
        if apart["high"] < 0:
            beyond = ": here the twin is the better one"
        text += f" The difference is {said(apart)}{beyond}."
    text += f"{shares_alone(best)} {fewer_learnt(content)}"
    if not best["paper"]["converged"]:
        epochs = content["configuration"]["epochs"]
        text += (
            f" No network converged under the paper's protocol in {epochs} epoch{'s' * (epochs != 1)}: "
            "these accuracies are of networks that learnt next to nothing."
        )
    return text


def best_network(content: dict[str, Any]) -> dict[str, Any] | None:
    """The one that the paper would choose: best validation accuracy of those that converged."""
    known = [n for n in content["models"] if n["paper"]["validation"]["accuracy"]["value"] is not None]
    sound = [n for n in known if n["paper"]["converged"]] or known
    return max(sound, key=lambda n: n["paper"]["validation"]["accuracy"]["value"], default=None)


def area_sentence(content: dict[str, Any]) -> str:
    """The same of the AUC by case, where chance is 0.5 whatever the mixture of subtypes."""
    found = []
    for network in content["models"]:
        area = network["twin"]["by_case"]["auc"]
        if area["value"] is not None:
            found.append(f"{NAMES[network['model']]} {said(area)}")
    if not found:
        return ""
    pooled = f" {POOLED}" if content["configuration"]["twin_folds"] > 1 else ""
    return f"AUC by case on new patients, where chance is 0.50: {'; '.join(found)}.{pooled}"


def shuffled_sentence(control: dict[str, Any]) -> str:
    """What shuffled labels show, no more than the intervals allow."""
    paper, twin = control["paper"]["validation"]["auc"], control["twin"]["by_case"]["auc"]
    name = NAMES[control["model"]]
    if paper["value"] is None or twin["value"] is None:
        return f"With shuffled labels {name} gave no AUC that can be counted."
    accuracy = control["paper"]["validation"]["accuracy"]
    text = (
        "With labels shuffled between patients, where nothing can be learnt about a new patient and little but the "
        f"leak can lift an AUC above 0.50, the paper's protocol prints for {name} an accuracy of "
        f"{accuracy['value']:.2f} and an AUC of {said(paper)} by image ({paper['n']} images, LEAKY); the leak-free "
        f"twin's AUC is {said(twin)} by case ({twin['n']} cases)."
    )
    seen = paper["low"] is not None and paper["low"] > CHANCE
    honest = twin["low"] is not None and twin["low"] <= CHANCE <= twin["high"]
    twins = "The twin was not shown to differ from chance"
    if not control["paper"].get("converged", True):
        text += " It did not converge under the paper's protocol."
    if seen and honest:
        return f"{text} The illusion shows under the paper's protocol alone. {twins} ({said(twin)})."
    if not seen:
        text += " The illusion does not show in this training: the paper's protocol is not above 0.50 beyond chance."
    if twin["low"] is None:
        text += " The twin's AUC has no interval, so nothing can be said of it."
    elif not honest:
        text += " The twin's interval does not hold 0.50: by chance that is rare, by a mistake the rule."
    elif not seen:
        text += f" {twins}."
    return text


def shortened(content: dict[str, Any]) -> list[str]:
    """What was made smaller than in the paper, from the configuration and the folds."""
    used, leak = content["configuration"], content["leak"]
    lines = [f"Epochs: {used['epochs']}; the paper does not say how many it took."]
    if used["images_per_epoch"] < leak["train_images"]:
        share = used["images_per_epoch"] / leak["train_images"]
        lines.append(
            f"An epoch draws {used['images_per_epoch']:,} of {leak['train_images']:,} augmented copies "
            f"({100 * share:.0f} %), under both protocols; each slice has 16, the original and 15 copies."
        )
    if used["validation_images_used"] < leak["validation_images"]:
        lines.append(
            f"The paper's protocol validates on {used['validation_images_used']:,} of "
            f"{leak['validation_images']:,} augmented copies; the last partial batch is dropped as in the paper."
        )
    missing = [name for key, name in NAMES.items() if key not in used["models"]]
    if missing:
        lines.append(f"Networks not trained: {', '.join(missing)}.")
    if used["size_px"] != 256:
        lines.append(f"Slices have {used['size_px']} x {used['size_px']} pixels, the paper's 256 x 256.")
    if used["twin_folds"] == 1:
        judged = content["models"][0]["twin"]["folds"][0]["judge_patients"]
        lines.append(
            f"The twin was trained once and judged on {judged} of {leak['development_patients']} patients."
        )
    if content["shuffled"] is None:
        lines.append("Shuffled labels were not run.")
    return lines


def said(estimate: dict[str, Any]) -> str:
    """A figure with its interval, to two digits."""
    if estimate["value"] is None:
        return "not available"
    if estimate["low"] is None:
        return f"{estimate['value']:z.2f}"
    return f"{estimate['value']:z.2f} ({estimate['low']:z.2f} to {estimate['high']:z.2f})"


def source() -> str:
    """The paper."""
    return CITATION
