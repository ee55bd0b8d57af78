"""The one error that the API answers."""


class RequestError(Exception):
    """The recorder cannot serve a request: `status` is the HTTP status, the text explains what to do."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
