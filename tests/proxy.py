"""Stands between a client and a server, and does to them what networks do.

It passes bytes on until it is told otherwise: to refuse connections, to cut all of
them, to take everything and deliver nothing, or to cut single conversations before or
after the server got to know what was asked. It knows no protocol; callers who want an
answer to be complete say how one ends.
"""

import enum
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536

POSTGRES_ANSWER_END = b"Z\x00\x00\x00\x05I"
"""PostgreSQL's last words after a statement: done, committed, ready for the next."""


class Fate(enum.Enum):
    """What becomes of a request."""

    SPARE = "spare"
    CUT_REQUEST = "cut before the server hears of it"
    CUT_ANSWER = "cut when the server has answered"


def spare(request: bytes) -> Fate:
    """Let every request pass."""
    return Fate.SPARE


class _Conversation:
    """The two sockets of one client, and what was decided about them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.swallows_answer = False

    def cut(self) -> None:
        for side in (self.client, self.server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


class Proxy:
    """Listens on a port of its own, and passes on to `upstream`."""

    def __init__(
        self, upstream: str | tuple[str, int], answer_end: bytes = b""
    ) -> None:
        """Begin to pass on to a unix socket's path, or to a host and port."""
        self._upstream = upstream
        self._answer_end = answer_end
        self._lock = threading.Lock()
        self._conversations: set[_Conversation] = set()
        self._decide: Callable[[bytes], Fate] = spare
        self._is_black_hole = False
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def judge(self, decide: Callable[[bytes], Fate]) -> None:
        """Let `decide` say what becomes of each request from now on."""
        self._decide = decide

    def cut_all(self) -> None:
        """End every conversation, as a server does that is killed."""
        with self._lock:
            conversations = list(self._conversations)
        for conversation in conversations:
            conversation.cut()

    def refuse(self) -> None:
        """End every conversation, and refuse new ones until `admit`."""
        # closing alone would leave the thread in accept(), and the port open with it
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def admit(self) -> None:
        """Take connections again after `refuse`."""
        self._listener = self._listen(self.port)

    def swallow(self) -> None:
        """Take connections and bytes, and deliver nothing, until `recover`."""
        self._is_black_hole = True

    def recover(self) -> None:
        """Deliver again after `swallow`; what was under way has been lost."""
        self._is_black_hole = False
        self.cut_all()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        with suppress(OSError):
            self.refuse()
        self.cut_all()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self._begin(_Conversation(client, server))

    def _connect(self) -> socket.socket:
        if isinstance(self._upstream, tuple):
            return socket.create_connection(self._upstream)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream)
        except OSError:
            server.close()
            raise
        return server

    def _begin(self, conversation: _Conversation) -> None:
        with self._lock:
            self._conversations.add(conversation)
        for pump in (self._pump_requests, self._pump_answers):
            threading.Thread(
                target=self._pump, args=(pump, conversation), daemon=True
            ).start()

    def _pump(
        self, pump: Callable[[_Conversation], None], conversation: _Conversation
    ) -> None:
        with suppress(OSError):
            pump(conversation)
        conversation.cut()
        with self._lock:
            self._conversations.discard(conversation)

    def _pump_requests(self, conversation: _Conversation) -> None:
        while request := conversation.client.recv(_CHUNK_BYTES):
            if self._is_black_hole:
                continue
            fate = self._decide(request)
            if fate is Fate.CUT_REQUEST:
                return
            conversation.swallows_answer |= fate is Fate.CUT_ANSWER
            conversation.server.sendall(request)

    def _pump_answers(self, conversation: _Conversation) -> None:
        while answer := conversation.server.recv(_CHUNK_BYTES):
            if self._is_black_hole:
                continue
            if not conversation.swallows_answer:
                conversation.client.sendall(answer)
            elif answer.endswith(self._answer_end):
                return
