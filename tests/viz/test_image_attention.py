import numpy as np
import pytest
from keras import ops
from matplotlib.animation import PillowWriter
from PIL import Image, ImageSequence

from keras_attention.viz import animate_image_attention, plot_image_attention, save_figure

WORDS = ["a", "red", "circle"]
GRID = (2, 4)
# All on one cell; on two cells evenly; on all cells evenly: (T, rows, columns).
WEIGHTS = np.reshape(
    [[0, 0, 0, 0, 0, 0, 1, 0], [0.5, 0, 0, 0, 0, 0, 0, 0.5], [0.125] * 8], (3, *GRID)
)
IMAGE = np.zeros((64, 128, 3), "uint8")
IMAGE[:32] = 200, 100, 0


def panels(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def cells_of(panel):
    """Returns the center value of each cell of a panel (H, W, 3), as (rows, columns, 3)."""
    height, width = panel.shape[0] // GRID[0], panel.shape[1] // GRID[1]
    return panel[height // 2 :: height, width // 2 :: width]


def test_one_panel_per_word_after_the_image():
    figure = plot_image_attention(IMAGE, WORDS, WEIGHTS)
    assert [axes.get_title() for axes in figure.axes] == ["", *WORDS]
    assert [axes.get_xlabel() for axes in figure.axes[1:]] == ["1.00", "0.50", "0.12"]
    first = panels(figure)[0]
    assert first.shape == (128, 256, 3)  # twice as large
    np.testing.assert_allclose(first[::2, ::2], IMAGE / 255, atol=1e-6)


def test_white_is_the_largest_weight_and_black_is_zero():
    _, one, two, even = panels(plot_image_attention(IMAGE, WORDS, WEIGHTS))
    image = cells_of(np.repeat(np.repeat(IMAGE, 2, 0), 2, 1)) / 255
    for panel, weights in ((one, WEIGHTS[0]), (two, WEIGHTS[1]), (even, WEIGHTS[2])):
        light = weights[..., None] / weights.max()
        # A middle of 32 enlarged pixels lies half a pixel from the cell's own point.
        np.testing.assert_allclose(cells_of(panel), 0.4 * image + 0.6 * light, atol=0.01)
    assert one.min() >= 0 and one.max() <= 1


def test_weights_are_smooth_between_cells():
    weights = np.zeros((1, 5, 5))
    weights[0, 2, 2] = 1  # the middle one of 5 x 5 cells of 60 pixels
    _, panel = panels(plot_image_attention(np.zeros((300, 300, 3)), ["a"], weights))
    row = panel[150, :, 0] / 0.6
    assert row.max() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(row, row[::-1], atol=1e-6)
    np.testing.assert_allclose(panel, panel.transpose(1, 0, 2), atol=1e-6)
    # The cubic through 0, 0, 1, 0 is 9/16 where two cells meet.
    assert row[119:121].mean() == pytest.approx(9 / 16, abs=1e-3)
    assert np.diff(row).max() < 0.025


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_accepts_tensors_of_the_backend(dtype):
    tensors = ops.convert_to_tensor(IMAGE), WORDS, ops.convert_to_tensor(WEIGHTS, dtype)
    for panel, expected in zip(
        panels(plot_image_attention(*tensors)),
        panels(plot_image_attention(IMAGE, WORDS, WEIGHTS)),
        strict=True,
    ):
        np.testing.assert_array_equal(panel, expected)


def test_floats_are_from_0_to_1():
    image = np.full((64, 128, 3), 51, "uint8")
    for panel, expected in zip(
        panels(plot_image_attention(image / 255, WORDS, WEIGHTS)),
        panels(plot_image_attention(image, WORDS, WEIGHTS)),
        strict=True,
    ):
        np.testing.assert_allclose(panel, expected, atol=1e-6)
    with pytest.raises(ValueError, match="floats from 0 to 1. Received: float values from 51.0"):
        plot_image_attention(image.astype("float32"), WORDS, WEIGHTS)


def test_all_zero_weights_are_black():
    """Such as the words of a row with nothing to attend to."""
    _, panel = panels(plot_image_attention(IMAGE, ["a"], np.zeros((1, *GRID))))
    np.testing.assert_allclose(panel[::2, ::2], 0.4 * IMAGE / 255, atol=1e-6)


def test_panels_keep_the_aspect_ratio():
    for shape in ((64, 128, 3), (200, 50, 3), (300, 300, 3)):
        figure = plot_image_attention(np.zeros(shape), WORDS * 2, np.concatenate([WEIGHTS] * 2))
        figure.draw_without_rendering()
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert box.height / box.width == pytest.approx(shape[0] / shape[1], rel=0.01)


def test_long_words_fit_their_panel():
    words = ["a", "Donaudampfschifffahrtsgesellschaft", "of"]
    figure = plot_image_attention(IMAGE, words, WEIGHTS)
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.title.get_window_extent().width <= 1.05 * axes.get_window_extent().width


def test_white_space_is_visible_and_dollars_are_literal(tmp_path):
    figure = plot_image_attention(IMAGE, ["$\\frac$", " ", "سلام"], WEIGHTS)
    assert [axes.get_title() for axes in figure.axes][1:3] == ["$\\frac$", "␣"]
    save_figure(figure, tmp_path / "a.png")
    animate_image_attention(IMAGE, ["$\\frac$", " ", "سلام"], WEIGHTS, tmp_path / "a.gif")


def frames(path):
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0  # for ever
        return [
            (frame.info["duration"], np.asarray(frame.convert("RGB"), "float32"))
            for frame in ImageSequence.Iterator(gif)
        ]


def test_animation_shows_the_image_and_then_each_word(tmp_path):
    path = tmp_path / "new" / "folder" / "a.gif"
    animate_image_attention(IMAGE, WORDS, WEIGHTS, path, seconds=0.5)
    assert list(path.parent.iterdir()) == [path]
    shown = frames(path)
    assert [duration for duration, _ in shown] == [500] * 4
    bottoms = [pixels[-150:] / 255 for _, pixels in shown]  # 300 pixels wide, 150 high
    for bottom, panel in zip(
        bottoms, panels(plot_image_attention(IMAGE, WORDS, WEIGHTS)), strict=True
    ):
        assert bottom.shape == (150, 300, 3)
        np.testing.assert_allclose(cells_of(bottom), cells_of(panel), atol=0.05)  # 256 colors
    ink = [(pixels[:-150] < 128).any(axis=-1).sum() for _, pixels in shown]
    assert ink[0] == 0 and ink == sorted(set(ink))  # the caption grows


@pytest.mark.parametrize(
    "draw", [plot_image_attention, lambda *args: animate_image_attention(*args, "a.gif")]
)
@pytest.mark.parametrize(
    ("image", "words", "weights", "received"),
    [
        (IMAGE[..., 0], WORDS, WEIGHTS, r"image.shape=\(64, 128\)"),
        (IMAGE[None], WORDS, WEIGHTS, r"image.shape=\(1, 64, 128, 3\)"),
        (IMAGE[:0], WORDS, WEIGHTS, r"image.shape=\(0, 128, 3\)"),
        (IMAGE - 1.0, WORDS, WEIGHTS, "float values from -1.0 to 199.0"),
        (IMAGE + np.nan, WORDS, WEIGHTS, "float values from nan to nan"),
        (IMAGE, WORDS[:2], WEIGHTS, r"weights.shape=\(3, 2, 4\)"),
        (IMAGE, WORDS, np.reshape(WEIGHTS, (3, 8)), r"weights.shape=\(3, 8\)"),
        (IMAGE, [], np.zeros((0, *GRID)), r"weights.shape=\(0, 2, 4\)"),
        (IMAGE, ["a"], np.arange(8).reshape(1, *GRID), "weights from 0.0 to 7.0"),
    ],
)
def test_invalid_arguments(draw, image, words, weights, received, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"must .*Received: {received}$"):
        draw(image, words, weights)
    assert not list(tmp_path.iterdir())


def test_error_names_the_expected_shape():
    with pytest.raises(ValueError, match=r"\(words, rows, columns\), which is \(2, 2, 4\), "):
        plot_image_attention(IMAGE, WORDS[:2], WEIGHTS)


def test_animation_rejects_other_suffixes_and_durations(tmp_path):
    for name in ("a.png", "a"):
        with pytest.raises(ValueError, match=rf"one of \['gif'\]. Received: .*{name}$"):
            animate_image_attention(IMAGE, WORDS, WEIGHTS, tmp_path / name)
    for seconds in (0, -1):
        with pytest.raises(ValueError, match=f"Received: seconds={seconds}$"):
            animate_image_attention(IMAGE, WORDS, WEIGHTS, tmp_path / "a.gif", seconds)
    assert not list(tmp_path.iterdir())


def test_failed_animation_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_text("old")

    def broken(writer):
        writer.outfile.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(PillowWriter, "finish", broken)
    with pytest.raises(OSError, match="disk full"):
        animate_image_attention(IMAGE, WORDS, WEIGHTS, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
