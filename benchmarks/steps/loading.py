"""A loaded export that processes one text."""


def exported(options):
    """Loads the export in `folder` and returns a function that runs it on `text`."""
    from keras_attention.tasks import load_exported

    task = load_exported(options.folder)
    return lambda: task(options.text)
