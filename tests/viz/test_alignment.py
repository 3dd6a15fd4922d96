import warnings

import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure

from keras_attention.viz import plot_alignment, save_figure

WEIGHTS = [[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]]  # (T, S)
SOURCE = ["das", "Haus", "."]
TARGET = ["the", "house"]


def texts(labels):
    return [label.get_text() for label in labels]


def test_source_on_top_and_target_on_the_left():
    axes = plot_alignment(WEIGHTS, SOURCE, TARGET, title="de-en").axes[0]
    assert texts(axes.get_xticklabels()) == SOURCE
    assert texts(axes.get_yticklabels()) == TARGET
    assert axes.xaxis.get_ticks_position() == "top"
    assert axes.yaxis_inverted()  # the first target token is at the top
    assert axes.get_title() == "de-en"


def test_gray_level_is_the_weight():
    image = plot_alignment(WEIGHTS, SOURCE, TARGET).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), np.float32(WEIGHTS))
    black_to_white = image.to_rgba(np.array([[0.0, 0.5, 1.0]]))[0, :, :3]
    np.testing.assert_allclose(black_to_white, [[0.0] * 3, [0.5] * 3, [1.0] * 3], atol=0.01)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_accepts_tensors_of_the_backend(dtype):
    image = plot_alignment(ops.convert_to_tensor(WEIGHTS, dtype), SOURCE, TARGET).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), np.float32(WEIGHTS))


def test_figure_grows_with_the_tokens():
    few = plot_alignment(np.eye(3), SOURCE, SOURCE).get_size_inches()
    many = plot_alignment(np.eye(30), SOURCE * 10, SOURCE * 10).get_size_inches()
    np.testing.assert_allclose(many - few, 27 * 0.32, atol=1e-6)
    longer = plot_alignment(np.eye(3), ["a" * 20, "b", "c"], SOURCE).get_size_inches()
    assert longer[1] > few[1] + 1 and longer[0] == few[0]


@pytest.mark.slow
def test_figure_size_is_limited():
    size = plot_alignment(np.eye(1000), ["a"] * 1000, ["b"] * 1000).get_size_inches()
    assert size.max() * 150 < 2**16  # what the PNG writer takes


def test_only_words_are_rotated():
    labels = plot_alignment(WEIGHTS, ["a", "я", "[END]"], TARGET).axes[0].get_xticklabels()
    assert [label.get_rotation() for label in labels] == [0, 0, 90]


def test_white_space_is_visible_and_dollars_are_literal(tmp_path):
    figure = plot_alignment(WEIGHTS, ["$a_", "\t", "\u3000 "], ["", "$\\frac$"], title="$")
    assert texts(figure.axes[0].get_xticklabels()) == ["$a_", "␣", "␣␣"]
    save_figure(figure, tmp_path / "dollars.png")  # mathtext would refuse \frac


def test_scripts_with_a_font_do_not_warn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(
            plot_alignment(WEIGHTS, ["дом", "σπίτι", "▁é"], ["שלום", "سلام"]), tmp_path / "a.png"
        )


def test_character_without_a_font_warns(tmp_path):
    # Cuneiform, which no font of a test machine is expected to have.
    with pytest.warns(UserWarning, match="No installed font has the characters .*Install") as seen:
        save_figure(plot_alignment(WEIGHTS, ["a", "\U00012031", "b"], TARGET), tmp_path / "a.png")
    assert len(seen) == 1
    assert "\U00012031" in str(seen[0].message)


@pytest.mark.parametrize(
    ("weights", "source", "target", "received"),
    [
        (WEIGHTS, SOURCE[:2], TARGET, r"weights.shape=\(2, 3\)"),
        (WEIGHTS, TARGET, SOURCE, r"weights.shape=\(2, 3\)"),
        ([WEIGHTS], SOURCE, TARGET, r"weights.shape=\(1, 2, 3\)"),
        (np.zeros((0, 3)), SOURCE, [], r"weights.shape=\(0, 3\)"),
        ([[-4.0, 2.0, 1.0]], SOURCE, ["a"], "weights from -4.0 to 2.0"),
        ([[0.5, np.nan, 0.5]], SOURCE, ["a"], "weights from nan to nan"),
    ],
)
def test_invalid_arguments(weights, source, target, received):
    with pytest.raises(ValueError, match=f"must .*Received: {received}$"):
        plot_alignment(weights, source, target)


def test_subword_markers_are_not_shown():
    axes = plot_alignment(WEIGHTS, ["▁two", "##ly", "▁"], ["▁", "##"]).axes[0]
    assert texts(axes.get_xticklabels()) == ["two", "ly", "␣"]
    assert texts(axes.get_yticklabels()) == ["␣", ""]


@pytest.mark.parametrize("name", ["a.png", "a.svg", "new/folder/a.PDF"])
def test_save_figure_writes_the_format_of_the_suffix(tmp_path, name):
    path = tmp_path / name
    save_figure(plot_alignment(WEIGHTS, SOURCE, TARGET), path)
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[path.suffix.lower()])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.xyz", "a"])
def test_save_figure_rejects_unknown_suffixes(tmp_path, name):
    with pytest.raises(ValueError, match=f"end in one of .*Received: path=.*{name}$"):
        save_figure(plot_alignment(WEIGHTS, SOURCE, TARGET), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")

    class Broken(Figure):
        def savefig(self, file, **options):
            file.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_figure(Broken(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_half_of_a_surrogate_pair_is_drawn_as_a_question_mark(tmp_path):
    figure = plot_alignment([[1.0]], ["a\ud800"], ["\udfff"], title="\ud83d!")
    axes = figure.axes[0]
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    assert [label.get_text() for label in labels] == ["a?", "?"] and axes.get_title() == "?!"
    save_figure(figure, tmp_path / "figure.png")
