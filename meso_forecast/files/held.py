"""How is a refusal one line? What a reader says of its files is held back until the work succeeded."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from hdf5io.errors import InputError

log = logging.getLogger((__package__ or "").partition(".")[0])


@contextlib.contextmanager
def told_on_success() -> Iterator[None]:
    """Hold back the log of the block; tell it at its end, and not at all where the input was refused: then one line says it."""
    held: list[logging.LogRecord] = []

    def hold(record: logging.LogRecord) -> bool:
        """Keep a record for later."""
        held.append(record)
        return False

    handlers = list(log.handlers)
    for handler in handlers[:1]:
        handler.addFilter(hold)
    others = handlers[1:]
    for handler in others:
        handler.addFilter(refuse)
    try:
        yield
    except InputError:
        held.clear()
        raise
    finally:
        for handler in handlers:
            handler.removeFilter(hold)
            handler.removeFilter(refuse)
        for record in held:
            log.handle(record)


def refuse(record: logging.LogRecord) -> bool:
    """Let no record pass."""
    return False
