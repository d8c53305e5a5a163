"""The command line: the table of commands, what is printed, and the exit code. The library does the work.

Exit codes: 0 done; 1 a bug of ours; 2 input refused; 3 done for some cases, refused for others; 130 interrupted.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nephroscope.base.errors import ConfigError, NephroscopeError
from nephroscope.base.text import shell_line
from nephroscope.base.version import __version__, install_line

if TYPE_CHECKING:
    from nephroscope.cli.command import Command, Outcome

COMMANDS = {
    "demo": ("demo", "Demo", "run every step on a synthetic cohort, from images to a bundle"),
    "new": ("study", "New", "make a study folder"),
    "status": ("study", "Status", "show what is up to date, who is out, and the next command"),
    "import": ("imports", "IMPORTS", "import cases: images, dicom, nifti, kits, idc, rmac or phantom"),
    "deidentify": (
        "deidentify",
        "Deidentify",
        "de-identify a copy of a DICOM export: pseudonyms from a key, dates shifted",
    ),
    "check": ("study", "Check", "read every case and list what is doubtful or wrong"),
    "agreement": ("rois", "Agreement", "compare the ROIs of two annotators, case by case"),
    "rois": ("rois", "ROIS", "place ROIs on the other phases of their patients, or write one to a file"),
    "roi": ("rois", "WriteRoi", "save the ROI of a case as DICOM SEG or NIfTI; the same as rois write"),
    "segment": (
        "segment",
        "Segment",
        "let another program draw the tumors, as proposals that a person accepts",
    ),
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
        "predict the subtype of a tumor, or of many in a table: probabilities, and a call or 'not sure'",
    ),
    "workstation": ("workstation", "Workstation", "open a study or a bundle in the browser of this computer"),
    "laptop": ("laptop", "Laptop", "make a folder that runs a bundle on a laptop without rights or network"),
    "send": ("pacs", "Send", "send DICOM objects to a named PACS, until it says that it has them"),
    "listen": ("pacs", "Listen", "answer series that a PACS sends, with structured reports"),
    "federate": (
        "federated",
        "FEDERATED",
        "train and evaluate one model over several hospitals; patients stay where they are",
    ),
    "pacs": ("pacs", "PACS", "find and get series of a PACS; read an answer back from its report"),
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
_TRAINING = ("torch", "torchvision", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "safetensors")
EXTRAS = dict.fromkeys(_TRAINING, "train") | dict.fromkeys(("starlette", "uvicorn"), "workstation")
EXTRAS |= (
    dict.fromkeys(("pynetdicom", "dicomweb_client"), "pacs")
    | {"h5py": "rmac"}
    | {"cryptography": "federated"}
)


class InstallationError(NephroscopeError):
    """A package is not installed, or a file cannot be read or written."""

    code = "environment"


def run(args: Sequence[str]) -> int:
    """Run one command; returns its exit code. Output is UTF-8, whatever the terminal was set to."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(encoding="utf-8")
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:11} {summary}" for name, (_, _, summary) in COMMANDS.items()]
        print(HELP.format(commands="\n".join(lines)))
        return 0
    if args[0] == "--version":
        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        return _refuse(_unknown("nephroscope", "a command", args[0], COMMANDS), "--json" in args)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in (
        "pydicom",
        "highdicom",
        "nibabel.global",
        *("pynetdicom", "dicomweb_client", "urllib3"),
    ):  # their messages quote values from patients' files
        logging.getLogger(library).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=library)
    from nephroscope.base.job import living, say_end

    with living():
        code = _guarded(args[0], args[1:])
        sys.stdout.flush()
        say_end(code)
    return code


def _guarded(name: str, args: Sequence[str]) -> int:
    """Run a command; a refusal becomes a message and exit code 2, a bug of ours keeps its traceback."""
    from nephroscope.base.job import is_job

    as_json, command = "--json" in args, None
    try:
        command = _parsed(name, args)
        return _show(command.run(), as_json)
    except NephroscopeError as error:
        return _refuse(error, as_json)
    except KeyboardInterrupt:
        line = (name, *args) if command is None else command.goes_on((name, *args))
        on = f"to go on: {shell_line('nephroscope', *line)}" if line else "the same command starts anew"
        on = "" if is_job() else f"; {on}"  # the line may hold a path, the log of a job must not
        print(f"interrupted: nothing is half-written{on}", file=sys.stderr)
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
        if package not in EXTRAS:
            raise
        refusal = InstallationError(
            where="installation",
            expected=f"the extra '{EXTRAS[package]}' for `nephroscope {name}`",
            found=f"no {package}",
            remedy=install_line(EXTRAS[package]),
        )
        return _refuse(refusal, as_json)
    except BrokenPipeError:  # the program that read our output has ended, such as `| head`
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        return 141
    except OSError as error:
        return _refuse(_file_refusal(error), as_json)
    except SystemExit as error:  # help was printed
        return int(error.code or 0)


def _file_refusal(error: OSError) -> InstallationError:
    """The refusal of a file that the operating system does not give: on Windows also one that Excel has open."""
    name = error.filename2 or error.filename  # of a renaming, the file that was to be replaced
    remedy = "free space or correct the permissions"
    if isinstance(error, PermissionError):
        remedy = "close it in Excel or whatever program has it open, or correct the permissions"
    return InstallationError(
        where=Path(os.fsdecode(name)).name if isinstance(name, str | bytes) else "file system",
        expected="a file that can be read or written",
        found=error.strerror or type(error).__name__,
        remedy=f"{remedy}, and run the command again; the study is unchanged",
    )


def _parsed(name: str, args: Sequence[str]) -> "Command":
    """The command with its options."""
    from nephroscope.cli.command import parse

    module, kind, _ = COMMANDS[name]
    command = getattr(import_module(f"nephroscope.cli.{module}"), kind)
    if isinstance(command, dict):
        if not args or args[0] not in command:
            _list_kinds(name, args, command)
        name, command, args = f"{name} {args[0]}", command[args[0]], args[1:]
    parsed: Command = parse(command, name, args)
    return parsed


def _list_kinds(name: str, args: Sequence[str], kinds: "Mapping[str, type[Command]]") -> NoReturn:
    """Print the kinds of a command where help is asked for; refuse where none, or an unknown one, was given."""
    if args[:1] not in (["-h"], ["--help"]):
        given = args[0] if args and not args[0].startswith("-") else ""
        raise _unknown(f"nephroscope {name}", f"one of {', '.join(kinds)}", given, kinds)
    lines = [f"usage: nephroscope {name} KIND ...   (nephroscope {name} KIND --help)", ""]
    lines += [f"  {kind:16} {(what.__doc__ or '').splitlines()[0]}" for kind, what in kinds.items()]
    print("\n".join(lines))
    raise SystemExit(0)


def _unknown(where: str, expected: str, given: str, known: Iterable[str]) -> ConfigError:
    close = get_close_matches(given, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"see {where} --help"
    return ConfigError(
        where=where, expected=expected, found=repr(given) if given else "nothing", remedy=remedy
    )


def _show(outcome: "Outcome", as_json: bool) -> int:
    if as_json:
        from nephroscope.base.documents import as_plain

        data = as_plain(outcome.data) if is_dataclass(outcome.data) else outcome.data
        if data is not None:
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
