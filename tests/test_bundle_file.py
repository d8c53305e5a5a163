"""bundle.json: every field missing, of another type, out of its range or swapped is refused, and named."""

import json
import math
import os
import shutil
from collections import Counter

import numpy as np
import pytest

from nephroscope.base.errors import BundleError
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.bundle_file import content_digest
from tiny_bundle import SIZE_PX, content_of, make_bundle, write_content


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture
def bundle(made, tmp_path):
    return shutil.copytree(made, tmp_path / "bundle")


def answers(folder):
    """What a bundle gives: the probabilities of two slices, by subtype, and what decides a call."""
    scorer = open_bundle(folder).scorer
    hu = np.stack([np.full((SIZE_PX, SIZE_PX), level, np.int16) for level in (0, 150)])
    p = scorer.network.probabilities(hu).mean(axis=0)
    rules = (
        scorer.point.threshold,
        scorer.not_sure_margin,
        scorer.positive,
        scorer.domain.limits,
        scorer.spec,
    )
    return dict(zip(scorer.subtypes, p.round(9).tolist(), strict=True)), rules


def places(value, at=()):
    """Every place in a JSON value, outer ones first."""
    if at:
        yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def changed(content, at, value):
    content = json.loads(json.dumps(content))
    inner = content
    for key in at[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return content


VALUES = (
    KeyError,
    None,
    True,
    0,
    -1,
    2,
    10**30,
    1e308,
    math.nan,
    math.inf,
    "",
    "x",
    "y" * 5000,
    [],
    {},
    [[[[[]]]]],
    {"a": {"b": {}}},
    ["ChRCC", "PRCC"],
    ["PRCC"],
)
FREE = {
    "nephroscope",
    "made",
    "model",
    "recipe",
    "research_use_only",
    "reference",
    "evaluation",
}  # decide no answer
ANSWERS_STAY = ("training", "needs", "sha256")  # whatever of these is accepted


def test_no_change_of_any_field_goes_unseen(bundle):
    """In a bundle of format 3 each change is refused; nothing but a refusal is raised."""
    content = content_of(bundle)
    n = 0
    for at in places(content):
        for value in VALUES:
            other = changed(content, at, value)
            if other == content:
                continue
            (bundle / "bundle.json").write_text(json.dumps(other))
            with pytest.raises(BundleError) as refused:
                open_bundle(bundle)
            assert refused.value.found
            n += 1
    assert n > 500


def test_fields_that_an_attacker_signs_again_are_refused_or_change_no_answer(bundle):
    """As above with a right digest: what is accepted is a value that is allowed, never another meaning in silence."""
    content = content_of(bundle)
    before = answers(bundle)
    n_accepted, n_refused = Counter(), 0
    for at in places(content):
        if at[0] in FREE or at[0] in ("digest", "format"):
            continue
        for value in VALUES:
            write_content(bundle, changed(content, at, value))
            try:
                after = answers(bundle)
            except BundleError:
                n_refused += 1
                continue
            n_accepted[at[0]] += 1
            if at[0] in ANSWERS_STAY:
                assert after == before, (at, value)
    deciding = {"subtypes": 2, "operating_point": 5, "not_sure_margin": 1, "applicability": 20}
    assert {name: n for name, n in n_accepted.items() if name not in ANSWERS_STAY} == deciding
    assert n_refused > 600


def test_each_refusal_names_the_field(bundle):
    content = content_of(bundle)
    for at, value, named in (
        (("operating_point", "threshold"), math.nan, "operating_point.threshold"),
        (("operating_point", "threshold"), 1.5, "operating_point.threshold"),
        (("operating_point", "threshold"), "0.5", "operating_point.threshold"),
        (("operating_point", "threshold"), True, "operating_point.threshold"),
        (("not_sure_margin",), 0.6, "not_sure_margin"),
        (("not_sure_margin",), -0.1, "not_sure_margin"),
        (("subtypes",), "PRCC", "subtypes"),
        (("subtypes",), ["PRCC", "PRCC"], "subtypes"),
        (("subtypes", 0), "PR\u200bCC", "subtypes"),
        (("positive",), "clear cell", "positive"),
        (("positive",), 0, "positive"),
        (("applicability", "scale in mm per pixel"), KeyError, "applicability"),
        (("applicability", "scale in mm per pixel"), [2.0, 1.0], "applicability.scale in mm per pixel"),
        (("applicability", "scale in mm per pixel"), [1.0], "applicability[]"),
        (("training", "slices_digests"), "0123456789abcdef", "training.slices_digests"),
        (("training", "slices_digests"), ["short"], "training.slices_digests"),
        (("training", "synthetic"), "no", "training.synthetic"),
        (("training", "phases"), {"native": 3}, "training.phases"),
        (("training", "phases", "nephrographic"), -1, "training.phases.nephrographic"),
        (("needs", "clinical"), ["name"], "needs.clinical"),
        (("slices", "size_px"), 31, "slices.size_px"),
        (("slices", "roi_mode"), "whole", "slices.roi_mode"),
        (("model",), "tiny\x1b[2J", "model"),
        (("made",), "x" * 201, "made"),
        (("operating_point", "chosen_on"), "a\nb", "operating_point.chosen_on"),
    ):
        content_with_needs = content | {"needs": {"phases": [], "clinical": []}}
        write_content(bundle, changed(content_with_needs, at, value))
        with pytest.raises(BundleError) as refused:
            open_bundle(bundle)
        assert refused.value.where == f"bundle.json, {named}", (at, value, str(refused.value))


@pytest.mark.parametrize("number", [0, -1, True, 99, 3.0, "3", None])
def test_other_formats_are_refused(bundle, number):
    write_content(bundle, content_of(bundle) | {"format": number})
    with pytest.raises(BundleError) as refused:
        open_bundle(bundle)
    assert "format" in f"{refused.value.where} {refused.value.expected}"


def test_every_file_has_its_digest(bundle):
    content = content_of(bundle)
    known = dict(content["sha256"])
    for wrong in (
        {name: digest for name, digest in known.items() if name != "model.onnx"},
        known | {"other.txt": "0" * 64},
        known | {"README.md": "0" * 16},
    ):
        other = content | {"sha256": wrong}
        (bundle / "bundle.json").write_text(json.dumps(other | {"digest": content_digest(other)}))
        with pytest.raises(BundleError) as refused:
            open_bundle(bundle)
        assert refused.value.where.startswith("bundle.json, sha256")


def test_swapped_subtypes_and_a_flipped_bit_are_refused(bundle):
    text = (bundle / "bundle.json").read_text()
    content = content_of(bundle)
    write_content(bundle, content | {"subtypes": ["ChRCC", "PRCC"]}, sign=False)
    with pytest.raises(BundleError) as refused:
        open_bundle(bundle)
    assert refused.value.where == "bundle.json, digest"
    for old, new in (("ChRCC", "BhRCC"), ('"format": 4', '"format": 2'), ('"format": 4', '"format": 1')):
        (bundle / "bundle.json").write_text(text.replace(old, new))
        with pytest.raises(BundleError):
            open_bundle(bundle)


def test_every_flipped_bit_of_bundle_json_is_refused_or_means_the_same(bundle):
    content = (bundle / "bundle.json").read_bytes()
    before = content_digest(content_of(bundle))
    for at in range(len(content)):
        for bit in (0, 3, 5):
            other = bytearray(content)
            other[at] ^= 1 << bit
            (bundle / "bundle.json").write_bytes(other)
            try:
                opened = open_bundle(bundle)
            except BundleError:
                continue
            assert content_digest(content_of(bundle)) == before  # a blank became another blank
            assert opened.format == 4


@pytest.mark.parametrize("number", [1, 2, 3])
def test_bundles_of_earlier_formats_still_answer(bundle, number):
    before = answers(bundle)
    content = content_of(bundle)
    if number < 3:
        del content["digest"]
        content.pop("reference", None)
    content["training"].pop("networks", None)
    content["training"] |= {"fold": 1, "weights_sha256": "0" * 64}
    if number == 1:
        content["training"].pop("phases")
    write_content(bundle, content | {"format": number})
    assert answers(bundle) == before
    assert open_bundle(bundle).format == number


def test_damaged_folders_are_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"a folder with bundle.json, found none"):
        open_bundle(tmp_path)
    content = content_of(bundle)
    files = {name: (bundle / name).read_bytes() for name in ("model.onnx", "reference.npz", "README.md")}
    hu = np.zeros((1, SIZE_PX, SIZE_PX), np.int16)
    arrays = (
        {"hu": hu, "logits": np.zeros((1, 3), np.float32)},
        {"hu": hu.astype(np.float64), "logits": np.zeros((1, 2), np.float32)},
        {"hu": hu[:0], "logits": np.zeros((0, 2), np.float32)},
        {"hu": np.array(None, dtype=object), "logits": np.zeros((1, 2), np.float32)},
        {"hu": hu},
    )
    for stored in arrays:
        np.savez_compressed(bundle / "reference.npz", **stored)
        write_content(bundle, content)
        with pytest.raises(BundleError):
            open_bundle(bundle)
    for name, kept in files.items():
        for damaged in (b"", kept[: len(kept) // 2], b"\0" * len(kept), kept[::-1]):
            (bundle / name).write_bytes(damaged)
            write_content(bundle, content)
            if name != "README.md":
                with pytest.raises(BundleError):
                    open_bundle(bundle)
        (bundle / name).unlink()
        (bundle / "bundle.json").write_text(json.dumps(content))
        with pytest.raises(BundleError, match=f"the file {name}, found none"):
            open_bundle(bundle)
        (bundle / name).mkdir()
        with pytest.raises(BundleError, match=f"the file {name}, found none"):
            open_bundle(bundle)
        (bundle / name).rmdir()
        (bundle / name).write_bytes(kept)


def test_files_that_are_far_too_large_are_refused_unread(bundle):
    for name in ("bundle.json", "model.onnx", "reference.npz", "README.md"):
        kept = (bundle / name).read_bytes()
        os.truncate(bundle / name, 2 * 10**9)  # sparse
        with pytest.raises(BundleError, match=f"{name} of at most"):
            open_bundle(bundle)
        (bundle / name).write_bytes(kept)


def test_json_that_a_parser_cannot_take_is_refused(bundle):
    for text in ("[" * 100_000, '{"format": ' + "9" * 5000 + "}", "{", "null", "3", '"x"', "\udcff", ""):
        (bundle / "bundle.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(BundleError):
            open_bundle(bundle)
