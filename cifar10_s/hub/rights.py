"""Tell from the Hub's account of a token whether it may write to a dataset."""

from collections.abc import Mapping
from typing import Any


def missing_right(account: Mapping[str, Any], repo_id: str) -> str | None:
    """Return why a token may not write to a dataset; None if it may, or if the account does not say.

    Parameters
    ----------
    account
        What the Hub answers to ``whoami``: name, organizations, and the token's role and permissions.
    repo_id
        ``<namespace>/<name>``.

    Examples
    --------
    >>> missing_right({"name": "ada", "orgs": []}, "ada/digits-s")
    >>> missing_right({"name": "ada", "orgs": []}, "acme/digits-s")
    'belongs to ada, who is not a member of acme'
    """
    namespace = repo_id.partition("/")[0].lower()
    name = str(account.get("name", ""))
    roles = {str(org.get("name")).lower(): org.get("roleInOrg") for org in account.get("orgs") or []}
    if namespace not in (name.lower(), *roles):
        return f"belongs to {name}, who is not a member of {namespace}"
    if roles.get(namespace) == "read":
        return f"belongs to {name}, who may only read in {namespace}"
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        return "may only read"
    if token.get("role") == "fineGrained" and not _may_write(token, {namespace, repo_id.lower()}):
        return f"is fine-grained, without the permission to write to datasets of {namespace}"
    return None


def _may_write(token: Mapping[str, Any], names: set[str]) -> bool:
    """Return whether a fine-grained token has any permission to write to a namespace or dataset of these names."""
    scopes = (token.get("fineGrained") or {}).get("scoped") or []
    own = (scope for scope in scopes if str((scope.get("entity") or {}).get("name")).lower() in names)
    return any("write" in permission for scope in own for permission in scope.get("permissions") or [])
