"""The page of what leaves a hospital: sentences first, then figures word for word, then every tensor."""

import json
from collections.abc import Sequence

from nephroscope.federated.leaves import Leaves, SentTensor, settings_lines
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import Block, Bullets, Filled, Fold, Section, ShownTable, Text
from nephroscope.report.page.table import Table


def leaves_page(leaves: Leaves) -> str:
    """The page as one HTML file."""
    approve = "Nothing is sent before `nephroscope federate approve` is run; it compares this list with the archive."
    sections: list[tuple[str, str, Sequence[Block]]] = [
        ("who", "Who gets it", [_facts(leaves)]),
        ("figures", "Figures, word for word", _figures(leaves)),
        ("tensors", "Tensors", _tensors(leaves)),
        ("settings", "Settings of the group", [_settings(leaves)]),
    ]
    page = Page(
        title=f"What leaves {leaves.sender}",
        subtitle=f"{leaves.archive}, {leaves.bytes:,} bytes",
        marks=("SYNTHETIC",) if leaves.synthetic else (),
        top=[Bullets(list(leaves.words)), Text(approve, "key"), *_risk(leaves)],
        sections=[
            (
                Section[None](id=name, title=title, navigation=title, fill=lambda _: None),
                Filled(blocks=blocks),
            )
            for name, title, blocks in sections
        ],
        footer=(f"SHA-256 of the archive {leaves.sha256}",),
    )
    return render(page, {})


def _risk(leaves: Leaves) -> list[Block]:
    auc = leaves.risk.get("membership_auc")
    if auc is None:
        return []
    return [
        Text(
            f"The inspector told training patients from others by their loss with AUC {auc:.2f}; 0.5 is a guess. "
            "What it finds is a lower bound: somebody else may try harder.",
            "key",
        )
    ]


def _facts(leaves: Leaves) -> ShownTable:
    rows = (
        ("recipient", leaves.recipient),
        ("through", leaves.through),
        ("archive", leaves.archive),
        ("bytes", f"{leaves.bytes:,}"),
        ("SHA-256", leaves.sha256),
        ("digest of the manifest", leaves.digest),
    )
    return ShownTable("", Table(caption="The archive", header=("what", "value"), rows=rows))


def _figures(leaves: Leaves) -> list[Block]:
    blocks: list[Block] = []
    for member in leaves.members:
        if member.figures is not None:
            rows = tuple((name, value) for name, value in _lines("", member.figures))
            table = Table(
                caption=f"{member.name}, {member.bytes:,} bytes", header=("name", "value"), rows=rows
            )
            blocks.append(ShownTable("", table, small=True))
    return blocks


def _lines(name: str, value: object) -> list[tuple[str, str]]:
    """Every value by its place; rows of numbers stay together."""
    if isinstance(value, dict):
        return [line for key, one in value.items() for line in _lines(f"{name}.{key}".lstrip("."), one)]
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        return [line for number, one in enumerate(value) for line in _lines(f"{name}[{number}]", one)]
    return [(name, value if isinstance(value, str) else json.dumps(value))]


def _tensors(leaves: Leaves) -> list[Block]:
    blocks: list[Block] = []
    for member in leaves.members:
        own = [tensor for tensor in leaves.tensors if tensor.member == member.name]
        if not own:
            continue
        change = leaves.change.get(member.name)
        went = "" if change is None else f"; the weights moved by {change:.4g} (length of the change)"
        small = f"{len(own)} tensors, {member.bytes:,} bytes{went}"
        table = Table(
            caption=f"{member.name}, SHA-256 {member.sha256}",
            header=("tensor", "shape", "type", "bytes", "change", "SHA-256"),
            rows=tuple(_row(tensor) for tensor in own),
        )
        blocks.append(Fold(member.name, [ShownTable("", table, small=True)], small=small))
    return blocks or [Text("None.")]


def _row(tensor: SentTensor) -> tuple[str, ...]:
    shape = " x ".join(map(str, tensor.shape)) or "one number"
    change = "" if tensor.change is None else f"{tensor.change:.4g}"
    return tensor.name, shape, tensor.type, f"{tensor.bytes:,}", change, tensor.sha256[:16]


def _settings(leaves: Leaves) -> ShownTable:
    rows = tuple(settings_lines(leaves.settings))
    return ShownTable("", Table(caption="As in the invitation", header=("setting", "value"), rows=rows))
