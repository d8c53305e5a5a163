"""The command line: a table of commands, what they print, and how refusals leave. The library does the work.

Exit codes: 0 done; 1 our own bug; 2 input refused; 3 done for some cases and refused for others; 130 interrupted.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.version import __version__

if TYPE_CHECKING:
    from nephroscope.cli.outcome import Outcome

COMMANDS = {
    "demo": ("demo", "Demo", "the whole way on a synthetic cohort, from images to a bundle"),
    "new": ("study", "New", "make a study folder"),
    "import": ("imports", "IMPORTS", "bring cases in: images, dicom, nifti, kits, idc or phantom"),
    "deidentify": (
        "deidentify",
        "Deidentify",
        "copy a DICOM export without names, dates shifted, UIDs and pseudonyms by a keyed hash",
    ),
    "check": ("study", "Check", "read every case and say what is doubtful or wrong with it"),
    "agreement": ("agreement", "Agreement", "compare two readers' ROIs, case by case"),
    "roi": ("roi", "WriteRoi", "write the ROI of a case as DICOM SEG or NIfTI"),
    "slices": ("study", "Slices", "cut every slice that a tumor crosses"),
    "split": ("study", "SplitPatients", "divide patients into folds and a hold-out"),
    "models": ("learn", "Models", "the six networks and their numbers of weights"),
    "train": ("learn", "Train", "train a network on every fold"),
    "evaluate": ("learn", "Evaluate", "figures by image and by case, with intervals over patients"),
    "report": ("learn", "Report", "one self-contained HTML page"),
    "compare": ("compare", "Compare", "rank networks and baselines on the same folds, with paired tests"),
    "capacity": ("capacity", "Capacity", "accuracy against the number of weights"),
    "replicate": ("replicate", "REPLICATES", "repeat a published study, with and without its leak: zuo2021"),
    "readers": ("readers", "Readers", "set radiologists' calls beside the models"),
    "statistics": ("statistics", "STATISTICS", "figures and tests of a plain table of predictions"),
    "plan": ("plan", "Plan", "how many patients an interval of a wanted width needs"),
    "export": ("clinic", "Export", "a run as a bundle that predicts without torch"),
    "predict": ("clinic", "Predict", "one tumor: probabilities, a call or 'not sure'"),
    "phase": ("phase", "Phase", "name the contrast phase of each series in a table, and say why"),
    "info": ("clinic", "Info", "versions and what is installed"),
}
HELP = f"""\
nephroscope {__version__}: renal tumor subtypes on CT, by patient and with intervals.
Research use only; not a medical device.

usage: nephroscope COMMAND [options]        nephroscope COMMAND --help shows options and an example

{{commands}}

Every command takes --json: one JSON object on stdout, words on stderr.
Begin with:  nephroscope demo my-demo
"""
SLOW_MODULES = {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "safetensors"}


def run(args: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:10} {summary}" for name, (_, _, summary) in COMMANDS.items()]
        print(HELP.format(commands="\n".join(lines)))
        return 0
    if args[0] == "--version":
        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        like = get_close_matches(args[0], COMMANDS, n=1)
        hint = f"; did you mean {like[0]}?" if like else "; see nephroscope --help"
        print(f"nephroscope: expected a command, found {args[0]!r}{hint}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in ("pydicom", "highdicom", "nibabel.global"):  # they quote values of a patient's file
        logging.getLogger(library).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=library)
    return _guarded(args[0], args[1:])


def _guarded(name: str, args: Sequence[str]) -> int:
    """Run a command; turn refusals into a message and exit code 2. Our own bugs keep their traceback."""
    as_json = "--json" in args
    try:
        return _show(_command(name, args), as_json)
    except NephroscopeError as error:
        return _refuse(error.as_dict() | {"message": str(error)}, as_json)
    except KeyboardInterrupt:
        print(
            "interrupted: nothing is half-written; the same command goes on or starts again", file=sys.stderr
        )
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in SLOW_MODULES:
            raise
        return _refuse(
            _parts(
                "installation",
                f"the extra 'train' for `nephroscope {name}`",
                f"no {(error.name or '').partition('.')[0]}",
                "pip install 'nephroscope[train]'",
            ),
            as_json,
        )
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        return 141
    except OSError as error:
        where = str(error.filename).rpartition("/")[2] if error.filename else "file system"
        what = error.strerror or type(error).__name__
        remedy = "free space or correct the permissions, and run the command again; the study is unchanged"
        return _refuse(_parts(where, "a file that can be read or written", what, remedy), as_json)
    except SystemExit as error:  # the option parser has said what is wrong
        if error.code and as_json:
            expected, remedy = "options as --help shows them", f"see nephroscope {name} --help"
            parts = _parts(f"nephroscope {name}", expected, "others; stderr says which", remedy)
            print(json.dumps({"error": parts | {"code": "config"}}))
        return int(error.code or 0)


def _command(name: str, args: Sequence[str]) -> "Outcome":
    from nephroscope.cli.parse import parse

    module, kind, _ = COMMANDS[name]
    command = getattr(import_module(f"nephroscope.cli.{module}"), kind)
    if isinstance(command, dict):
        if not args or args[0] not in command:
            known = ", ".join(command)
            found = repr(args[0]) if args and not args[0].startswith("-") else "nothing"
            asked = bool(args) and args[0] in ("-h", "--help")
            lines = [f"usage: nephroscope {name} KIND ...   (nephroscope {name} KIND --help)", ""]
            lines += [f"  {kind:16} {(what.__doc__ or '').splitlines()[0]}" for kind, what in command.items()]
            print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
            if asked:
                raise SystemExit(0)
            print(f"nephroscope {name}: expected one of {known}, found {found}", file=sys.stderr)
            raise SystemExit(2)
        name, command, args = f"{name} {args[0]}", command[args[0]], args[1:]
    outcome: Outcome = parse(command, name, args).run()
    return outcome


def _show(outcome: "Outcome", as_json: bool) -> int:
    if as_json:
        print(json.dumps(outcome.data, ensure_ascii=False, allow_nan=False))
        if outcome.warning:
            print(outcome.warning, file=sys.stderr)
    else:
        print("\n".join(part for part in (outcome.text, outcome.warning) if part))
    return outcome.exit_code


def _parts(where: str, expected: str, found: str, remedy: str) -> dict[str, Any]:
    message = f"{where}: expected {expected}, found {found}; {remedy}"
    return {
        "code": "environment",
        "where": where,
        "expected": expected,
        "found": found,
        "remedy": remedy,
        "message": message,
    }


def _refuse(error: dict[str, Any], as_json: bool) -> int:
    print(f"nephroscope: refused: {error['message']}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": error}, ensure_ascii=False))
    return 2
