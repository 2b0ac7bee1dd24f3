"""Can a person read the report: on a phone, on a screen, on paper? The page that all five pipelines write, also looked at by a browser."""

import base64
import re
import shutil
import subprocess

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the path of a report with everything in it that has ever been too wide."""
    from matplotlib.figure import Figure

    from glm_rates.show.report import Section, write_report

    def figure(width, height):
        made = Figure(figsize=(width, height))
        axes = made.add_subplot()
        axes.plot([1, 3, 2])
        axes.set(xlabel="time (s)", ylabel="rate (Hz)")
        return made

    folder = tmp_path_factory.mktemp("report")
    (folder / "table.csv").write_text("a\n")
    long = [{f"column number {i}": i / 7 for i in range(20)} for _ in range(30)]
    few = [{"model": name} | {f"score {i}": i / 7 for i in range(25)} for name in ("ridge", "network")]
    sections = [
        Section("Models", "One.\n\nTwo.", [{"model": "stimulus", "file": "table.csv", "other": "gone.csv"}]),
        Section("Long", "", long),
        Section("Few", "", few),
        Section("Figures", "", (), {"wide": figure(14, 4), "square": figure(5, 5)}),
    ]
    return write_report(
        folder / "report.html", title="Rates <of> units", question="How fast?", headline={"units": 12, "score": 0.123456},
        verdict="stimulus beats the mean: yes", sections=sections, warnings=["beware"], provenance={"command": "x" * 400},
    )  # fmt: skip


def test_few_long_rows_are_turned_upright(page):
    text = page.read_text(encoding="utf-8")
    few = text[text.index("<h2>Few") : text.index("<h2>Figures")]
    assert re.findall(r"<th>(.*?)</th>", few) == ["model", "ridge", "network"]
    assert few.count("<tr>") == 26
    long = text[text.index("<h2>Long") : text.index("<h2>Few")]
    assert len(re.findall(r"<th>", long)) == 20


def test_a_cell_that_names_a_file_beside_the_report_is_a_link(page):
    text = page.read_text(encoding="utf-8")
    assert '<a href="table.csv">table.csv</a>' in text
    assert "href" not in text[text.index(">gone.csv") - 20 : text.index(">gone.csv")]


def test_a_report_needs_nothing_from_elsewhere_and_shows_text_as_text(page):
    text = page.read_text(encoding="utf-8")
    assert "Rates &lt;of&gt; units" in text
    assert not re.search(r"(src|href)=\"(?!data:|table\.csv)", text)
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", text)
    assert len(re.findall(r'<img alt="\w+"', text)) == text.count("<img ") == 2
    for data in re.findall(r"base64,([\w+/=]+)", text):
        assert base64.b64decode(data).startswith(b"\x89PNG")


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on this machine")
@pytest.mark.parametrize("width", [400, 800, 1280, 1920])
def test_nothing_is_cut_at_any_width(page, tmp_path, width):
    probe = "<script>document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth</script>"
    copy = tmp_path / "report.html"
    copy.write_text(page.read_text(encoding="utf-8") + probe, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    told = subprocess.run(
        [BROWSER, *options, f"--window-size={width},900", "--dump-dom", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"<title>(\d+) of (\d+)</title>", told.stdout)
    assert found, told.stderr[-300:]
    needed, there = map(int, found.groups())
    assert there >= width - 40
    assert needed <= there
