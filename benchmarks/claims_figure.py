"""The figure of ``benchmarks.claims``, for a README of any colour: its background is its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from acrn_zoo.data.synthetic.world import FAMILIES
from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing
from benchmarks.claims_report import NAMES, TOLERANCES, Results, Spread, group_mean, pointing, pointing_accuracy, scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#24292f"
FAINT = "#d0d7de"
COLORS = {"actor_only": "#999999", "pooled_scene": "#56b4e9", "scene_attention": "#e69f00", "acrn": "#0072b2"}
"""Of Okabe and Ito, told apart by people who see fewer colours, and by lightness alone."""

TITLES = {"motion": "own motion", "object": "matching object", "partner": "matching person"}
GUESSING = "guessing; a random cell"
OF_KIND = "a random figure of the right kind"
WIDTH, HEIGHT, DOTS = 8.0, 4.0, 200  # inches, and dots an inch: twice the 800 pixels that it is shown with
BAR = 0.2  # width of one, of a group's 1


class FigureError(UserError, RuntimeError):
    """The figure cannot be drawn."""


def require_matplotlib() -> None:
    """Make sure that a figure can be drawn.

    Raises:
        FigureError: with the command that mends it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise FigureError("The figure needs matplotlib: pip install 'acrn-zoo[benchmarks]'") from error


def draw(results: Results, path: Path) -> None:
    """Draw mAP by family for every head, and pointing accuracy beside it; a figure that exists is replaced.

    Raises:
        FigureError: if matplotlib is missing.
        OutputError: if the file cannot be written.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {"font.size": 10, "axes.edgecolor": FAINT}
    with rc_context(style | dict.fromkeys(("text.color", "xtick.color", "ytick.color"), INK)):
        figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white", layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3.6, 1))
        _draw_families(left, results)
        _draw_pointing(right, results)
        (handles, labels), (more, their_labels) = (axes.get_legend_handles_labels() for axes in (left, right))
        handles, labels = [*handles, *more], [*labels, *their_labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=DOTS, format=path.suffix[1:])


def _draw_families(axes: "Axes", results: Results) -> None:
    middle = (len(results.heads) - 1) / 2
    for index, head in enumerate(results.heads):
        for place, family in enumerate(FAMILIES):
            found = scores(results, head, family)
            _draw_bar(axes, place + (index - middle) * BAR, found, COLORS[head], label="" if place else NAMES[head])
    for place, family in enumerate(FAMILIES):
        half = (middle + 0.75) * BAR
        _draw_chance(axes, place, half, group_mean(results.priors, family), label="" if place else GUESSING)
    axes.set_xticks(range(len(FAMILIES)), [TITLES[family] for family in FAMILIES])
    seeds = len(results.seeds)
    _finish(axes, "mAP, %" if seeds == 1 else f"mAP, %: mean of {seeds} seeds, lowest and highest")


def _draw_pointing(axes: "Axes", results: Results) -> None:
    """All maps, and those of scenes in which a figure of the same kind has other colours."""
    tolerance = TOLERANCES[0]
    for place, among_rivals in enumerate((False, True)):
        found = pointing(results, tolerance, among_rivals=among_rivals)
        if found.num_maps > 0:
            accuracy = pointing_accuracy(results, tolerance, among_rivals=among_rivals)
            _draw_bar(axes, place, accuracy, COLORS["acrn"], width=0.55)
            _draw_chance(axes, place, 0.4, 100 * found.chance_accuracy)
            _draw_chance(
                axes, place, 0.4, 100 * found.of_kind_accuracy, label="" if place else OF_KIND, dashes=(1, 1.5)
            )
    axes.set_xticks((0, 1), ("all", "with a\nrival"))
    axes.set_xlim(-0.6, 1.6)
    _finish(axes, "ACRN's map points\nat what decided, %")


def _draw_bar(axes: "Axes", x: float, found: Spread, color: str, *, width: float = 0.9 * BAR, label: str = "") -> None:
    """The mean as a bar with its number above, lowest and highest as a mark."""
    axes.bar(x, found.mean, width, color=color, label=label or "_", zorder=2)
    axes.vlines(x, found.low, found.high, color=INK, linewidth=1.6, zorder=4)
    axes.hlines((found.low, found.high), x - 0.04, x + 0.04, color=INK, linewidth=1.2, zorder=4)
    text, place = f"{found.mean:.0f}", (x, found.high)
    axes.annotate(text, place, (0, 2.5), textcoords="offset points", ha="center", fontsize=9, zorder=5)


def _draw_chance(
    axes: "Axes", x: float, half: float, height: float, *, label: str = "", dashes: tuple[float, float] = (3, 2)
) -> None:
    """A dashed line, with white round it, so that it is seen on bars of any colour."""
    axes.hlines(height, x - half, x + half, color="white", linewidth=3.0, zorder=3)
    style = (0, dashes)
    axes.hlines(height, x - half, x + half, color=INK, linewidth=1.2, linestyle=style, label=label or "_", zorder=3)


def _finish(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.grid(axis="y", color=FAINT, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
