"""One error type for the many that huggingface_hub raises, with a sentence that a person can act
on and the Hub's own words where it gave any.
"""

from __future__ import annotations

from typing import NoReturn

from huggingface_hub import errors

# The Hub's own words are repeated up to so many characters.
_MOST_WORDS = 300


class HubError(Exception):
    """Something could not be had from the Hub or brought to it; the message is one sentence that
    says why and what to do.

    Attributes:
        reason: ``name`` (no repository name), ``offline``, ``network`` (no or no sensible answer),
            ``token`` (missing or not accepted), ``rights``, ``repository`` or ``revision`` (does
            not exist), ``foreign`` (not a bundle of this project, or altered), ``cache`` (nothing
            usable on disk), ``disk``, ``busy`` (still under way, or asked too often), ``quota``
            (storage, plan or payment), ``variant`` (another model is there) or ``refused`` (any
            other answer of the Hub).
    """

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


def explain(error: Exception, what: str, user: str | None) -> NoReturn:
    """Raises the HubError that says in one sentence what one of huggingface_hub's many errors
    means.

    Args:
        error: anything that a call of huggingface_hub raised.
        what: what was asked for, such as ``namespace/name at main``.
        user: who asked to write; None where something was read.
    """
    message, reason = _describe_error(_root(error), what, user)
    raise HubError(message, reason) from error


def _describe_error(error: Exception, what: str, user: str | None) -> tuple[str, str]:
    status, words = _status(error), _words(error)
    if str(error).startswith("Invalid metadata"):
        return f"The Hub refuses the card of {what}: {' '.join(str(error).split())}", "refused"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, so {what} was not asked for.", "offline"
    if isinstance(error, errors.GatedRepoError):
        return f"Access to {what} must first be granted on its page.", "rights"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"There is no such revision: {what}.", "revision"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"The Hub does not have {what}.", "foreign"
    if isinstance(error, errors.RepositoryNotFoundError) and user is None:
        return (
            f"The Hub knows no {what}, or it is private and the token may not see it.",
            "repository",
        )
    if status == 401:
        return (
            "The Hub does not accept this token; make a new one in your settings there and run `hf"
            " auth login`, or set HF_TOKEN.",
            "token",
        )
    if status in (402, 413, 507):
        return f"The Hub takes no more for {what} ({status}): {words}", "quota"
    if status == 403 or isinstance(error, errors.RepositoryNotFoundError):
        writer = f"{user} may not write to" if user else "This token gives no access to"
        said = f" The Hub says: {words}" if words else ""
        return (
            f"{writer} {what}; use a namespace of your own, or a token with write access to this"
            f" one.{said}",
            "rights",
        )
    if status in (409, 412):
        return (
            f"{what} was changed by somebody else meanwhile ({status}); push again. The Hub says:"
            f" {words}",
            "busy",
        )
    if status == 429:
        wait = _wait(error)
        return (
            f"The Hub has had too many requests for {what};"
            f" ask again {f'in {wait} s' if wait else 'in a few minutes'}. The Hub says: {words}",
            "busy",
        )
    if status is not None and status < 500 and status != 408:
        return f"The Hub refused the request for {what} ({status}): {words}", "refused"
    if status is not None:
        return (
            f"The Hub could not be reached for {what} (it answered {status}: {words}).",
            "network",
        )
    if isinstance(
        error,
        (
            errors.HTTPError,
            errors.FileMetadataError,
            errors.LocalEntryNotFoundError,
            ConnectionError,
            TimeoutError,
        ),
    ):
        return f"The Hub could not be reached for {what} ({type(error).__name__}).", "network"
    if isinstance(error, OSError) and "Consistency check" not in str(error):
        return (
            f"{what} could not be kept on disk ({type(error).__name__}: {_first_line(error)}).",
            "disk",
        )
    if "LFS batch API returned errors" in str(error):
        return f"The Hub refused to take the weights of {what}: {words}", "quota"
    return f"The Hub's answer for {what} makes no sense ({_first_line(error)}).", "network"


def _root(error: Exception) -> Exception:
    """The error that tells: huggingface_hub wraps it in up to three of its own."""
    found = error
    for _ in range(8):
        cause = found.__cause__ or (found.__context__ if not found.__suppress_context__ else None)
        wrapped = isinstance(found, (errors.LocalEntryNotFoundError, ValueError, RuntimeError))
        if _status(found) is not None or not wrapped or not isinstance(cause, Exception):
            return found
        found = cause
    return found


def _status(error: Exception) -> int | None:
    # LFS storage answers without the Hub's headers, so its errors are of the HTTP library's own.
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None) if isinstance(error, errors.HTTPError) else None


def _wait(error: Exception) -> int | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(1, round(float(headers.get("Retry-After", ""))))
    except (TypeError, ValueError):
        return None


def _words(error: Exception) -> str:
    """What the Hub said, in one line."""
    said = getattr(error, "server_message", None) or ""
    if not said and (response := getattr(error, "response", None)) is not None:
        said = response.headers.get("X-Error-Message", "")
    lines = [line.strip() for line in str(said or error).splitlines() if line.strip()]
    words = "; ".join(lines) or type(error).__name__
    printable = "".join(mark for mark in words if mark.isprintable())
    return printable if len(printable) <= _MOST_WORDS else f"{printable[: _MOST_WORDS - 1]}…"


def _first_line(error: Exception) -> str:
    return _words(error).split("; ")[0]
