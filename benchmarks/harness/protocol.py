"""How parent and worker talk: one JSON object each way over a socket pair. JSON, so that no answer can run code.

A request is {"op": name, ...}; the answer is {"status": ..., "reason": ..., ...}.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any

Message = dict[str, Any]


class Garbled(ValueError):
    """What arrived is not a message."""


def send(connection: Connection, message: Message) -> None:
    """Send one message."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> Message:
    """Receive one message. EOFError when the other side is gone; Garbled when it is no message."""
    try:
        message = json.loads(connection.recv_bytes(maxlength=1 << 24))
    except (ValueError, UnicodeDecodeError) as error:
        raise Garbled(f"not a message: {error}") from error
    if not isinstance(message, dict):
        raise Garbled(f"a {type(message).__name__}, not a message")
    return message
