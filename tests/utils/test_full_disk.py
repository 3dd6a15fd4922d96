import errno
import os

import pytest

from keras_attention.utils.full_disk import explain_full_disk


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EFBIG, "too large"),
        RuntimeError("Unable to close file (errno = 28, No space left on device)\nmore lines"),
    ],
    ids=str,
)
def test_the_error_says_what_was_written_and_where(tmp_path, error):
    folder = tmp_path / "new" / "folder"
    with pytest.raises(ValueError) as caught, explain_full_disk("A task", folder, ValueError):
        raise error
    message = str(caught.value)
    assert message.startswith(f"A task needs free space in {str(folder)!r} and, for temporary")
    assert "MB free when writing failed (" in message and "\n" not in message


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(PermissionError, match="not yours"), explain_full_disk("A task", tmp_path):
        raise PermissionError(errno.EACCES, "not yours")
