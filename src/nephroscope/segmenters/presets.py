"""Programs that can draw, one row each: command, license, where its weights come from, and what it cannot do.

Nothing is fetched here. A row says where the user gets the program and its weights.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OWN = (sys.executable, "-P", "-m")  # a program of ours, in a process of its own
Model = Literal["", "file", "folder", "address"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A program that is known here.

    Attributes:
        title: Its name as its authors write it.
        command: With the places {image}, {output}, {image_folder}, {output_folder}, {model}, {box} and {folds}.
        licence: Of the program and of its weights.
        weights: Where the user gets them.
        cannot: What it cannot do, and what to know before it is used.
        model: What --model is: a file, a folder, an address, or nothing.
        labels: Names of the values that it writes; empty where its model says them.
        environment: Variables that it is given; {model} is replaced.
        organs_only: True where it draws no tumor: what it draws are the organs of the series.
    """

    title: str
    command: tuple[str, ...]
    licence: str
    weights: str
    cannot: str
    model: Model
    labels: Mapping[int, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    organs_only: bool = False


PRESETS: Mapping[str, Preset] = {
    "totalsegmentator": Preset(
        title="TotalSegmentator 2",
        command=(
            *("TotalSegmentator", "-i", "{image}", "-o", "{output}", "--ml", "--roi_subset"),
            *("kidney_right", "kidney_left", "kidney_cyst_left", "kidney_cyst_right"),
        ),
        licence="program and weights of the task total: Apache-2.0",
        weights="`totalseg_download_weights -t total` writes all that are needed, those of the coarse crop too, to "
        "~/.totalsegmentator/nnunet/results, which is what --model wants",
        cannot="it draws kidneys and cysts, no tumor, and what it draws becomes the organs of the series; a tumor is "
        "often left out of its kidney. It fetches weights that are missing by itself, and sends usage statistics "
        "unless send_usage_stats is false in its config.json",
        model="folder",
        labels={2: "kidney_right", 3: "kidney_left", 23: "kidney_cyst_left", 24: "kidney_cyst_right"},
        environment={"TOTALSEG_WEIGHTS_PATH": "{model}"},
        organs_only=True,
    ),
    "kits19-unet": Preset(
        title="3D U-Net of MLCommons, trained on KiTS19",
        command=(*OWN, "nephroscope.segmenters.kits19_unet", "{image}", "{output}", "{model}"),
        licence="program: this one; weights: Apache-2.0; trained on KiTS19, which is CC BY-NC-SA 4.0",
        weights="Zenodo record 5597155, file 3dunet_kits19_128x128x128.onnx (or _dynbatch); ONNX Runtime is enough",
        cannot="it was trained on late arterial CT of patients before nephrectomy; its authors report a mean Dice of "
        "0.935 for kidneys and 0.789 for tumors in 43 cases of KiTS19, where two people agree to 0.92. Cysts are "
        "kidney or tumor to it. It must not be measured on the KiTS19 cases that it was trained on",
        model="file",
        labels={1: "kidney", 2: "tumor"},
    ),
    "nnunet": Preset(
        title="nnU-Net v2, a trained model folder",
        command=(
            "nnUNetv2_predict_from_modelfolder",
            *("-i", "{image_folder}", "-o", "{output_folder}", "-m", "{model}", "-f", "{folds}"),
        ),
        licence="program: Apache-2.0; weights: as whoever trained them says",
        weights="a folder that holds dataset.json, plans.json and fold_*; the model must take one CT channel",
        cannot="it draws what its dataset.json names; one label must be called a tumor. It wants a GPU: without one "
        "give the command yourself and add `-device cpu`, which takes minutes to hours for a CT",
        model="folder",
    ),
    "monai-bundle": Preset(
        title="A MONAI bundle",
        command=(
            *("python", "-m", "monai.bundle", "run", "--bundle_root", "{model}"),
            *("--config_file", "{model}/configs/inference.json", "--datalist", "['{image}']"),
            *("--output_dir", "{output_folder}"),
        ),
        licence="program: Apache-2.0; weights: as the bundle's LICENSE says",
        weights="`python -m monai.bundle download NAME --bundle_dir FOLDER`",
        cannot="bundles differ: where --dry-run does not fit, give the command of the bundle's README yourself. One "
        "label of its metadata.json must be called a tumor, and its output must be on the grid of the image. The "
        "model zoo has none that draws a renal tumor on one phase: renalStructures_CECT takes three. `python` is the "
        "one of the PATH, and must have MONAI",
        model="folder",
    ),
    "nninteractive": Preset(
        title="nnInteractive, a client of its server",
        command=(*OWN, "nephroscope.segmenters.nninteractive", "{image}", "{output}", "{model}", "{box}"),
        licence="program: Apache-2.0; weights v1: CC BY-NC-SA 4.0, not for commercial use; others say theirs",
        weights="on the server; here `pip install nninteractive-client`; --model is the server's address, and the "
        "key, where it asks for one, is in NNINTERACTIVE_API_KEY",
        cannot="it draws nothing by itself: a person gives the box around the tumor with --box, one image at a "
        "time. The CT leaves this computer for the server",
        model="address",
        labels={1: "tumor"},
    ),
}
