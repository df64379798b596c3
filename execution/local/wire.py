"""Asking a server over its unix socket whether it is ready.

Speaks the few bytes of each protocol that this takes, so that the answer costs
neither a process nor a driver. It promises never to raise when a server is
absent, busy starting or going away: that is the answer None or False. It must
not know where sockets lie or who started what.
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_TIMEOUT_SECONDS = 2.0
_PROTOCOL_3_0 = 196608
_SUCCESS = "00000"


@dataclass(frozen=True)
class PostgresAnswer:
    """The SQLSTATE of the exchange, `00000` when all went well."""

    sqlstate: str
    message: str


def ping(path: Path) -> bool:
    """Say whether a Valkey or Redis serves commands on this socket."""
    try:
        with _connection(path) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def ask_postgres(
    path: Path, *, user: str, database: str, statement: str | None = None
) -> PostgresAnswer | None:
    """Connect, run the statement if there is one, and return how that went."""
    try:
        with _connection(path) as connection, connection.makefile("rb") as replies:
            connection.sendall(_startup(user, database))
            answer = _read_answer(replies)
            if answer.sqlstate != _SUCCESS:
                return answer
            if statement is not None:
                connection.sendall(_message(b"Q", statement.encode() + b"\0"))
                answer = _read_answer(replies)
            connection.sendall(_message(b"X", b""))
            return answer
    except (OSError, EOFError):
        return None


def _connection(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _startup(user: str, database: str) -> bytes:
    fields = f"user\0{user}\0database\0{database}\0\0".encode()
    return _message(b"", struct.pack("!i", _PROTOCOL_3_0) + fields)


def _message(kind: bytes, body: bytes) -> bytes:
    # The length counts itself but not the kind.
    return kind + struct.pack("!i", len(body) + 4) + body


def _read_answer(replies: BinaryIO) -> PostgresAnswer:
    failure: PostgresAnswer | None = None
    while True:
        header = replies.read(5)
        if len(header) < 5 and failure is not None:
            return failure  # a refused connection ends here, without a `Z`
        kind, length = struct.unpack("!ci", _all_of(header, 5))
        body = _all_of(replies.read(length - 4), length - 4)
        if kind == b"E":
            failure = _failure(body)
        elif kind == b"Z":
            return failure or PostgresAnswer(_SUCCESS, "")


def _failure(body: bytes) -> PostgresAnswer:
    fields = [field.decode(errors="replace") for field in body.split(b"\0")]
    by_kind = {field[0]: field[1:] for field in fields if field}
    return PostgresAnswer(by_kind.get("C", ""), by_kind.get("M", ""))


def _all_of(part: bytes, size: int) -> bytes:
    if len(part) < size:
        raise EOFError
    return part
