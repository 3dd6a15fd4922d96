import curves
from report import LIMIT
from turns import Result


def test_pictures_have_every_point_and_measure_the_common_one_once(monkeypatch, tmp_path):
    measured, drawn = [], {}

    def measure(variants, options, rounds, warm_up):
        measured.append(options)
        size = options["length"] * options["batch"]
        return {name: Result([float(size)], 1.0, 500.0, 9.0) for name in variants}

    def draw(points, file):
        drawn[file.name] = points
        original(points, file)

    original = curves.draw
    monkeypatch.setattr(curves, "measure", measure)
    monkeypatch.setattr(curves, "draw", draw)
    arguments = ["curves.py", "--only", "attention", "--pictures", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    curves.main()
    (points,) = drawn.values()
    assert list(points) == [("length", 512), ("length", 1024), ("length", 2048), ("length", 4096),
                            ("batch", 1), ("batch", 2), ("batch", 4)]  # fmt: skip
    assert len(measured) == 6
    assert points["batch", 4][LIMIT].median == 4 * 1024
    assert (tmp_path / "attention-curves.png").stat().st_size > 10_000
