"""Table 3: what MobileNetV2 is, measured on a forward pass, beside the rows that the paper prints."""

import pytest

from nephroscope.learning.networks.layers import describe_layers
from nephroscope.questions.replicate.printed import printed_layers


@pytest.fixture(scope="module")
def layers():
    return describe_layers(2)


def test_weights_are_those_the_paper_counted(layers):
    assert sum(layer.weights for layer in layers) == 2_226_434  # Zuo et al. 2021, Table 1, trainable


def test_outputs_and_strides_are_those_of_table_3(layers):
    printed = printed_layers()
    assert len(layers) == len(printed) == 23
    for built, row in zip(layers, printed, strict=True):
        assert (built.name, built.output) == (row.name, row.output)
        if built.stride is not None:
            assert str(built.stride) == row.stride


def test_a_block_expands_filters_and_projects(layers):
    block = next(layer for layer in layers if layer.name == "inverted_residual_2")
    assert block.filters == ("1*1*24*144", "3*3*144 depthwise", "1*1*144*24")
    assert block.residual
    assert block.built == "conv, BN, ReLU6, conv, BN, ReLU6, conv, BN"
    first = next(layer for layer in layers if layer.name == "inverted_residual")
    assert (first.filters, first.residual) == (("3*3*32 depthwise", "1*1*32*16"), False)
    head = layers[-1]
    assert (head.built, head.filters, head.output) == ("linear: logits", ("1280*2",), (2,))


def test_other_sizes_and_heads():
    small = describe_layers(3, size_px=64)
    assert small[1].output == (32, 32, 32)
    assert small[-1].output == (3,)
