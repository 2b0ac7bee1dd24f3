"""How does work end that did not succeed? Each exception carries its exit code; nothing heavy is imported here."""

from __future__ import annotations


class InputError(ValueError):
    """A user's mistake, told in one line: what was given, where, what was expected, what to do."""

    exit_code = 2


class WorkFailed(RuntimeError):
    """The input was fine, the work did not succeed."""

    exit_code = 1


class NoSpace(WorkFailed):
    """The disk is full; nothing incomplete was left behind."""


class LockedError(RuntimeError):
    """The file or folder is in use by another process."""

    exit_code = 4


class EnvironmentMissing(RuntimeError):
    """A program, interpreter or library that the work needs is not there."""

    exit_code = 5
