"""Training step of a model of PyTorch, compiled on a GPU."""

import torch
from torch.nn.functional import cross_entropy


def torch_step(model, inputs, labels, dtype_policy):
    """Returns a function that trains a model, from `inputs` to logits, on one batch with Adam."""
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    model = model.to(device)
    run = torch.compile(model) if on_gpu else model
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=on_gpu)
    inputs = [torch.tensor(x, device=device) for x in inputs]
    labels = torch.tensor(labels, dtype=torch.long, device=device)
    reduced = dtype_policy == "mixed_bfloat16"

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=reduced):
            logits = run(*inputs)
            loss = cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
