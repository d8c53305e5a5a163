"""ONNX files from elsewhere: what loops, reaches outside or asks for too much is refused before it runs."""

import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nephroscope.base.errors import BundleError
from nephroscope.clinic import bundle as bundle_module
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.network_file import check_network, strings_of
from tiny_bundle import SIZE_PX, content_of, make_bundle, save_network, write_content


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


def cast(name="f"):
    return helper.make_node("Cast", ["hu"], [name], to=TensorProto.FLOAT)


def loop():
    """A loop that never ends: its condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["x"], ["x2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x2", TensorProto.FLOAT, None),
        ],
    )
    return [cast(), helper.make_node("Loop", ["", "true", "f"], ["logits"], body=body)]


def doubled(source, n):
    """A tensor that is twice as long after each of ``n`` operators."""
    return [
        helper.make_node("Concat", [f"{source}{i}", f"{source}{i}"], [f"{source}{i + 1}"], axis=0)
        for i in range(n)
    ]


def outside():
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[1, 2], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


def claims(shape):
    tensor = TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=shape)
    tensor.raw_data = b"\0" * 8
    return tensor


USUAL = [helper.make_node("ReduceMean", ["f"], ["m"], axes=[2, 3], keepdims=0)]
END = [helper.make_node("Gemm", ["m", "w", "b"], ["logits"])]
HOSTILE = {
    "an endless loop": (loop(), [numpy_helper.from_array(np.array(True), "true")], "operator Loop"),
    "another domain": (
        [cast(), helper.make_node("FusedConv", ["f"], ["logits"], domain="com.microsoft")],
        [],
        r"com\.microsoft\.FusedConv",
    ),
    "an operator that makes large tensors": (
        [cast(), helper.make_node("ConstantOfShape", ["n"], ["k"]), *USUAL, *END],
        [numpy_helper.from_array(np.array([10**5, 10**5]), "n")],
        "operator ConstantOfShape",
    ),
    "a graph in an allowed operator": (
        [helper.make_node("Cast", ["hu"], ["f"], to=1, body=loop()[1].attribute[0].g), *USUAL, *END],
        [],
        "a graph within an operator",
    ),
    "weights outside": ([cast(), *USUAL, *END], [outside()], "weights in another file"),
    "a shape without data": ([cast(), *USUAL, *END], [claims([2**20, 2**20])], "at most 100000000 values"),
    "too few data": ([cast(), *USUAL, *END], [claims([3, 3])], "other data"),
    "a negative shape": ([cast(), *USUAL, *END], [claims([-1])], "at most 100000000 values"),
    "constants that grow": (
        [cast(), *doubled("k", 40), *USUAL, *END],
        [numpy_helper.from_array(np.zeros(64, np.float32), "k0")],
        "constants of at most",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_networks_are_refused_before_they_are_loaded(kind, bundle, monkeypatch):
    nodes, tensors, found = HOSTILE[kind]
    if kind == "weights outside":
        save_network(bundle / "model.onnx", nodes)
        import onnx

        model = onnx.load(bundle / "model.onnx", load_external_data=False)
        model.graph.initializer[0].CopyFrom(tensors[0])
        (bundle / "model.onnx").write_bytes(model.SerializeToString())
    else:
        save_network(bundle / "model.onnx", nodes, tensors)
    write_content(bundle, content_of(bundle))
    monkeypatch.setattr(bundle_module, "NetworkSession", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(BundleError, match=found) as refused:
        open_bundle(bundle)
    assert refused.value.where == "model.onnx"


def test_a_tensor_that_grows_with_the_slices_meets_the_limit_of_memory(bundle):
    nodes = [
        helper.make_node("Cast", ["hu"], ["c0"], to=TensorProto.FLOAT),
        *doubled("c", 40),
        helper.make_node("ReduceMean", ["c40"], ["m"], axes=[2, 3], keepdims=0),
        *END,
    ]
    save_network(bundle / "model.onnx", nodes)
    write_content(bundle, content_of(bundle))
    with pytest.raises(BundleError, match="one that cannot compute them"):
        open_bundle(bundle)


def test_a_network_that_takes_too_long_is_refused(bundle, monkeypatch):
    import threading

    ended = threading.Event()
    monkeypatch.setattr(bundle_module, "SECONDS_TO_OPEN", 0.05)
    monkeypatch.setattr(bundle_module, "_network", lambda *_: ended.wait(20))
    with pytest.raises(BundleError, match=r"answers within 0\.05 s"):
        open_bundle(bundle)
    ended.set()


def test_weights_that_are_no_numbers_are_refused(bundle):
    content = (bundle / "model.onnx").read_bytes()
    weight = np.float32(-0.01).tobytes()
    assert content.count(weight) == 1
    (bundle / "model.onnx").write_bytes(content.replace(weight, np.float32(np.nan).tobytes()))
    write_content(bundle, content_of(bundle))
    with pytest.raises(BundleError, match="the reference slices to give their stored logits"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"not a network", b"\x3a\xff\xff\xff\xff\x0f", b"\x08" + b"\xff" * 20, bytes(range(256))],
)
def test_what_is_no_onnx_file_is_refused(content):
    with pytest.raises(BundleError):
        check_network("model.onnx", content)


def test_every_cut_and_many_changed_bytes_are_read_or_refused(bundle):
    """Nothing but a refusal, whatever the bytes."""
    content = (bundle / "model.onnx").read_bytes()
    rng = np.random.default_rng(3)
    n_refused = 0
    for n in range(len(content)):
        try:
            check_network("model.onnx", content[:n])
        except BundleError:
            n_refused += 1
    assert n_refused > len(content) - 40  # without its last fields it is still a network
    n_refused = 0
    for _ in range(2000):
        changed = bytearray(content)
        changed[rng.integers(len(content))] = rng.integers(256)
        try:
            check_network("model.onnx", bytes(changed))
        except BundleError:
            n_refused += 1
    assert 100 < n_refused < 2000


def test_networks_with_changed_bytes_answer_the_same_or_are_refused(bundle, capfd):
    """Also by ONNX Runtime: nothing but a refusal, nothing printed, and never another answer."""
    content, about = (bundle / "model.onnx").read_bytes(), content_of(bundle)
    hu = np.full((1, SIZE_PX, SIZE_PX), 50, np.int16)
    right = open_bundle(bundle).scorer.network.probabilities(hu)
    start = content.index(b"hu")  # from here on names, where many changes still make a network
    rng, n_answered = np.random.default_rng(5), 0
    for _ in range(150):
        changed = bytearray(content)
        changed[rng.integers(start, len(content))] = rng.integers(256)
        (bundle / "model.onnx").write_bytes(changed)
        write_content(bundle, about)
        try:
            answer = open_bundle(bundle).scorer.network.probabilities(hu)
        except BundleError:
            continue
        n_answered += 1
        assert answer == pytest.approx(right, abs=1e-3)
    assert n_answered > 0
    assert capfd.readouterr().out == ""


def test_texts_of_a_network_are_found(bundle):
    texts = strings_of((bundle / "model.onnx").read_bytes())
    assert {"hu", "logits", "Gemm"} <= set(texts)


def test_a_network_that_answers_only_the_first_reference_slice_is_refused(bundle):
    with np.load(bundle / "reference.npz") as stored:
        hu, logits = stored["hu"], stored["logits"]
    logits[1:] += 0.01
    np.savez_compressed(bundle / "reference.npz", hu=hu, logits=logits)
    write_content(bundle, content_of(bundle))
    with pytest.raises(BundleError, match="the reference slices to give their stored logits"):
        open_bundle(bundle)


def test_reference_slices_that_numpy_cannot_read_are_refused(bundle):
    """Headers that NumPy's own reader takes for a program, or for more memory than there is."""
    for text in (
        "{'descr': '<i2'\n",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (9000000000000000,), }\n",
    ):
        with zipfile.ZipFile(bundle / "reference.npz", "w") as archive:
            for name in ("hu.npy", "logits.npy"):
                archive.writestr(name, b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
        write_content(bundle, content_of(bundle))
        with pytest.raises(BundleError) as refused:
            open_bundle(bundle)
        assert refused.value.expected == "reference.npz with hu and logits"
