"""Who is logged in to the Hub, where they may write, and what is there already.

A token is used and passed on, never stored, printed or put into a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError, RepositoryNotFoundError

from seg_demo.errors import BadRequestError
from seg_demo.models import hub_client
from seg_demo.settings import settings

WRITING_ROLES = ("admin", "write", "contributor")


@dataclass(frozen=True)
class Login:
    """Who is logged in.

    Attributes:
        name: of the user.
        role: of the token: ``read``, ``write``, ``fineGrained``, or empty if the Hub does not say.
        orgs: the user's role by organisation.
        scopes: for a fine-grained token, the users, organisations and repositories it may write to; else None.
    """

    name: str
    role: str
    orgs: dict[str, str]
    scopes: frozenset[str] | None


def whoami(token: str | None = None) -> Login:
    """Who a token belongs to.

    Args:
        token: None takes the login of this machine.

    Raises:
        BadRequestError: nobody is logged in, or the Hub does not know the token.
        HubUnavailableError: the Hub does not answer within ``hub_timeout`` seconds.
    """
    try:
        answer = hub_client.within(settings().hub_timeout, lambda: HfApi(token=token).whoami())
    except LocalTokenNotFoundError:
        raise BadRequestError("You are not logged in to the Hub. Log in with `hf auth login`, or set HF_TOKEN.") from None
    except hub_client.TRANSPORT_ERRORS as error:
        if hub_client.status_of(error) in (401, 403):
            raise BadRequestError(
                "The Hub does not accept the login token. Log in again with `hf auth login`, or correct HF_TOKEN."
            ) from None
        raise hub_client.unavailable(error, "nothing can be pushed now") from error
    orgs = {org["name"]: org.get("roleInOrg") or "" for org in answer.get("orgs") or ()}
    access = (answer.get("auth") or {}).get("accessToken") or {}
    fine = access.get("fineGrained")
    return Login(answer["name"], access.get("role") or "", orgs, None if fine is None else _write_scopes(fine))


def _write_scopes(fine: dict[str, Any]) -> frozenset[str]:
    """Names of the entities that a fine-grained token may write repositories of."""
    scoped = fine.get("scoped") or ()
    return frozenset(each["entity"]["name"] for each in scoped if "repo.write" in (each.get("permissions") or ()))


def can_write(repo_id: str, token: str | None = None) -> bool:
    """Check, before hours of training, that a push would be allowed.

    Args:
        repo_id: ``user/repo``; it need not exist.
        token: None takes the login of this machine.

    Returns:
        True.

    Raises:
        BadRequestError: nobody is logged in, or this login may not write there; the message says why.
        HubUnavailableError: the Hub does not answer.
    """
    login = whoami(token)
    namespace = repo_id.split("/")[0]
    if login.role == "read":
        raise BadRequestError(f"The token of {login.name} may only read. Create one with write permission, and log in with it.")
    if login.scopes is not None and not login.scopes & {namespace, repo_id}:
        raise BadRequestError(f"The fine-grained token of {login.name} may not write to {repo_id}. Give it that permission.")
    if namespace != login.name and login.orgs.get(namespace) not in WRITING_ROLES:
        role = login.orgs.get(namespace)
        why = f"has only the role {role!r} in {namespace}" if role else f"is not a member of {namespace}"
        raise BadRequestError(f"{login.name} {why} and may not push to {repo_id}. Push to {login.name}/... instead.")
    try:
        hub_client.within(settings().hub_timeout, lambda: HfApi(token=token).auth_check(repo_id, write=True))
    except RepositoryNotFoundError:
        return True  # it will be created
    except hub_client.TRANSPORT_ERRORS as error:
        if hub_client.status_of(error) in (401, 403):
            raise BadRequestError(f"{login.name} may not write to the existing repository {repo_id}.") from None
        raise hub_client.unavailable(error, "nothing can be pushed now") from error
    return True


@dataclass(frozen=True)
class Head:
    """What is in a repository now.

    Attributes:
        sha: the newest commit of the default branch.
        private: whether only its owner sees it.
    """

    sha: str
    private: bool


def head(repo_id: str, token: str | None = None) -> Head | None:
    """The newest commit of a repository.

    Args:
        repo_id: ``user/repo``.
        token: None takes the login of this machine.

    Returns:
        None if there is no such repository that this login may see.

    Raises:
        HubUnavailableError: the Hub does not answer within ``hub_timeout`` seconds.
    """
    try:
        info = hub_client.within(settings().hub_timeout, lambda: HfApi(token=token).model_info(repo_id))
    except RepositoryNotFoundError:
        return None
    except hub_client.TRANSPORT_ERRORS as error:
        raise hub_client.unavailable(error, f"{repo_id} cannot be looked at now") from error
    return Head(info.sha, bool(info.private))
