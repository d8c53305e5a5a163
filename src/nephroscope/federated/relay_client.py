"""The relay as a way for archives: sites and coordinator call it, it calls nobody. Mutual TLS, standard library."""

import contextlib
import http.client
import json
import re
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import GroupError
from nephroscope.base.files import file_digest, make_folder, replacing
from nephroscope.federated.archive import MOST_BYTES
from nephroscope.federated.certificates import check_dates, host_of

CHUNK = 2**20
TIMEOUT_S = 60.0
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RelayWay:
    """Archives at a relay. A transfer that was cut off goes on where it stopped."""

    host: str
    port: int
    context: ssl.SSLContext

    def names(self) -> list[str]:
        """Names of the archives that the relay has."""
        with self._call("GET", "/archives") as answer:
            return [str(name) for name in json.loads(answer.read(16 * CHUNK))["names"]]

    def fetch(self, name: str, path: Path) -> None:
        """Copy one to a path; what came before an interruption is kept next to it and not fetched again."""
        make_folder(path.parent)
        part = path.with_name(f".{path.name}.part")
        begun = part.stat().st_size if part.exists() else 0
        with self._call("GET", f"/archives/{name}", {"Range": f"bytes={begun}-"}) as answer:
            wanted = answer.getheader("X-SHA256", "")
            with part.open("ab" if answer.status == 206 else "wb") as file:
                size = file.tell()
                while piece := answer.read(CHUNK):
                    size += file.write(piece)
                    if size > MOST_BYTES:
                        raise self._refusal("an archive that is not too large", "a larger one")
        if file_digest(part) != wanted:
            part.unlink()
            raise self._refusal("the archive as the relay has it", "other bytes; run the command again")
        with replacing(path) as temporary:
            shutil.move(part, temporary)

    def put(self, path: Path, name: str) -> None:
        """Send one, from where an earlier try stopped; the same bytes a second time change nothing."""
        digest, size = file_digest(path), path.stat().st_size
        with self._call("GET", f"/uploads/{name}/{digest}") as answer:
            begun = int(json.loads(answer.read(CHUNK))["bytes"])
        whole = False
        with path.open("rb") as file:
            while (
                not whole
            ):  # once more where all bytes are there: a relay that was killed then did not keep them yet
                file.seek(begun)
                piece = file.read(CHUNK)
                headers = {"Content-Length": str(len(piece)), "X-Begin": str(begun), "X-Size": str(size)}
                with self._call("PUT", f"/uploads/{name}/{digest}", headers, piece) as answer:
                    answer.read(CHUNK)
                begun += len(piece)
                whole = begun >= size

    def give_up(self, name: str, digest: str, signature: str) -> None:
        """Have the relay remove an archive that the coordinator refused, so that it can be sent again."""
        with self._call("DELETE", f"/uploads/{name}/{digest}", {"X-Signature": signature}) as answer:
            answer.read(CHUNK)

    @contextlib.contextmanager
    def _call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=TIMEOUT_S, context=self.context
        )
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            if answer.status >= 400:
                remedy = "" if answer.status >= 500 else "ask the coordinator; the relay kept nothing of it"
                raise self._refusal("a call that the relay takes", _said(answer), remedy)
            yield answer
        except ssl.SSLError as error:
            why = error.reason or type(error).__name__
            raise self._refusal("a relay and a certificate of this group", f"another one ({why})") from error
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise self._refusal("a connection to the relay", type(error).__name__) from error
        finally:
            connection.close()

    def _refusal(self, expected: str, found: str, remedy: str = "") -> GroupError:
        return GroupError(
            where=f"relay {self.host}:{self.port}",
            expected=expected,
            found=found,
            remedy=remedy or "run the command again later; nothing was changed here",
        )


def _said(answer: http.client.HTTPResponse) -> str:
    try:
        return f"{answer.status}: {str(json.loads(answer.read(CHUNK))['error'])[:300]}"
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status}"


def relay_way(relay: str, tls: Path, own: str = "certificate", private: str = "private") -> RelayWay:
    """The way to a relay with the certificates in a folder."""
    return RelayWay(*host_of(relay), tls_context(tls, own, private))


def tls_context(tls: Path, own: str, private: str) -> ssl.SSLContext:
    """TLS 1.3 with the certificates in a folder: both ends prove that they are of the group.

    Raises:
        GroupError: One of them ended.
    """
    for name in ("authority", own):
        check_dates(tls / f"{name}.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(tls / "authority.pem")
    context.load_cert_chain(tls / f"{own}.pem", tls / f"{private}.pem")
    return context
