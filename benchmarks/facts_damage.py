"""Change fields of a bundle with facts, sets and an embedding, and count what came of it.

    python benchmarks/facts_damage.py [2000] [0]

Each change is one field of bundle.json, removed, doubled, or with a value of another kind or size. Most files are
signed again, as by somebody who means it; the others keep their digest. Prints how many bundles were ``refused``,
gave the ``same`` answers or, signed again, ``others``; ``crashed`` and ``silent`` (other answers of a file that
nobody signed) must be 0.
"""

import copy
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import NephroscopeError
from nephroscope.cli.clinic import fact_line
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.facts import given_facts
from nephroscope.clinic.predict import predict
from nephroscope.clinic.sets import ConformalSets
from test_facts import MODEL, case
from test_outside import NEAR, bundle_with
from tiny_bundle import content_of, write_content

SETS = ConformalSets(confidence=0.9, least={"PRCC": 0.2, "ChRCC": 0.3}, n_patients={"PRCC": 20, "ChRCC": 9})
PARTS = (
    "facts",
    "sets",
    "sets_with_facts",
    "outside",
    "format",
    "training",
    "operating_point",
    "slices",
    "sha256",
)
REMOVED, DOUBLED = "REMOVED", "DOUBLED"
VALUES: tuple[Any, ...] = (
    *(None, -1, 0, 1, 0.5, -0.5, 800.0, 1e4, 1e-308, 1e308, -1e308, 10**400, True, "x", "", "\u202e"),
    *([], {}, [1.0], [1.0, 2.0], [1.0, 2.0, 3.0], ["PRCC"], {"PRCC": 0.5}, REMOVED, DOUBLED),
)
SIGNED = 0.85


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field, and every part of one."""
    yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from places(part, (*place, name))


def changed(content: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any] | None:
    """The content with another value there; None where there is nothing to double."""
    content = copy.deepcopy(content)
    inside: Any = content
    for name in place[:-1]:
        inside = inside[name]
    if value is REMOVED:
        del inside[place[-1]]
    elif value is DOUBLED:
        if not isinstance(inside, list):
            return None
        inside.append(inside[place[-1]])
    else:
        inside[place[-1]] = value
    return content


def answers(folder: Path) -> list[dict[str, Any]]:
    """What a bundle says of one case with all, some and no facts, as it is written and printed."""
    bundle, found = open_bundle(folder), []
    for facts in (given_facts(70, "M", 40), given_facts(20), given_facts()):
        answer = predict(bundle, *case(), facts=facts)[0]
        for one in answer.facts:
            fact_line(one, bundle.scorer.positive)
        found.append(json.loads(json.dumps(as_plain(answer), allow_nan=False)))
    return found


def run(n: int, seed: int) -> Counter[str]:
    """How ``n`` changes ended."""
    with tempfile.TemporaryDirectory() as name:
        folder = bundle_with(
            Path(name) / "bundle",
            replace(NEAR, limit=1000.0),
            facts=as_plain(MODEL),
            sets=as_plain(SETS),
            sets_with_facts=as_plain(SETS),
        )
        clean, right, rng = content_of(folder), answers(folder), random.Random(seed)  # noqa: S311
        every = [place for place in places({part: clean[part] for part in PARTS}) if place]
        tries = [(place, value) for place in every for value in VALUES]
        rng.shuffle(tries)
        counts: Counter[str] = Counter()
        for place, value in tries[:n]:
            content = changed(clean, place, value)
            if content is None:
                continue
            signed = rng.random() < SIGNED
            write_content(folder, content, sign=signed)
            try:
                same = answers(folder) == right
                ended = "same" if same else "others" if signed else "silent"
            except NephroscopeError:
                ended = "refused"
            except Exception as error:
                print(place, repr(value)[:60], repr(error)[:200], file=sys.stderr)
                ended = "crashed"
            counts[ended] += 1
    return counts


if __name__ == "__main__":
    print(dict(run(*map(int, (*sys.argv[1:], "2000", "0")[:2]))))
