"""The API's error answers, with Toxiproxy's texts and HTTP statuses."""


class ApiError(Exception):
    """Is sent as `{"error": message, "status": status}`."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequestBodyError(ApiError):
    """The body is not JSON, or a field has the wrong type or range."""

    status = 400

    def __init__(self, detail: str) -> None:
        super().__init__(f"bad request body: {detail}")


class MissingFieldError(ApiError):
    """A required field is absent or empty."""

    status = 400

    def __init__(self, field: str) -> None:
        super().__init__(f"missing required field: {field}")


class InvalidStreamError(ApiError):
    """`stream` is neither upstream nor downstream."""

    status = 400

    def __init__(self) -> None:
        super().__init__("stream was invalid, can be either upstream or downstream")


class InvalidToxicTypeError(ApiError):
    """No type of toxic has that name."""

    status = 400

    def __init__(self) -> None:
        super().__init__("invalid toxic type")


class UnauthorizedError(ApiError):
    """The server requires a token, and the request does not carry it."""

    status = 401

    def __init__(self) -> None:
        super().__init__("missing or wrong token: send Authorization: Bearer <token>")


class ProxyNotFoundError(ApiError):
    """No proxy has that name."""

    status = 404

    def __init__(self) -> None:
        super().__init__("proxy not found")


class ToxicNotFoundError(ApiError):
    """The proxy has no toxic of that name."""

    status = 404

    def __init__(self) -> None:
        super().__init__("toxic not found")


class ProxyExistsError(ApiError):
    """Another proxy has that name."""

    status = 409

    def __init__(self) -> None:
        super().__init__("proxy already exists")


class ToxicExistsError(ApiError):
    """Another toxic of the proxy has that name."""

    status = 409

    def __init__(self) -> None:
        super().__init__("toxic already exists")


class CannotListenError(ApiError):
    """The proxy's listen address is in use, malformed or not available."""

    status = 500


class NotLoopbackError(ApiError):
    """Other machines could reach the requested listen address."""

    status = 400

    def __init__(self, host: str) -> None:
        super().__init__(
            f"listen address {host} is not loopback: start the server with --expose to allow it"
        )
