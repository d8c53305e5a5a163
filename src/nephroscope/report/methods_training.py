"""A page's content in; how the network was built and trained, in words, out."""

from nephroscope.report.content import ReportContent
from nephroscope.training.ranges import BLUR_SHARE, BLUR_SIGMA_PX, ROTATION_DEG, SHIFT_HU


def network_text(content: ReportContent) -> str:
    """Architecture, head, start of the weights."""
    train, report = content.main.train, content.main.report
    start = "ImageNet weights" if train.pretrained else "random weights"
    head = (
        f"one linear layer of {len(report.subtypes)} outputs"
        if train.recipe == "default"
        else "the head of Zuo et al. 2021"
    )
    return (
        f"{train.model} as torchvision builds it, with {head}, from {start}. Input: slices of "
        f"{content.spec.size_px} x "
        f"{content.spec.size_px} pixels in the window, repeated to three channels. Output: probabilities of "
        f"{', '.join(report.subtypes)} (softmax)."
    )


def training_text(content: ReportContent) -> str:
    """Optimiser, schedule, loss, stop, augmentation, seed."""
    train = content.main.train
    rate = f"learning rate {train.learning_rate:g}"
    if train.schedule == "cosine":
        rate += f", rising over the first {100 * train.warmup:g} % of the steps and then falling as a cosine to zero"
    else:
        rate += ", constant" + (
            f" after the first {100 * train.warmup:g} % of the steps" if train.warmup else ""
        )
    decay = f"AdamW with weight decay {train.weight_decay:g}" if train.weight_decay else "Adam"
    weighed = (
        "weighed so that every subtype counts the same" if train.class_weights else "not weighed by subtype"
    )
    most = f", at most {train.slices_per_case} slices of a case in an epoch" if train.slices_per_case else ""
    return (
        f"{decay}, {rate}, batches of {train.batch_size} slices{most}; cross-entropy {weighed}. "
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
        "loss were kept; the validation slices are of patients who also train."
        if content.split.leaky
        else "loss (mean over cases) were kept; test cases played no part in the choice."
    )
    return (
        f"At most {train.epochs} epochs ({patience}).{trained} The weights of the epoch with the lowest validation "
        f"{kept}{lost}"
    )


def software_text(content: ReportContent) -> str:
    """Versions and machine, as environment.json of the run says them."""
    told = content.environment
    versions = [f"nephroscope {told.get('nephroscope', content.version)}"]
    named = (("python", "Python"), ("torch", "PyTorch"), ("torchvision", "torchvision"), ("numpy", "NumPy"))
    versions += [f"{name} {told[key]}" for key, name in named if key in told]
    text = ", ".join(versions)
    if "device" in told:
        text += f"; trained on {told['device']}, {_threads(told.get('threads', '?'))}, {told.get('precision', '?')}"
    if told.get("nephroscope", content.version) != content.version:
        text += f"; evaluated with nephroscope {content.version}"
    return f"{text}."


def _threads(n: object) -> str:
    return f"{n} thread{'' if n == 1 else 's'}"


def _augmentation_text(content: ReportContent) -> str:
    if not content.main.train.augmentation:
        return "No augmentation."
    return (
        f"Augmentation of training slices, drawn afresh for each batch: rotation by up to {ROTATION_DEG:g}°, "
        f"flips in both "
        f"axes, Gaussian blur of {BLUR_SIGMA_PX[0]:g} to {BLUR_SIGMA_PX[1]:g} pixels on {100 * BLUR_SHARE:g} "
        f"% of the "
        f"slices, brightness by up to {SHIFT_HU:g} HU."
    )
