"""What a use case refuses, in the language of the domain; the API turns each into its problem document."""

from typing import ClassVar


class ServiceError(Exception):
    """A refusal. ``problem`` is the slug of its kind, ``detail`` a sentence for the caller that repeats no value of theirs."""

    problem: ClassVar[str]
    detail: ClassVar[str]
    retry: ClassVar[bool] = False
    """Whether the same request may succeed a moment later."""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.detail)


class NotFound(ServiceError):
    """The resource does not exist (any more)."""

    problem = "not-found"
    detail = "There is no such resource."


class VersionMismatch(ServiceError):
    """The resource has none of the versions that the caller named."""

    problem = "precondition-failed"
    detail = "The resource has none of the versions that If-Match names."


class EmailTaken(ServiceError):
    """Another user has the address."""

    problem = "email-taken"
    detail = "Another user has this e-mail address."


class ItemsOwned(ServiceError):
    """The user can't be deleted: items are theirs, and the caller did not say what becomes of them."""

    problem = "items-owned"
    detail = "The user still owns items; say ?items=release or ?items=delete."


class TooManyItems(ServiceError):
    """More items than one transaction may touch."""

    problem = "too-many-items"

    def __init__(self, maximum: int) -> None:
        super().__init__(f"The user owns more than {maximum} items, the most that one deletion touches.")


class Busy(ServiceError):
    """All places for this kind of work are taken."""

    problem = "service-unavailable"
    detail = "As many of these run as this process allows."
    retry = True


class RetryInProgress(ServiceError):
    """A request under the same Idempotency-Key has not finished."""

    problem = "retry-in-progress"
    detail = "A request with this Idempotency-Key is still running."
    retry = True


class IdempotencyKeyReused(ServiceError):
    """The Idempotency-Key stands for another payload."""

    problem = "idempotency-key-reused"
    detail = "This Idempotency-Key was used with another payload."


class FieldInvalid(ServiceError):
    """A value is well formed, but the rules or the data don't allow it: a JSON pointer (RFC 6901) into a part of the request."""

    problem = "validation-failed"

    def __init__(self, detail: str, pointer: str, *, part: str = "body") -> None:
        super().__init__(detail)
        self.pointer = pointer
        self.part = part
