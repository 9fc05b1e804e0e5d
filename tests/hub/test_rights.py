"""What the Hub says of a token, and whether it may write."""

import pytest

from cifar10_s.hub.rights import missing_right

REPO = "acme/digits-s"


def account(role="write", org="admin", **scopes):
    scoped = [{"entity": {"name": name}, "permissions": permissions} for name, permissions in scopes.items()]
    token = {"role": role, "fineGrained": {"scoped": scoped}}
    orgs = [] if org is None else [{"name": "ACME", "roleInOrg": org}]
    return {"name": "ada", "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (account(), None),
        (account(org="contributor"), None),
        (account(org=None), "belongs to ada, who is not a member of acme"),
        (account(org="read"), "belongs to ada, who may only read in acme"),
        (account(role="read"), "may only read"),
        (account(role="fineGrained"), "is fine-grained, without the permission to write to datasets of acme"),
        (account(role="fineGrained", acme=["repo.content.read"]), "is fine-grained, without"),
        (account(role="fineGrained", ada=["repo.write"]), "is fine-grained, without"),
        (account(role="fineGrained", acme=["repo.content.read", "repo.write"]), None),
        (account(role="fineGrained", **{REPO: ["repo.write"]}), None),
        # What does not say how it was made is left to the Hub.
        ({"name": "acme"}, None),
        ({"name": "acme", "orgs": None, "auth": None}, None),
    ],
)
def test_a_token_that_may_not_write_is_told(given, missing):
    found = missing_right(given, REPO)
    assert found is None if missing is None else found.startswith(missing)
