"""Invitations: they let one person in once, and only a hash of them is kept."""

import pytest
import sqlalchemy as sa

from rlhf_ext.data.store import (
    Annotators,
    ExpiredToken,
    FeedbackStore,
    InvitationError,
    RevokedToken,
    UsedToken,
    WrongToken,
)


@pytest.fixture
def annotators(url):
    return Annotators(FeedbackStore(url))


def state(annotators, name):
    [one] = [one for one in annotators.list() if one.name == name]
    return one.state


def test_a_token_works_once_and_tells_what_is_wrong_with_it(annotators, pass_time):
    token = annotators.invite("Ann")
    ann = annotators.redeem(token)
    assert "Ann" not in ann and annotators.is_active(ann)
    with pytest.raises(UsedToken, match="has been used"):
        annotators.redeem(token)
    for wrong in ("", token[:-1], token + "x", token.swapcase(), "\ud800", "' OR 1=1 --"):
        with pytest.raises(WrongToken, match="no such invitation"):
            annotators.redeem(wrong)
    soon = annotators.invite("Bob", days=2)
    pass_time(2 * 86400 + 1)
    with pytest.raises(ExpiredToken, match="run out"):
        annotators.redeem(soon)
    assert issubclass(ExpiredToken, InvitationError) and issubclass(InvitationError, ValueError)


def test_the_token_itself_is_not_stored(annotators):
    token = annotators.invite("Ann")
    with annotators.store.database.reading() as connection:
        for table in sa.inspect(connection).get_table_names():
            for row in connection.execute(sa.text(f"SELECT * FROM {table}")):
                assert token not in map(str, row)
    assert len(token) >= 32 and annotators.invite("Ann") != token


def test_revoked_people_and_tokens_get_in_no_more(annotators):
    used, unused = annotators.invite("Ann"), annotators.invite("Bob")
    ann = annotators.redeem(used)
    bob = next(one.id for one in annotators.list() if one.name == "Bob")
    annotators.revoke(ann)
    annotators.revoke(bob)
    assert not annotators.is_active(ann)
    for token in (used, unused):
        with pytest.raises(RevokedToken):
            annotators.redeem(token)
    with pytest.raises(LookupError, match="no annotator 'nobody'"):
        annotators.revoke("nobody")


def test_a_token_issued_anew_is_for_the_same_person_and_replaces_the_older(annotators):
    first = annotators.invite("Ann")
    [ann] = annotators.list()
    second = annotators.reissue(ann.id)
    with pytest.raises(RevokedToken, match="replaced by a newer one"):
        annotators.redeem(first)
    assert annotators.redeem(second) == ann.id
    annotators.revoke(ann.id)
    third = annotators.reissue(ann.id)
    assert annotators.redeem(third) == ann.id and annotators.is_active(ann.id)
    with pytest.raises(LookupError, match="no annotator 'nobody'"):
        annotators.reissue("nobody")


def test_the_list_says_how_each_stands(annotators):
    for name in ("Zoë", "Ann", "Bob", "Cy"):
        token = annotators.invite(name, days=14 if name != "Cy" else 1e-9)
        if name == "Ann":
            annotators.redeem(token)
    annotators.revoke(annotators.list()[2].id)
    assert [(one.name, one.state) for one in annotators.list()] == [
        ("Zoë", "invited"),
        ("Ann", "active"),
        ("Bob", "revoked"),
        ("Cy", "expired"),
    ]
    assert not annotators.is_active("nobody")


def test_someone_who_is_invited_again_after_using_a_token_is_still_active(annotators):
    ann = annotators.redeem(annotators.invite("Ann"))
    annotators.reissue(ann)
    assert state(annotators, "Ann") == "active"


@pytest.mark.parametrize(("name", "days"), [("", 14), ("a\nb", 14), ("Ann", 0), ("Ann", float("nan"))])
def test_mistakes_are_named_and_nobody_is_invited(annotators, name, days):
    with pytest.raises(ValueError, match=r"`name` should be|`days` should be positive"):
        annotators.invite(name, days)
    assert annotators.list() == []
