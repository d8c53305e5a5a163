"""Read what an ONNX file asks for before ONNX Runtime opens it: operators, sizes, and files outside. No package.

A network from elsewhere may loop for ever, name other files, or ask for more memory than there is. Ours need a short
list of operators, none of which runs others, and weights that lie in the file itself.

Source: onnx.proto3 of ONNX (field numbers); Protocol Buffers, "Encoding" (wire format).
"""

import math
from collections.abc import Iterator

from nephroscope.base.errors import BundleError

OPERATORS = frozenset(
    (
        *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat"),
        *("Constant", "Conv", "Div", "Dropout", "Erf", "Exp"),
        *("Flatten", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid"),
        *("HardSwish", "Identity", "LeakyRelu", "LogSoftmax", "MatMul", "MaxPool"),
        *("Max", "Min", "Mul", "Neg", "Pow", "ReduceLogSumExp", "ReduceMax"),
        *("ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid"),
        *("Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub"),
        *("Tanh", "Transpose", "Unsqueeze"),
    )
)
DOMAINS = ("", "ai.onnx")
MOST_NODES = 20_000
MOST_VALUES = 100_000_000  # of one tensor, and of all that is computed from constants alone
MOST_DEPTH = 8  # of messages in messages
ITEM_BYTES = {
    1: 4,
    2: 1,
    3: 1,
    4: 2,
    5: 2,
    6: 4,
    7: 8,
    9: 1,
    10: 2,
    11: 8,
    12: 4,
    13: 8,
    16: 2,
}  # by TensorProto type
TYPED_DATA = (4, 5, 6, 7, 10, 11)  # fields of numbers that are not raw bytes
GROWS = {"Gather", "MatMul", "Gemm", "Conv", "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"}

VARINT, WIDE, BYTES, NARROW = 0, 1, 2, 5  # kinds of fields on the wire
Field = tuple[int, int, "int | memoryview"]


def check_network(name: str, content: bytes, more: frozenset[str] = frozenset()) -> None:
    """Refuse an ONNX file that asks for more than a network of ours does.

    Args:
        name: Of the file, for the refusal.
        content: Its bytes.
        more: Operators that it may use besides `OPERATORS`.

    Raises:
        BundleError: An operator is not allowed, runs others, or comes from another domain; weights lie in other
            files, are larger than their data, or too many; or it is no ONNX file.
    """
    try:
        _model(name, memoryview(content), OPERATORS | more)
    except (ValueError, IndexError) as error:
        raise _not_ours(name, "an ONNX network", "a damaged or different file") from error


def strings_of(content: bytes) -> list[str]:
    """Every text in an ONNX file that is no weight: names, descriptions, what the exporter noted."""
    found: list[str] = []
    _collect(memoryview(content), 0, found)
    return found


def _collect(data: memoryview, depth: int, found: list[str]) -> None:
    """Texts of a message and of those in it; what can be read as a message is also kept as text where it is one."""
    for _, wire, value in _fields(data):
        if wire != BYTES or not isinstance(value, memoryview):
            continue
        if len(value) < 4096:
            text = bytes(value).decode("utf-8", "replace")
            if text.isprintable():
                found.append(text)
                continue
        if depth < MOST_DEPTH:
            try:
                _collect(value, depth + 1, found)
            except (ValueError, IndexError):
                continue  # weights


def _model(name: str, data: memoryview, allowed: frozenset[str]) -> None:
    graphs = []
    for number, _, value in _fields(data):
        if number == 7 and isinstance(value, memoryview):
            graphs.append(value)
        elif number in (20, 25):
            raise _not_ours(name, "a network", "training steps" if number == 20 else "functions of its own")
    if len(graphs) != 1:
        raise _not_ours(name, "one graph", str(len(graphs)))
    _graph(name, graphs[0], allowed)


def _graph(name: str, data: memoryview, allowed: frozenset[str]) -> None:
    """Tensors and nodes, and how large what is computed from constants alone can become."""
    sizes: dict[str, int] = {}  # of constants, in values
    n_nodes = total = 0
    for number, _, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 15:
            raise _not_ours(name, "weights as plain tensors", "sparse ones")
        if number == 5:
            tensor, n = _tensor(name, value)
            sizes[tensor] = n
    for number, _, value in _fields(data):
        if number != 1 or not isinstance(value, memoryview):
            continue
        n_nodes += 1
        if n_nodes > MOST_NODES:
            raise _not_ours(name, f"at most {MOST_NODES} operators", "more")
        operator, inputs, outputs, own = _node(name, value, allowed)
        known = [sizes.get(one) for one in inputs if one]
        if operator != "Constant" and (not known or None in known):
            continue  # depends on the slices
        n = _bound(operator, [one for one in known if one is not None], own)
        total += n
        if total > MOST_VALUES:
            raise _not_ours(
                name, f"constants of at most {MOST_VALUES} values", f"more, computed by {operator}"
            )
        sizes.update(dict.fromkeys(outputs, n))


def _bound(operator: str, inputs: list[int], own: int) -> int:
    """Most values that an operator can make from constants of these sizes."""
    if operator == "Constant":
        return own
    if operator == "ConvTranspose":  # its strides say how large; ours never computes one from constants
        return MOST_VALUES + 1
    if operator in GROWS:
        return math.prod(max(n, 1) for n in inputs)
    return max(sum(inputs), 1)


def _node(name: str, data: memoryview, allowed: frozenset[str]) -> tuple[str, list[str], list[str], int]:
    """Operator, inputs, outputs, and the values in its attributes."""
    operator, domain = "", ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: list[memoryview] = []
    for number, _, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:
            attributes.append(value)
    if domain not in DOMAINS or operator not in allowed:
        named = f"{domain}.{operator}".removeprefix(".")[:60] or "one without a name"
        named = named.encode("unicode_escape").decode()
        raise _not_ours(name, "only the operators of our networks", f"the operator {named}")
    return operator, inputs, outputs, sum(_attribute(name, one) for one in attributes)


def _attribute(name: str, data: memoryview) -> int:
    """Number of values that an attribute holds."""
    n = 0
    for number, _, value in _fields(data):
        if number in (6, 11):
            raise _not_ours(name, "operators that run no others", "a graph within an operator")
        if number in (22, 23):
            raise _not_ours(name, "weights as plain tensors", "sparse ones")
        if number in (5, 10) and isinstance(value, memoryview):
            n += _tensor(name, value)[1]
        elif number in (7, 8, 9) and isinstance(value, memoryview):
            n += len(value)
        else:
            n += 1
    return n


def _tensor(name: str, data: memoryview) -> tuple[str, int]:
    """Name and number of values of a tensor, whose data must be as large as its shape says."""
    shape: list[int] = []
    tensor, kind, n_raw, n_typed = "", 0, -1, 0  # bytes, where there are any; and numbers in typed fields
    for number, _, value in _fields(data):
        if number == 13 or (number == 14 and value):
            raise _not_ours(name, "weights in the file itself", "weights in another file")
        if isinstance(value, int):
            shape += [value] if number == 1 else []
            kind = value if number == 2 else kind
            n_typed += number in TYPED_DATA
        else:
            shape += _packed(value) if number == 1 else []
            tensor = _text(value) if number == 8 else tensor
            n_raw = len(value) if number == 9 else n_raw
            n_typed += len(value) if number in TYPED_DATA else 0
    n = _n_values(name, shape, kind)
    if (n_typed < n) if n_raw < 0 else (n_raw != n * ITEM_BYTES[kind]):
        raise _not_ours(name, f"tensors with the data of their shape, {shape}", "other data")
    return tensor, n


def _n_values(name: str, shape: list[int], kind: int) -> int:
    n = math.prod(shape)
    if len(shape) > MOST_DEPTH or max(shape, default=0) > MOST_VALUES or n > MOST_VALUES:
        raise _not_ours(
            name, f"tensors of at most {MOST_VALUES} values", f"one of shape {shape[:MOST_DEPTH]}"
        )
    if kind not in ITEM_BYTES:
        raise _not_ours(name, "tensors of numbers", f"one of type {kind}")
    return n


def _packed(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _text(value: memoryview) -> str:
    return bytes(value[:500]).decode("utf-8")


def _fields(data: memoryview) -> Iterator[Field]:
    """Number, kind and value of each field of a message.

    Raises:
        ValueError: It is no message, or is cut short.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        n = {WIDE: 8, NARROW: 4}.get(wire, -1)
        if wire == BYTES:
            n, at = _varint(data, at)
        if n < 0 or number == 0 or at + n > end:
            raise ValueError(f"at byte {at}")
        yield number, wire, data[at : at + n]
        at += n


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and the byte after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than 10 bytes at byte {at}")


def _not_ours(name: str, expected: str, found: str) -> BundleError:
    return BundleError(
        where=name,
        expected=expected,
        found=found,
        remedy="use only bundles that nephroscope exported; export it again",
    )
