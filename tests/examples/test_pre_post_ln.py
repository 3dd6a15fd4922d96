from pathlib import Path

import pytest

from helpers import run_script

EXAMPLE = Path(__file__).parents[2] / "examples" / "pre_post_ln.py"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_it_prints_gradients_and_losses_and_draws_them(tmp_path):
    options = "--layers 2 --hidden-dim 8 --steps 8 --warmup 4 --output norms.png"
    printed = run_script(EXAMPLE, options, tmp_path)
    rows = [line.split() for line in printed.splitlines()]
    (layers,) = (row[1:] for row in rows if row[:1] == ["layers"])
    assert layers == ["1", "2"]
    gradients, losses = (
        {row[0]: [float(x) for x in row[1:]] for row in rows[start : start + 2]} for start in (2, 7)
    )
    assert list(gradients) == list(losses) == ["post-LN", "pre-LN"]
    # with post-LN, the last layer's gradient is larger (Xiong et al. 2020)
    assert gradients["post-LN"][1] > gradients["pre-LN"][1] > 0
    # almost nothing is learned in 8 steps, so the loss is about the log of 20 tokens
    assert all(2.5 < loss < 4.5 for pair in losses.values() for loss in pair)
    assert (tmp_path / "norms.png").read_bytes().startswith(b"\x89PNG")
