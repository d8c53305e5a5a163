"""A network for several phases with random weights, and a bundle of it."""

from dataclasses import replace

import numpy as np
import torch

from nephroscope.clinic.bundle import save_bundle_file
from nephroscope.clinic.score import MEAN, SCALE, SD, ApplicabilityDomain, Scorer
from nephroscope.clinic.session import NetworkSession
from nephroscope.learning.networks.onnx_file import export_onnx
from nephroscope.learning.networks.phases import network_of
from nephroscope.records import OperatingPoint
from small_study import SPEC, SUBTYPES

THREE = ("corticomedullary", "nephrographic", "excretory")
WIDTH = 0.1


def spec_of(*phases):
    return replace(SPEC, phases=phases)


def slices(n=4, n_phases=3, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).integers(-100, 200, (n, n_phases, 32, 32)).astype(np.int16)
    )


def made(name, *phases, seed=1):
    torch.manual_seed(seed)
    network = network_of(name, 2, spec_of(*phases), width=WIDTH)
    if network.vectors is not None:
        torch.nn.init.normal_(network.vectors)
        torch.nn.init.normal_(network.own, std=0.05)
    if network.importance is not None:
        torch.nn.init.normal_(network.importance, std=0.2)
    return network.eval()


def bundle_of(folder, *phases):
    """A bundle of format 5 around a network with random weights."""
    folder.mkdir()
    network, spec = made("phases", *phases), spec_of(*phases)
    hu = slices(3, len(phases)).numpy()
    logits = export_onnx(network, 2, hu, folder / "model.onnx")
    np.savez_compressed(folder / "reference.npz", hu=hu, logits=logits)
    (folder / "README.md").write_text("A bundle.\n", encoding="utf-8")
    scorer = Scorer(
        network=NetworkSession(folder / "model.onnx"),
        subtypes=SUBTYPES,
        positive="PRCC",
        point=OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="nothing"),
        not_sure_margin=0.0,
        domain=ApplicabilityDomain(limits={MEAN: (0.0, 1.0), SD: (0.0, 1.0), SCALE: (-1.0, 9.0)}),
        spec=spec,
        model_digest="",
        phases=spec.phases,
    )
    training = {"synthetic": True, "leaky": False, "slices_digests": [], "phases": {}}
    save_bundle_file(scorer, {"training": training, "model": "phases"}, folder)
    return folder
