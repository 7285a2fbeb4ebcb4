"""Client secrets: what is kept of them, which work, and how they are compared."""

import ast
import hmac
import inspect

import pytest

from interlock.core.access import credentials
from interlock.core.access.credentials import new_secret, secret_matches, superseded
from interlock.core.kernel.clock import DAY, HOUR
from tests.core.access.world import scripted_bytes

NOW = 1_800_000_000_000


def test_secret_holds_256_random_bits_and_only_a_salted_digest_is_kept():
    token_bytes = scripted_bytes()
    first, kept = new_secret(token_bytes, NOW)
    second, other = new_secret(lambda n: b"\1" * n, NOW)
    assert first.reveal().startswith("ics_")
    assert len(first.reveal()) == len("ics_") + 43
    assert first.reveal() not in repr(kept) + kept.salt + kept.digest
    assert kept.digest not in repr(kept)
    assert kept.salt != other.salt
    assert first != second


def test_equal_secrets_look_different_in_the_store():
    calls = iter([b"s" * 32, b"a" * 16, b"s" * 32, b"b" * 16])
    first, kept = new_secret(lambda n: next(calls), NOW)
    second, other = new_secret(lambda n: next(calls), NOW)
    assert first == second
    assert kept.digest != other.digest


def test_right_secret_matches_and_near_misses_do_not():
    secret, kept = new_secret(scripted_bytes(), NOW)
    text = secret.reveal()
    assert secret_matches((kept,), text, NOW)
    for wrong in ("", text[:-1], text + "x", text.upper(), " " + text, "x" * 100_000, "é", "\ud800"):
        assert not secret_matches((kept,), wrong, NOW)


def test_no_secret_matches_when_there_is_none():
    assert not secret_matches((), "", NOW)
    assert not secret_matches((), "ics_anything", NOW)


def test_rotated_secret_works_beside_the_new_one_for_the_grace_period_only():
    token_bytes = scripted_bytes()
    old, kept_old = new_secret(token_bytes, NOW)
    new, kept_new = new_secret(token_bytes, NOW + HOUR)
    both = superseded((kept_old,), kept_new, grace=DAY)
    ends = NOW + HOUR + DAY
    assert secret_matches(both, new.reveal(), ends + DAY)
    assert secret_matches(both, old.reveal(), ends - 1)
    assert not secret_matches(both, old.reveal(), ends)


def test_rotation_without_grace_ends_the_old_secret_at_once():
    token_bytes = scripted_bytes()
    old, kept_old = new_secret(token_bytes, NOW)
    _, kept_new = new_secret(token_bytes, NOW)
    assert superseded((kept_old,), kept_new, grace=0) == (kept_new,)
    assert not secret_matches((kept_new,), old.reveal(), NOW)


def test_rotating_twice_leaves_two_secrets_and_never_prolongs_one():
    token_bytes = scripted_bytes()
    first, kept_first = new_secret(token_bytes, NOW)
    _, kept_second = new_secret(token_bytes, NOW)
    third, kept_third = new_secret(token_bytes, NOW + HOUR)
    after_two = superseded((kept_first,), kept_second, grace=2 * HOUR)
    after_three = superseded(after_two, kept_third, grace=30 * DAY)
    assert len(after_three) == 2
    assert secret_matches(after_three, third.reveal(), NOW + HOUR)
    assert not secret_matches(after_three, first.reveal(), NOW + HOUR)


@pytest.mark.parametrize("candidates", [0, 1, 2])
def test_every_candidate_is_compared_in_constant_time_whatever_matches(candidates, monkeypatch):
    token_bytes = scripted_bytes()
    made = [new_secret(token_bytes, NOW) for _ in range(candidates)]
    compared = []

    def compare(left, right):
        compared.append((left, right))
        return hmac_compare(left, right)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(credentials.hmac, "compare_digest", compare)
    presented = made[0][0].reveal() if made else "ics_x"
    secret_matches([kept for _, kept in made], presented, NOW)
    assert len(compared) == max(1, candidates)


def test_no_digest_is_compared_with_an_operator():
    tree = ast.parse(inspect.getsource(credentials))
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert compared, "the check below looks at nothing"
    assert not [text for text in compared if "digest" in text or "presented" in text.replace("len(presented)", "")]
