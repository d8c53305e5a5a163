"""The texts of a laptop's folder: start scripts and README.txt. They hold no path, so that any path will do."""

from nephroscope.laptop.pins import Target

START_CMD = """\
@echo off
rem Starts nephroscope. Without words: the workstation in the browser. With words: a command of nephroscope.
setlocal DisableDelayedExpansion
chcp 65001 >nul
set "PYTHONUTF8=1"
set "CHECK=import sys; sys.exit(sys.version_info[:2] != ({major}, {minor}))"
set "RUN=py -{python}"
%RUN% -c "%CHECK%" >nul 2>nul
if not errorlevel 1 goto found
set "RUN=python"
%RUN% -c "%CHECK%" >nul 2>nul
if not errorlevel 1 goto found
echo Python {python} of 64 bit is not installed here. README.txt says how to get it without administrator rights.
if "%~1"=="" pause
exit /b 2
:found
%RUN% "%~dp0start.py" %*
set "CODE=%errorlevel%"
if "%~1"=="" if not "%CODE%"=="0" pause
exit /b %CODE%
"""
START_SH = """\
#!/bin/sh
# Starts nephroscope. Without words: the workstation in the browser. With words: a command of nephroscope.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 2
for python in python{python} python3 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != ({major}, {minor}))' 2>/dev/null; then
        exec "$python" "$here/start.py" "$@"
    fi
done
echo "Python {python} is not installed here. README.txt says more." >&2
exit 2
"""
README = """\
nephroscope on this computer, without administrator rights and without a network
=================================================================================

Research use only; not a medical device.

What you need
  {words}
  Python {python} of 64 bit. {get_python}
  {space_mb} MB of free space next to this file.

Start
  Copy the whole folder to a place of your own, where you may write. Spaces and umlauts in the path do no harm.{path}
  {start}
  The first start installs the program into this folder, below "program", and takes about a minute. Every file is
  compared with its hash. Then the browser opens with the workstation, for this computer only. Nothing is sent.

One patient without a browser
  Open a terminal in this folder, then
  {script} predict bundle CT --roi ROI
  CT is the folder of a DICOM series or a NIfTI file. ROI is its DICOM SEG or RTSTRUCT, or a label map.
  {script} predict --help lists the options.

What is in this folder
  bundle       the model, digest {digest}
  wheels       {n_wheels} packages for {words}, Python {python}
  requirements.txt  their names, versions and hashes
  start.py     what {script} runs
  laptop.json  for which computer this folder was made

Remove it
  Delete the folder. What you drew and what was answered lies in your own application data, in nephroscope.
"""
GET_PYTHON = {
    "win32": "The installer of python.org puts it into your own account, without administrator rights.",
    "linux": "Your distribution has it, or the computer's administrator installs it.",
    "darwin": "The installer of python.org has it.",
}
START = {
    True: "Double-click start.cmd. If Windows warns of a file from another computer: More info, Run anyway.",
    False: "In a terminal: sh start.sh",
}


def start_files(target: Target) -> dict[str, bytes]:
    """The start script of a kind of computer, by its name, with the line ends that it needs."""
    major, minor = target.python.split(".")
    if target.system.is_windows:
        words = START_CMD.format(python=target.python, major=major, minor=minor)
        return {"start.cmd": words.replace("\n", "\r\n").encode("ascii")}
    return {"start.sh": START_SH.format(python=target.python, major=major, minor=minor).encode("ascii")}


def readme(target: Target, *, digest: str, n_wheels: int, space_mb: int, longest_path: int) -> bytes:
    """README.txt, with the line ends of the computer for which it is."""
    windows = target.system.is_windows
    text = README.format(
        words=target.system.words,
        python=target.python,
        get_python=GET_PYTHON[target.system.markers[0]],
        space_mb=space_mb,
        path=f"\n  The path of this folder may have {259 - longest_path} letters." if windows else "",
        start=START[windows],
        script="start.cmd" if windows else "sh start.sh",
        digest=digest,
        n_wheels=n_wheels,
    )
    return text.replace("\n", "\r\n" if windows else "\n").encode("utf-8")
