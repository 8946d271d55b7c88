"""Frames over a connected stream socket: eight bytes of length, then that many bytes."""

from __future__ import annotations

import socket
import struct

MAX_BYTES = 64 * 2**20
"""The longest frame that is read. The activations of a CIFAR-10 batch of 256 take 12 MiB."""

HEADER = struct.Struct("!Q")


class WireError(Exception):
    """A message that cannot be sent, or one that came in and is not what it should be."""


class Closed(WireError):
    """The other side has gone."""


class Wire:
    """Frames over a connected stream socket."""

    def __init__(self, connection: socket.socket):
        self.connection = connection

    def send(self, body: bytes) -> None:
        """
        Raises:
            Closed: if the other side has gone.
        """
        try:
            self.connection.sendall(HEADER.pack(len(body)) + body)
        except OSError as error:
            raise Closed(f"the other side has gone ({error})") from None

    def receive(self) -> bytes:
        """Waits for a frame. A time limit is the caller's (a signal that raises).

        Raises:
            Closed: if the other side has gone.
            WireError: if it announces more than `MAX_BYTES`.
        """
        (length,) = HEADER.unpack(self._read(HEADER.size))
        if length > MAX_BYTES:
            raise WireError(f"a message of {length} bytes is too long")
        return self._read(length)

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                part = self.connection.recv(min(count - len(parts), 2**20))
            except OSError as error:
                raise Closed(f"the other side has gone ({error})") from None
            if not part:
                raise Closed("the other side has gone")
            parts += part
        return bytes(parts)
