"""Which units does an expression select? ``quality == 'good' and firing_rate > .5``, parsed and never executed."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from .session import NO_LABEL

OPERATORS = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
             ast.GtE: operator.ge, ast.In: operator.eq, ast.NotIn: operator.eq}  # fmt: skip
TRUTH = {"true": 1.0, "false": 0.0}


def select(expression: str, columns: Mapping[str, Sequence[Any]], n: int) -> np.ndarray:
    """Rows for which an expression holds: indices.

    Comparisons, ``and``, ``or``, ``not``, ``in``, names of columns, numbers and texts. A text that is a number equals that number, however the
    file keeps it; a missing value equals nothing and has no order.

    Raises
    ------
    InputError
        Not such an expression, an unknown column, or a comparison of text with numbers.

    Examples
    --------
    >>> select("a > 1 and b in ('x', 'y')", {"a": [1, 2, 3], "b": ["x", "y", "z"]}, 3)
    array([1])
    >>> select("unit_id != 7", {"unit_id": ["6", "7", "8"]}, 3)
    array([0, 2])
    """
    where = f"--units {expression}"
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        return np.flatnonzero([_truth(_value(tree, columns, row, where), where) for row in range(n)])
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: not an expression such as \"quality == 'good' and n_spikes > 100\".") from None


def _value(node: ast.AST, columns: Mapping[str, Sequence[Any]], row: int, where: str) -> Any:
    if isinstance(node, ast.BoolOp):
        parts = (_value(part, columns, row, where) for part in node.values)
        return (all if isinstance(node.op, ast.And) else any)(_truth(part, where) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        value = _value(node.operand, columns, row, where)
        return not _truth(value, where) if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool)):
        return node.value
    if isinstance(node, (ast.Tuple, ast.List)):
        return [_value(part, columns, row, where) for part in node.elts]
    if isinstance(node, ast.Name):
        if node.id not in columns:
            raise InputError(f"{where}: units have no column '{node.id}'; they have {', '.join(columns)}.")
        return plain(columns[node.id][row])
    if isinstance(node, ast.Compare):
        left = _value(node.left, columns, row, where)
        for kind, right_node in zip(node.ops, node.comparators):
            right = _value(right_node, columns, row, where)
            if not _holds(kind, left, right, where):
                return False
            left = right
        return True
    raise InputError(f"{where}: only columns, numbers, texts, comparisons, and, or, not are understood.")


def plain(value: Any) -> Any:
    """A value of a table as Python has it: text without blanks at its ends, NaN for none."""
    value = value.item() if isinstance(value, np.generic) else value
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return math.nan if value is None else value.strip() if isinstance(value, str) else value


def _holds(kind: ast.cmpop, left: Any, right: Any, where: str) -> bool:
    """One comparison."""
    if type(kind) not in OPERATORS:
        raise InputError(f"{where}: '{type(kind).__name__}' is not understood; use == != < <= > >= in.")
    compare = OPERATORS[type(kind)]
    if not isinstance(kind, (ast.In, ast.NotIn)):
        return bool(compare(*_alike(left, right, where)))
    if not isinstance(right, list):
        raise InputError(f"{where}: expected a list after 'in', such as in ('good', 'mua').")
    matches = [compare(*_alike(left, one, where)) for one in right]  # all are looked at: a wrong one is refused
    return any(matches) is isinstance(kind, ast.In)


def _alike(left: Any, right: Any, where: str) -> tuple[Any, Any]:
    """Two values of one kind, text or number.

    Raises
    ------
    InputError
        One is a number and the other a text that is none.
    """
    if isinstance(left, list) or isinstance(right, list):
        raise InputError(f"{where}: a list is understood after 'in' alone.")
    if isinstance(left, str) == isinstance(right, str):
        return left, right
    numbers = [_number(value) if isinstance(value, str) else float(value) for value in (left, right)]
    if None in numbers:
        raise InputError(f"{where}: {left!r} and {right!r} cannot be compared, one is text and one a number.")
    return numbers[0], numbers[1]


def _number(text: str) -> float | None:
    """The number that a text is, NaN for a missing one, None where it is none."""
    low = text.casefold()
    if low in NO_LABEL:
        return math.nan
    if "_" in low:  # '1_0' is a name, which Python would read as ten
        return None
    try:
        return TRUTH[low] if low in TRUTH else float(text)
    except ValueError:
        return None


def _truth(value: Any, where: str) -> bool:
    """Whether a value stands for yes: a number that is not 0, the text True; a missing one does not.

    Raises
    ------
    InputError
        It is another text.
    """
    number = _number(value) if isinstance(value, str) else value
    if number is None or isinstance(value, list):
        raise InputError(f"{where}: {value!r} says neither yes nor no; compare it with something.")
    return bool(number == number and number)
