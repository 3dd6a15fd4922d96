"""Pictures of time and memory against length, batch, beams, vocabulary and depth.

    python benchmarks/curves.py --pictures docs/pictures --json curves.json

One picture for each kind of work, one column of it for each size that grows while the others stay.
The variants of a point take turns. `--only` draws some of the pictures.
"""

from pathlib import Path

import train_transformer
from report import LIMIT, Report, make_parser, rows_of
from turns import Variant, measure

ATTENTION = {"batch": 1, "length": 1024, "heads": 8, "head_dim": 64, "dtype_policy": "float32"}
TRAINING = {**train_transformer.SIZES, "layers": 2, "batch": 16, "dtype_policy": "float32",
            "jit_compile": False}  # fmt: skip
GENERATION = {"batch": 4, "source_length": 25, "tokens": 32, "num_beams": 4, "layers": 2,
              "hidden_dim": 256, "heads": 4, "vocabulary": 8000, "max_new_tokens": 64,
              "dtype_policy": "float32"}  # fmt: skip

# name of the picture: variants, sizes, and the values of each size that grows
CURVES = {
    "attention": (
        {
            "keras_attention": Variant("steps.attention:keras_attention"),
            "explicit": Variant("steps.attention:explicit"),
            "PyTorch": Variant("steps.attention:torch"),
            LIMIT: Variant("steps.attention:limit"),
        },
        ATTENTION,
        {"length": (512, 1024, 2048, 4096), "batch": (1, 2, 4)},
    ),
    "training": (
        {
            "keras_attention": Variant("steps.transformer:keras_attention"),
            "KerasHub": Variant("steps.transformer:keras_hub"),
            LIMIT: Variant("steps.transformer:limit"),
        },
        TRAINING,
        {
            "length": (20, 80, 320),
            "batch": (4, 16, 64),
            "vocabulary": (2000, 8000, 32000),
            "layers": (1, 2, 4),
        },
    ),
    "generation": (
        {
            "keras_attention": Variant("steps.generation:keras_attention"),
            "transformers": Variant("steps.generation:transformers"),
            LIMIT: Variant("steps.generation:limit"),
        },
        GENERATION,
        {
            "tokens": (16, 32, 64),
            "batch": (1, 4, 16),
            "num_beams": (1, 4, 8),
            "vocabulary": (2000, 8000, 32000),
            "layers": (1, 2, 4),
        },
    ),
}


def main():
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the PNG files")
    parser.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES))
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)  # an error comes before the measurements
    report = Report(options)
    for name in options.only:
        variants, sizes, growing = CURVES[name]
        points, measured = {}, {}
        for size, values in growing.items():
            for value in values:
                point = {**sizes, size: value}
                key = tuple(point.values())  # the curves have one point in common
                if key not in measured:
                    measured[key] = measure(variants, point, options.rounds, warm_up=1)
                    report.table(f"{name}, {size} {value}", rows_of(measured[key]))
                points[size, value] = measured[key]
        draw(points, options.pictures / f"{name}-curves.png")
    report.save()


def draw(points: dict, file: Path) -> None:
    """Draws time and memory against each size.

    Args:
        points: the results of `measure` for each `(size, value)`.
        file: PNG file to write.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    sizes = list(dict.fromkeys(size for size, _ in points))
    names = list(dict.fromkeys(name for results in points.values() for name in results))
    figure, axes = plt.subplots(
        2,
        len(sizes),
        figsize=(1.2 + 2.3 * len(sizes), 4.6),
        sharey="row",
        squeeze=False,
        constrained_layout=True,
    )
    for column, size in zip(axes.T, sizes, strict=True):
        for axis, quantity in zip(column, ("median", "memory"), strict=True):
            for name in names:
                if (quantity, name) == ("memory", LIMIT):
                    continue
                curve = [
                    (value, getattr(results[name], quantity))
                    for (other, value), results in points.items()
                    if other == size and name in results
                ]
                axis.plot(*zip(*curve, strict=True), marker="o", markersize=3, label=name)
            axis.set(xscale="log", xlabel=size.replace("_", " "))
            axis.set_xticks([value for other, value in points if other == size])
            axis.xaxis.set_major_formatter("{x:,.0f}")
            axis.minorticks_off()
    axes[0, 0].set(ylabel="ms", yscale="log")
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0, 0].yaxis.set_major_formatter("{x:,.0f}")
    axes[0, 0].yaxis.set_minor_locator(NullLocator())
    axes[1, 0].yaxis.set_major_formatter("{x:,.0f}")
    axes[1, 0].set(ylabel="MB", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    main()
