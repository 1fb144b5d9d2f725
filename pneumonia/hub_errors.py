"""One error type for the many that huggingface_hub raises, with a sentence that a person can act
on.
"""

from __future__ import annotations

from typing import NoReturn

from huggingface_hub import errors


class HubError(Exception):
    """Something could not be had from the Hub or brought to it; the message is one sentence that
    says why and what to do.

    Attributes:
        reason: ``name`` (no repository name), ``offline``, ``network`` (no or no sensible answer),
            ``token`` (missing or not accepted), ``rights``, ``repository`` or ``revision`` (does
            not exist), ``foreign`` (not a bundle of this project, or altered), ``cache`` (nothing
            usable on disk), ``disk``, ``busy`` (still downloading) or ``refused`` (any other answer
            of the Hub).
    """

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


def explain(error: Exception, what: str, user: str | None) -> NoReturn:
    """Raises the HubError that says in one sentence what one of huggingface_hub's many errors
    means.
    """
    if str(error).startswith("Invalid metadata"):
        raise HubError(
            f"The Hub refuses the card of {what}: {' '.join(str(error).split())}", "refused"
        ) from error
    # Where a file could not be had, huggingface_hub wraps the reason in one or two errors of its
    # own.
    while (
        isinstance(error, (errors.LocalEntryNotFoundError, ValueError))
        and _status(error) is None
        and isinstance(error.__cause__, Exception)
    ):
        error = error.__cause__
    status = _status(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        raised = HubError(f"HF_HUB_OFFLINE is set, so {what} was not asked for.", "offline")
    elif isinstance(error, errors.GatedRepoError):
        raised = HubError(f"Access to {what} must first be granted on its page.", "rights")
    elif isinstance(error, errors.RevisionNotFoundError):
        raised = HubError(f"There is no such revision: {what}.", "revision")
    elif isinstance(error, errors.RemoteEntryNotFoundError):
        raised = HubError(f"The Hub does not have {what}.", "foreign")
    elif isinstance(error, errors.RepositoryNotFoundError) and user is None:
        raised = HubError(
            f"The Hub knows no {what}, or it is private and the token may not see it.", "repository"
        )
    elif status == 401:
        raised = HubError(
            "The Hub does not accept this token; make a new one in your settings there and run `hf"
            " auth login`, or set HF_TOKEN.",
            "token",
        )
    elif status == 403 or isinstance(error, errors.RepositoryNotFoundError):
        writer = f"{user} may not write to" if user else "This token gives no access to"
        raised = HubError(
            f"{writer} {what}; use a namespace of your own, or a token with write access to this"
            " one.",
            "rights",
        )
    elif status is not None and status < 500 and status not in (408, 429):
        raised = HubError(
            f"The Hub refused the request for {what} ({status}): {_first_line(error)}", "refused"
        )
    elif isinstance(
        error,
        (
            errors.HTTPError,
            errors.FileMetadataError,
            errors.LocalEntryNotFoundError,
            ConnectionError,
            TimeoutError,
        ),
    ):
        raised = HubError(
            f"The Hub could not be reached for {what}"
            f" ({f'it answered {status}' if status else type(error).__name__}).",
            "network",
        )
    elif isinstance(error, OSError) and "Consistency check" not in str(error):
        raised = HubError(
            f"{what} could not be kept on disk ({type(error).__name__}: {_first_line(error)}).",
            "disk",
        )
    else:
        raised = HubError(
            f"The Hub's answer for {what} makes no sense ({_first_line(error)}).", "network"
        )
    raise raised from error


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None


def _first_line(error: Exception) -> str:
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
