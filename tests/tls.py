"""TLS in front of real servers, with authorities and certificates of the moment.

What serves TLS here is a door of this process's: it proves who it is, and passes what
it deciphers on to a server that knows of none. To a client of PostgreSQL, which asks
before it begins, it says yes as PostgreSQL would.
"""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

_CHUNK_BYTES = 65_536
_TLS_IS_WANTED = bytes.fromhex("0000000804d2162f")
"""PostgreSQL's SSLRequest; https://www.postgresql.org/docs/18/protocol-message-formats.html"""


class Authority:
    """Somebody who certifies servers, and the file by which others know."""

    def __init__(self, folder: Path) -> None:
        """Begin, and write the file."""
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self._folder = folder
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def certify(self, *names: str) -> ssl.SSLContext:
        """Return what a server of these names proves itself by."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context

    def write_certificate(self, *names: str) -> tuple[Path, Path]:
        """Write a certificate and its key for a server; return the files."""
        issued = self._authority.issue_cert(*names)
        chain, key = self._folder / "server.pem", self._folder / "server.key"
        issued.cert_chain_pems[0].write_to_path(str(chain))
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return chain, key


class TlsDoor:
    """Listens on a port, speaks TLS there, and passes on to `upstream`."""

    def __init__(
        self,
        upstream: str | tuple[str, int],
        context: ssl.SSLContext,
        *,
        asks_first: bool = False,
    ) -> None:
        """Begin to serve; clients of PostgreSQL ask first."""
        self._upstream = upstream
        self._context = context
        self._asks_first = asks_first
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut every conversation, and begin no other."""
        # a listener that is only closed still takes one more
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for side in list(self._open):
            _cut(side)

    def __enter__(self) -> Self:
        """Close it with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(
                    target=self._serve, args=(client,), daemon=True
                ).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            if self._asks_first:
                asked = plain.recv(len(_TLS_IS_WANTED), socket.MSG_WAITALL)
                if asked != _TLS_IS_WANTED:
                    plain.close()
                    return
                plain.sendall(b"S")
            client = self._context.wrap_socket(plain, server_side=True)
            server = self._reach_server()
        except OSError:
            # a client that does not believe us hangs up
            plain.close()
            return
        self._open += [client, server]
        threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
        _pass_on(client, server)

    def _reach_server(self) -> socket.socket:
        if isinstance(self._upstream, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._upstream)
            return server
        return socket.create_connection(self._upstream)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
    _cut(source)
    _cut(sink)


def _cut(side: socket.socket) -> None:
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()
