"""What the figures say, in sentences made from them: content of replicate.json in, text out."""

from typing import Any

from nephroscope.replicate.apart import fewer_learnt, shares_alone
from nephroscope.replicate.printed import CITATION, NAMES

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
