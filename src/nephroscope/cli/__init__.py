"""The command line: the table of commands, what is printed, and the exit code. The library does the work.

Exit codes: 0 done; 1 a bug of ours; 2 input refused; 3 done for some cases, refused for others; 130 interrupted.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from nephroscope.base.errors import ConfigError, NephroscopeError
from nephroscope.base.version import __version__

if TYPE_CHECKING:
    from nephroscope.cli.command import Command, Outcome

COMMANDS = {
    "demo": ("demo", "Demo", "run every step on a synthetic cohort, from images to a bundle"),
    "new": ("study", "New", "make a study folder"),
    "import": ("imports", "IMPORTS", "import cases: images, dicom, nifti, kits, idc or phantom"),
    "deidentify": (
        "deidentify",
        "Deidentify",
        "de-identify a copy of a DICOM export: pseudonyms from a key, dates shifted",
    ),
    "check": ("study", "Check", "read every case and list what is doubtful or wrong"),
    "agreement": ("rois", "Agreement", "compare the ROIs of two annotators, case by case"),
    "roi": ("rois", "WriteRoi", "save the ROI of a case as DICOM SEG or NIfTI"),
    "slices": ("study", "Slices", "cut out the slices that show the tumor"),
    "split": ("study", "SplitPatients", "divide patients into folds and a hold-out"),
    "models": ("learn", "Models", "list the six networks and the number of weights of each"),
    "train": ("learn", "Train", "train a network on every fold"),
    "evaluate": ("learn", "Evaluate", "compute AUC, accuracy and more by image and by case, with intervals"),
    "report": ("learn", "Report", "write the report of a run as one HTML page"),
    "compare": ("compare", "Compare", "rank networks and baselines on the same folds, with paired tests"),
    "capacity": (
        "capacity",
        "Capacity",
        "compare networks of several sizes: accuracy against the number of weights",
    ),
    "replicate": (
        "replicate",
        "REPLICATES",
        "repeat a published study with and without its data leak: zuo2021",
    ),
    "readers": ("readers", "Readers", "compare radiologists' calls with the models"),
    "statistics": (
        "statistics",
        "STATISTICS",
        "compute AUC, kappa, tests and more from a table of predictions",
    ),
    "plan": ("plan", "Plan", "compute how many patients a study needs"),
    "export": ("clinic", "Export", "export the model of a run as a bundle that predicts without torch"),
    "predict": (
        "clinic",
        "Predict",
        "predict the subtype of one tumor: probabilities, and a call or 'not sure'",
    ),
    "phase": ("phase", "Phase", "name the contrast phase of each series in a table, with the evidence"),
    "info": ("clinic", "Info", "print versions and what is installed"),
}
HELP = f"""\
nephroscope {__version__}: classify renal tumor subtypes on CT, by patient and with confidence intervals.
Research use only; not a medical device.

usage: nephroscope COMMAND [options]        nephroscope COMMAND --help shows options and an example

{{commands}}

With --json, every command prints one JSON object on stdout and messages on stderr.
Start with:  nephroscope demo my-demo
"""
SLOW_MODULES = {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "safetensors"}


class InstallationError(NephroscopeError):
    """A package is not installed, or a file cannot be read or written."""

    code = "environment"


def run(args: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:11} {summary}" for name, (_, _, summary) in COMMANDS.items()]
        print(HELP.format(commands="\n".join(lines)))
        return 0
    if args[0] == "--version":
        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        close = get_close_matches(args[0], COMMANDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else "; see nephroscope --help"
        print(f"nephroscope: expected a command, found {args[0]!r}{hint}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in (
        "pydicom",
        "highdicom",
        "nibabel.global",
    ):  # their messages quote values from patients' files
        logging.getLogger(library).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=library)
    return _guarded(args[0], args[1:])


def _guarded(name: str, args: Sequence[str]) -> int:
    """Run a command; a refusal becomes a message and exit code 2, a bug of ours keeps its traceback."""
    as_json = "--json" in args
    try:
        return _show(_command(name, args), as_json)
    except NephroscopeError as error:
        return _refuse(error, as_json)
    except KeyboardInterrupt:
        text = "interrupted: nothing is half-written; run the same command again to continue"
        print(text, file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "highdicom":
            refusal = InstallationError(
                where="installation",
                expected=f"highdicom, which writes DICOM segmentations, for `nephroscope {name}`",
                found="no highdicom: one of its parts is not available for Windows on ARM",
                remedy="run this command on another computer",
            )
            return _refuse(refusal, as_json)
        if package not in SLOW_MODULES:
            raise
        refusal = InstallationError(
            where="installation",
            expected=f"the extra 'train' for `nephroscope {name}`",
            found=f"no {package}",
            remedy="pip install 'nephroscope[train]'",
        )
        return _refuse(refusal, as_json)
    except BrokenPipeError:  # the program that read our output has ended, such as `| head`
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        return 141
    except OSError as error:
        refusal = InstallationError(
            where=str(error.filename).rpartition("/")[2] if error.filename else "file system",
            expected="a file that can be read or written",
            found=error.strerror or type(error).__name__,
            remedy="free space or correct the permissions, and run the command again; the study is unchanged",
        )
        return _refuse(refusal, as_json)
    except SystemExit as error:  # the option parser has already printed what is wrong
        if error.code and as_json:
            wrong = ConfigError(
                where=f"nephroscope {name}",
                expected="the options that --help lists",
                found="others (the message on stderr says which)",
                remedy=f"see nephroscope {name} --help",
            )
            _print_error(wrong)
        return int(error.code or 0)


def _command(name: str, args: Sequence[str]) -> "Outcome":
    from nephroscope.cli.command import parse

    module, kind, _ = COMMANDS[name]
    command = getattr(import_module(f"nephroscope.cli.{module}"), kind)
    if isinstance(command, dict):
        if not args or args[0] not in command:
            _list_kinds(name, args, command)
        name, command, args = f"{name} {args[0]}", command[args[0]], args[1:]
    outcome: Outcome = parse(command, name, args).run()
    return outcome


def _list_kinds(name: str, args: Sequence[str], kinds: "Mapping[str, type[Command]]") -> NoReturn:
    """Print the kinds of a command, because none, or an unknown one, was given."""
    help_wanted = args[:1] in (["-h"], ["--help"])
    lines = [f"usage: nephroscope {name} KIND ...   (nephroscope {name} KIND --help)", ""]
    lines += [f"  {kind:16} {(what.__doc__ or '').splitlines()[0]}" for kind, what in kinds.items()]
    print("\n".join(lines), file=sys.stdout if help_wanted else sys.stderr)
    if help_wanted:
        raise SystemExit(0)
    found = repr(args[0]) if args and not args[0].startswith("-") else "nothing"
    print(f"nephroscope {name}: expected one of {', '.join(kinds)}, found {found}", file=sys.stderr)
    raise SystemExit(2)


def _show(outcome: "Outcome", as_json: bool) -> int:
    if as_json:
        from nephroscope.base.documents import as_plain

        data = as_plain(outcome.data) if is_dataclass(outcome.data) else outcome.data
        print(json.dumps(data, ensure_ascii=False, allow_nan=False))
        if outcome.warning:
            print(outcome.warning, file=sys.stderr)
    else:
        print("\n".join(part for part in (outcome.text, outcome.warning) if part))
    return outcome.exit_code


def _refuse(error: NephroscopeError, as_json: bool) -> int:
    print(f"nephroscope: refused: {error}", file=sys.stderr)
    if as_json:
        _print_error(error)
    return 2


def _print_error(error: NephroscopeError) -> None:
    print(json.dumps({"error": error.as_dict() | {"message": str(error)}}, ensure_ascii=False))
