"""Layouts of weights on several devices, for `keras.distribution.ModelParallel`."""

import keras


def get_layout_map(
    device_mesh: keras.distribution.DeviceMesh,
    model_parallel_dim_name: str = "model",
    data_parallel_dim_name: str | None = None,
) -> keras.distribution.LayoutMap:
    """Returns the layouts of the weights of Transformers and of attention for model parallelism.

    | weights | divided over the model axis |
    | --- | --- |
    | embeddings, output projection to logits | vocabulary |
    | projections of query, key and value | heads; columns, where the three are one matrix |
    | output projection of attention | its input, the heads |
    | feed-forward network | the hidden layer |

    All other weights (biases of outputs, normalization, positions, recurrent cells) are on each
    device. Each divided size must be a multiple of the number of devices of its axis. To lay a
    weight out differently, delete its key and set another one.

    Args:
        device_mesh: The devices.
        model_parallel_dim_name: Axis of the mesh over which the weights are divided.
        data_parallel_dim_name: Axis of the mesh over which the other dimension of each matrix is
            divided. The optimizer then needs less memory on each device, and each step
            communicates more. `None` keeps a copy for each index of that axis.

    Returns:
        A `LayoutMap`, whose keys are regular expressions of the paths of variables.

    Raises:
        ValueError: If an axis is not one of the mesh.

    References:
        Shoeybi et al. 2019, [Megatron-LM](https://arxiv.org/abs/1909.08053).

    Example:

    >>> devices = ["cpu:0", "cpu:1", "cpu:2", "cpu:3"]
    >>> mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"), devices)
    >>> layout_map = get_layout_map(mesh)
    >>> layout_map["decoder/stack/block_0/feed_forward/inner/kernel"].axes
    (None, 'model')
    """
    for name in (model_parallel_dim_name, data_parallel_dim_name):
        if name is not None and name not in device_mesh.axis_names:
            raise ValueError(
                "The axis must be one of the device mesh. "
                f"Received: {name!r}, device_mesh.axis_names={device_mesh.axis_names}"
            )
    model, data = model_parallel_dim_name, data_parallel_dim_name
    layout_map = keras.distribution.LayoutMap(device_mesh)
    layout_map[r".*tokens/embeddings"] = (model, data)
    layout_map[r".*tokens/reverse_embeddings"] = (data, model)
    layout_map[r".*attention/(query|key|value|query_key_value)/kernel"] = (data, model)
    layout_map[r".*attention/(query|key|value|query_key_value)/bias"] = (model,)
    layout_map[r".*attention/output/kernel"] = (model, data)
    layout_map[r".*feed_forward/inner/kernel"] = (data, model)
    layout_map[r".*feed_forward/inner/bias"] = (model,)
    layout_map[r".*feed_forward/outer/kernel"] = (model, data)
    return layout_map
