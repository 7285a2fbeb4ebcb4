"""How Secrets on Secrets Manager are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

SECRETS = "test_secrets.py::test_"
ON_AWS = "test_secrets_on_aws.py::test_"


def aws(name: str, old: str, new: str, test: str) -> Breakage:
    only = "secretsmanager" if test.startswith(SECRETS) else ""
    return Breakage(f"aws secrets: {name}", "backends/aws/secrets.py", old, new, test, only)


BREAKAGES = (
    aws(
        "only the newest value is kept",
        "json.dumps([value.reveal() for value in values])",
        "json.dumps([value.reveal() for value in values[:1]])",
        f"{SECRETS}values_come_back_elsewhere_newest_first",
    ),
    aws(
        "the list remembered is handed out",
        "            return list(kept.values)",
        "            return kept.values",
        f"{ON_AWS}changing_the_list_got_from_memory_changes_nothing",
    ),
    aws(
        "the list to remember is handed out",
        "        return list(values)\n\n    async def put",
        "        return values\n\n    async def put",
        f"{SECRETS}changing_the_list_given_or_got_changes_nothing",
    ),
    aws(
        "values are remembered for good",
        "if kept is not None and self._clock.monotonic() < kept.until:",
        "if kept is not None:",
        f"{SECRETS}change_made_elsewhere_is_seen_after_values_were_read_before",
    ),
    aws(
        "values are remembered a little too long",
        "self._clock.monotonic() < kept.until:",
        "self._clock.monotonic() <= kept.until:",
        f"{ON_AWS}values_are_remembered_for_a_minute_and_no_longer",
    ),
    aws(
        "nothing is remembered",
        "        self._cached[name] = _Kept(began + self._cache_s, values)\n",
        "",
        f"{ON_AWS}values_are_remembered_for_a_minute_and_no_longer",
    ),
    aws(
        "a put leaves the old values remembered",
        "            self._puts += 1\n            self._cached.pop(name, None)\n",
        "            self._puts += 1\n",
        f"{ON_AWS}long_values_stand_in_parts_which_go_when_they_are_replaced",
    ),
    aws(
        "names are AWS's",
        "one if _PLAIN.fullmatch(one) else",
        "one if one else",
        f"{ON_AWS}every_name_has_a_secret_of_its_own_in_the_alphabet_of_aws",
    ),
    aws(
        "the sign of an encoded byte is a letter like others",
        r'_PLAIN = re.compile(r"[A-Za-z0-9/_.@+-]")',
        r'_PLAIN = re.compile(r"[A-Za-z0-9/_.@+=-]")',
        f"{ON_AWS}every_name_has_a_secret_of_its_own_in_the_alphabet_of_aws",
    ),
    aws(
        "names are of any length",
        "if not name or len(secret_id) > NAME_MOST:",
        "if not name:",
        f"{ON_AWS}name_that_is_empty_or_too_long_is_invalid",
    ),
    aws(
        "long values stand in one secret",
        "            if len(text) <= PART_MOST:",
        "            if True:",
        f"{ON_AWS}long_values_stand_in_parts_which_go_when_they_are_replaced",
    ),
    aws(
        "parts are left behind",
        "            await self._forget_parts(_parts(secret_id, old))",
        "            pass",
        f"{ON_AWS}long_values_stand_in_parts_which_go_when_they_are_replaced",
    ),
    aws(
        "values of any length are taken",
        "        if len(text) > PART_MOST * PARTS_MOST:",
        "        if False:",
        f"{ON_AWS}values_of_more_than_all_parts_are_invalid_and_the_old_ones_stay",
    ),
    aws(
        "a secret scheduled for deletion is an error",
        'return refused.code == STATE and "deletion" in str(refused)',
        "return False",
        f"{ON_AWS}secret_scheduled_for_deletion_is_none_until_it_is_put_again",
    ),
    aws(
        "an unknown name is an error",
        "            if refused.code == ABSENT or _is_scheduled(refused):",
        "            if _is_scheduled(refused):",
        f"{SECRETS}unknown_name_has_no_values",
    ),
    aws(
        "a secret in another form is quoted",
        'raise StoreUnavailable("a secret is no JSON list of texts: write it as one, newest first")',
        'raise StoreUnavailable(f"a secret is no JSON list of texts: {text}")',
        f"{ON_AWS}secret_written_by_hand_in_another_form_is_refused_and_not_quoted",
    ),
    aws(
        "a secret in another form goes along with the error",
        "    except ValueError:  # which would carry the text along\n        return None",
        "    except ValueError as error:\n        raise StoreUnavailable('no JSON list') from RuntimeError(text, error)",
        f"{ON_AWS}secret_written_by_hand_in_another_form_is_refused_and_not_quoted",
    ),
)
