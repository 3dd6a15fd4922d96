"""Errors of requests, with the HTTP statuses of TensorFlow Serving."""

import re

# HTTP statuses of the codes of TensorFlow's errors, as TensorFlow Serving answers them.
HTTP_STATUS = {
    1: 499,  # CANCELLED
    2: 500,  # UNKNOWN
    3: 400,  # INVALID_ARGUMENT
    4: 504,  # DEADLINE_EXCEEDED
    5: 404,  # NOT_FOUND
    6: 409,  # ALREADY_EXISTS
    7: 403,  # PERMISSION_DENIED
    8: 429,  # RESOURCE_EXHAUSTED
    9: 400,  # FAILED_PRECONDITION
    10: 409,  # ABORTED
    11: 400,  # OUT_OF_RANGE
    12: 501,  # UNIMPLEMENTED
    13: 500,  # INTERNAL
    14: 503,  # UNAVAILABLE
    15: 500,  # DATA_LOSS
    16: 401,  # UNAUTHENTICATED
}


class RequestError(Exception):
    """A request that gets an error instead of outputs.

    Args:
        status: HTTP status.
        message: the value of `error` in the response.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


def error_of_session(error: ValueError) -> RequestError:
    """Converts an error of a `Session`; one that names no code of TensorFlow has status 400."""
    code = re.search(r"\(TF_Code (\d+)\)$", str(error))
    return RequestError(HTTP_STATUS.get(int(code[1]), 500) if code else 400, str(error))
