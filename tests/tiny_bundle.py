"""A bundle around a network of four operators, made in milliseconds: bright slices are ChRCC."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nephroscope.clinic.bundle import save_bundle_file
from nephroscope.clinic.bundle_file import FILES, FORMAT, ONE_PHASE, content_digest
from nephroscope.clinic.score import MEAN, SCALE, SD, ApplicabilityDomain, Scorer
from nephroscope.clinic.session import NetworkSession
from nephroscope.records import OperatingPoint, SliceSpec

SIZE_PX = 32
SPEC = SliceSpec(size_px=SIZE_PX, margin_mm=4.0, min_area_mm2=1.0)
TRAINING = {
    "synthetic": False,
    "leaky": False,
    "slices_digests": ["0123456789abcdef"],
    "phases": {"corticomedullary": 9, "nephrographic": 2},
}


def save_network(path: Path, nodes=None, tensors=(), ir_version=8) -> Path:
    """An ONNX file from hu to logits; by default the mean HU times (-0.01, 0.01) plus (1, -1)."""
    weights = [
        numpy_helper.from_array(np.array([[-0.01, 0.01]], np.float32), "w"),
        numpy_helper.from_array(np.array([1.0, -1.0], np.float32), "b"),
        *tensors,
    ]
    usual = [
        helper.make_node("Cast", ["hu"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["logits"]),
    ]
    hu = helper.make_tensor_value_info("hu", TensorProto.INT16, ["n", 1, SIZE_PX, SIZE_PX])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(usual if nodes is None else nodes, "g", [hu], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version)
    path.write_bytes(model.SerializeToString())
    return path


def make_bundle(folder: Path, spec: SliceSpec = SPEC, **about) -> Path:
    """The whole bundle; ``about`` replaces fields of bundle.json that the scorer does not give."""
    folder.mkdir(parents=True)
    save_network(folder / "model.onnx")
    hu = np.random.default_rng(0).integers(-100, 200, (2, spec.size_px, spec.size_px)).astype(np.int16)
    session = NetworkSession(folder / "model.onnx")
    np.savez_compressed(folder / "reference.npz", hu=hu, logits=session.logits(hu))
    (folder / "README.md").write_text("A bundle.\n", encoding="utf-8")
    scorer = Scorer(
        network=session,
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        point=OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="nothing"),
        not_sure_margin=0.1,
        domain=ApplicabilityDomain(limits={MEAN: (0.0, 1.0), SD: (0.0, 1.0), SCALE: (-1.0, 9.0)}),
        spec=spec,
        model_digest="",
    )
    save_bundle_file(scorer, {"training": TRAINING, "model": "tiny", **about}, folder)
    return folder


def content_of(folder: Path) -> dict:
    """bundle.json."""
    return json.loads((folder / "bundle.json").read_text(encoding="utf-8"))


def write_content(folder: Path, content: dict, sign: bool = True) -> None:
    """bundle.json with its files' digests and, unless ``sign`` is off, its own made right again."""
    if sign:
        from nephroscope.base.files import file_digest

        known = content.get("sha256")
        if isinstance(known, dict):
            content = content | {"sha256": known | {name: file_digest(folder / name) for name in FILES}}
        if content.get("format") in (3, ONE_PHASE, FORMAT):
            content = content | {"digest": content_digest(content)}
    (folder / "bundle.json").write_text(json.dumps(content), encoding="utf-8")


__all__ = ["SIZE_PX", "SPEC", "content_of", "make_bundle", "onnx", "save_network", "write_content"]
