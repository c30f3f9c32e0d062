"""The page can be read: contrast of text and lines in light, dark and print, sizes of text, names for all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scalelab.report.drawing.style import DASHES, MARKERS, PALETTE
from scalelab.report.page import html_page
from scalelab.report.svg import marks
from scalelab.report.svg.figure import N_SHADES
from scalelab.report.svg.panel import WIDTH

CSS = (Path(__file__).parents[2] / "scalelab" / "report" / "page.css").read_text(encoding="utf-8")
THEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
]


def luminance(color: str) -> float:
    """Relative luminance after WCAG 2.1."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_there_are_three_themes_with_the_same_names():
    light, dark, printed = THEMES
    assert set(light) == set(dark) == set(printed)
    assert luminance(dark["paper"]) < 0.05 < 0.9 < luminance(light["paper"])


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark", "print"])
def test_text_has_contrast_of_4_5_and_lines_of_3(theme):
    for paper in (theme["paper"], theme["wash"]):
        for name in ("ink", "muted", "link"):
            assert contrast(theme[name], paper) >= 4.5, (name, paper)
    lines = [f"c{i}" for i in range(len(PALETTE))] + [f"s{i}" for i in range(N_SHADES)]
    for name in lines:
        assert contrast(theme[name], theme["paper"]) >= 3.0, name


def test_files_have_the_colors_of_the_light_page():
    assert [THEMES[0][f"c{i}"] for i in range(len(PALETTE))] == list(PALETTE)
    assert all(contrast(color, "#ffffff") >= 3.0 for color in PALETTE)


def test_nothing_is_told_by_color_alone():
    assert len(set(marks.MARKERS)) == len(set(MARKERS)) == len(set(DASHES)) == marks.N_COLORS == len(PALETTE)
    dashed = set(re.findall(r"\.c(\d) \.line", CSS))
    assert dashed == {str(i) for i in range(1, len(PALETTE))}, (
        "each color but the first has dashes of its own"
    )
    dashes = re.findall(r"\.c\d \.line[^{]*\{ stroke-dasharray: ([\d. ]+); \}", CSS)
    assert len(set(dashes)) == len(PALETTE) - 1


def test_text_of_figures_is_legible_on_a_phone():
    """A drawing fills 390 px less both margins; its text is drawn at that share of its size."""
    margin = 16.0 * float(
        re.search(r"max-width: 480px\) \{\s*body \{ padding: [\d.]+rem ([\d.]+)rem", CSS)[1]
    )
    sizes = [float(size) for size in re.findall(r"\.drawing [^{]*\{ font(?:-size)?: ([\d.]+)px", CSS)]
    assert sizes
    assert min(sizes) * (390 - 2 * margin) / WIDTH >= 11.0


def test_everything_has_a_heading_a_caption_and_a_scope(grid_report):
    text = html_page(list(grid_report))
    assert text.count("<main>") == text.count("<nav ") == text.count("<h1 ") == text.count("<footer>") == 1
    assert len(re.findall("<table", text)) == len(re.findall("<caption", text))
    assert not re.findall(r"<th(?! scope=\"(?:col|row)\")[ >]", text)
    assert text.count('class="scroll" tabindex="0" role="region"') == text.count("<table")
    assert (
        text.count('role="img"') == len(re.findall(r'<svg role="img" aria-label="[^"]+\. [^"]+\."', text)) > 3
    )
    assert not re.findall(r"<h[1-6](?! id=)", text)


def test_the_words_of_a_drawing_have_its_numbers(grid_report):
    text = html_page([one for one in grid_report if one.key == "laws"])
    figure = grid_report.figures["laws"]
    said = re.search(r'<svg role="img" aria-label="([^"]*)"', text)[1]
    for series in figure.panels[0].series:
        assert f"{series.points[0, 1]:.3f}" in said
        assert f"{series.points[-1, 1]:.3f}" in said
