"""Logging in where an answer asks for it: the challenge, the answer to it, a wider scope."""

from __future__ import annotations

from collections.abc import Callable

from didlab.transport import answers
from didlab.transport.auth import Authorizer
from didlab.transport.secret import Secret
from didlab.transport.sender import Request
from didlab.transport.wire import Answer

Send = Callable[[Request, Secret | None], Answer]


def is_wanted(answer: Answer) -> bool:
    """Whether an answer asks for a login, or for another one."""
    if answer.status == 401:
        return True
    challenge = answer.headers.get("WWW-Authenticate", "")
    return answer.status == 403 and "insufficient_scope" in challenge


def challenges(answer: Answer) -> list[str]:
    """Return the challenges of an answer, as they were sent."""
    return answer.all_headers("WWW-Authenticate")


def login(
    answer: Answer,
    request: Request,
    rejected: Secret | None,
    *,
    auth: Authorizer,
    send: Send,
    root: Request,
) -> Answer:
    """Send a request again, with what its answer asks for.

    Parameters
    ----------
    answer : Answer
        What `is_wanted` found to ask for a login.
    rejected : Secret, optional
        The header that the request was refused with.
    auth : Authorizer
        Makes the headers, from the challenges.
    send : callable
        Sends a request to the place, with a header where one is given.
    root : Request
        For the API's root, which is asked where the answer names no way to log in.

    Raises
    ------
    AuthError
        No header helped, or none can be had.
    """
    origin = answer.url.origin
    repository, scope = request.repository, request.scope
    status, values, message = _refusal(answer)
    if not values and rejected is None:
        # Some answer 401 without a challenge; the API's root has it then.
        front = send(root, None)
        values = challenges(front)
        front.drain()
        if not values:
            raise auth.denial(repository, 401, "it did not say how to log in")
    header = auth.respond(values, origin, repository, scope, rejected)
    if header is not None:
        answer = send(request, header)
        if not is_wanted(answer):
            return answer
        status, again, message = _refusal(answer)
        values = again or values
    header = auth.wider(values, origin, repository, scope)
    if header is not None:
        answer = send(request, header)
        if not is_wanted(answer):
            return answer
        status, _, message = _refusal(answer)
    raise auth.denial(repository, status, message)


def _refusal(answer: Answer) -> tuple[int, list[str], str]:
    """Return status, challenges and message of an answer, and close it."""
    return answer.status, challenges(answer), answers.detail(answer)[1]
