"""Would a figure that cannot be read be noticed? The look at every saved figure (``tests/watch``), tried on figures with one fault each."""

import os
import subprocess
import sys

import pytest

CASES = {
    "good": ("a.set_xlabel('time (s)'); a.set_ylabel('voltage (mV)')", ""),
    "no label": ("a.set_xlabel('time (s)')", "no label on y"),
    "no unit": ("a.set_xlabel('time'); a.set_ylabel('voltage (mV)')", "'time' has no unit"),
    "no legend": ("a.plot([1, 2], label='fit'); a.set_xlabel('time (s)'); a.set_ylabel('units')", "no legend"),
    "empty": ("figure.add_subplot(212); a.set_xlabel('lag (ms)'); a.set_ylabel('score')", "without anything"),
    "categories": ("a.set_xticks([0, 1], ['ridge', 'network']); a.set_ylabel('correlation')", ""),
    "colour bar": ("figure.colorbar(a.imshow([[0, 1]])); a.axis('off')", "no label on y"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_figure_that_cannot_be_read_alone_is_noticed(case, tmp_path):
    lines, expected = CASES[case]
    text = f"from matplotlib.figure import Figure\nfigure = Figure(); a = figure.add_subplot(211); a.plot([0, 1], label='data')\n{lines}\nfigure.savefig('x.png')"
    faults = tmp_path / "faults.txt"
    subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, env={**os.environ, "FIGURE_FAULTS": str(faults)}, check=True
    )
    found = faults.read_text() if faults.exists() else ""
    assert expected in found
    assert bool(expected) == bool(found), found
