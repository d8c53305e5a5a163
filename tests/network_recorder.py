"""Run a command where there is no network but a recorder.

As `unshare --net --mount python network_recorder.py COMMAND...`.

Names are asked of a resolver here, which writes them down and answers 192.0.2.1. The way to every address is a
tunnel that ends here, so that each packet that would leave this machine is written down, and goes nowhere. Prints one
JSON object as its last line.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TUNNEL = "recorder"
SET_INTERFACE, PACKETS_ONLY = 0x400454CA, 0x1001  # TUNSETIFF; IFF_TUN with IFF_NO_PI
LINK_CHATTER = {2, 58}  # IGMP, ICMPv6: what the system itself says on a new link


def why_not() -> str:
    """Why a namespace with a recorder cannot be made here; empty where it can."""
    missing = [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}"
    done = subprocess.run(in_namespace("true"), capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"no namespace with a recorder: {done.stderr.strip()[-200:]}"


def in_namespace(*command: object) -> list[str]:
    """The command line that runs a command under the recorder."""
    return ["unshare", "--net", "--mount", sys.executable, __file__, *map(str, command)]


def recorded(*command: object, **options) -> dict:
    """What a command asked and sent: names, sent_to, rc, output."""
    done = subprocess.run(in_namespace(*command), capture_output=True, text=True, check=False, **options)
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) | {"output": "\n".join(lines[:-1]) + done.stderr}


def _tunnel(sent: list[str]) -> None:
    """Make the tunnel the way to every address, and write down where each packet in it should go."""
    import fcntl  # not on Windows, where there are no such namespaces

    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, SET_INTERFACE, struct.pack("16sH22x", TUNNEL.encode(), PACKETS_ONLY))
    for words in (
        "link set lo up",
        f"addr add 198.51.100.1/24 dev {TUNNEL}",
        f"link set {TUNNEL} up",
        f"route add default dev {TUNNEL}",
        f"-6 route add default dev {TUNNEL}",
    ):
        subprocess.run(["ip", *words.split()], check="-6" not in words, stderr=subprocess.DEVNULL)

    def read() -> None:
        while True:
            packet = os.read(device, 65536)
            v4 = packet[0] >> 4 == 4
            if packet[9 if v4 else 6] not in LINK_CHATTER:
                family, to = (socket.AF_INET, packet[16:20]) if v4 else (socket.AF_INET6, packet[24:40])
                sent.append(socket.inet_ntop(family, to))

    threading.Thread(target=read, daemon=True).start()


def _resolver(names: list[str]) -> None:
    """Answer every question for an address with 192.0.2.1, which lies at the other end of the tunnel."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve() -> None:
        while True:
            question, sender = server.recvfrom(4096)
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii", "replace"))
                at += 1 + question[at]
            names.append(".".join(labels))
            asked = question[12 : at + 5]
            answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + bytes((192, 0, 2, 1))
            is_a = question[at + 1 : at + 3] == b"\x00\x01"
            head = question[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if is_a else b"\x00\x00") + b"\x00" * 4
            server.sendto(head + asked + (answer if is_a else b""), sender)

    threading.Thread(target=serve, daemon=True).start()


def main(command: list[str]) -> None:
    """Set up, run, print."""
    sent: list[str] = []
    names: list[str] = []
    _tunnel(sent)
    _resolver(names)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        file.flush()
        subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)
        # Packages keep quiet where they think that they are tested.
        quiet_for = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_RUNNING_UNIT_TESTS"}
        environment = {name: value for name, value in os.environ.items() if name not in quiet_for}
        code = subprocess.run(command, check=False, env=environment).returncode
    time.sleep(0.2)  # the last packet is on its way to the other thread
    sys.stdout.write(
        "\n" + json.dumps({"names": sorted(set(names)), "sent_to": sorted(set(sent)), "rc": code}) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
