"""Frames over a connected stream socket: eight bytes of length, then that many bytes."""

from __future__ import annotations

import socket
import struct

MAX_BYTES = 64 * 2**20
"""The longest frame that is read. The activations of a CIFAR-10 batch of 256 take 12 MiB."""

HEADER = struct.Struct("!Q")

AT_A_TIME = 2**16  # bytes that are asked for at least


class WireError(Exception):
    """A message that cannot be sent, or one that came in and is not what it should be."""


class Closed(WireError):
    """The other side has gone."""


class Wire:
    """Frames over a connected stream socket."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._came = bytearray()  # what has come in and was not asked for yet

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
        while len(self._came) < count:
            try:
                # as much as there is: most frames are short, and come with their length in one call
                part = self.connection.recv(min(max(count - len(self._came), AT_A_TIME), 2**20))
            except OSError as error:
                raise Closed(f"the other side has gone ({error})") from None
            if not part:
                raise Closed("the other side has gone")
            self._came += part
        found = bytes(self._came[:count])
        del self._came[:count]
        return found
