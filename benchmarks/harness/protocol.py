"""How parent and worker talk: one JSON object each way over a socket pair. JSON, so that no answer can run code.

A request is {"op": name, "number": ..., ...}; the answer is {"status": ..., "reason": ..., "number": that of the request, ...}.
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
    raw = connection.recv_bytes(maxlength=1 << 24)
    try:
        message = json.loads(raw)
        if b"\\ud" in raw.lower():
            # Half of a character, as in the name of a file that is no UTF-8: no file and no terminal would take it.
            message = json.loads(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise Garbled(f"{raw[:40]!r}, not a message ({type(error).__name__})") from None
    if not isinstance(message, dict):
        raise Garbled(f"a {type(message).__name__}, not a message")
    return message
