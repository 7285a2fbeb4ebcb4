"""What is refused as YAML, before any field is looked at."""

import pytest
import yaml

from interlock.core.desk.slo.openslo import read_slos
from interlock.core.kernel.errors import Invalid
from tests.core.desk.slo.objectives import DEFAULT, DOCUMENT, changed, codes_of, faults_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        ("# nothing\n---\n", "empty"),
        ("apiVersion: openslo/v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n", "empty"),
        ("just words", "not_a_table"),
        ("- a\n- b", "not_a_table"),
        ("a: [", "not_yaml"),
        ("a: \x00", "not_yaml"),
        ("a: \ud800", "not_text"),
        ("\t- a: b", "not_yaml"),
        ("x" * 1_000_001, "too_large"),
        ("[" * 5_000, "too_deep"),
        ("{a: " * 5_000, "too_deep"),
    ],
)
def test_what_is_no_file_of_objectives_is_refused(text, code):
    assert code in [fault.code for fault in faults_of(text)]


def test_bytes_count_and_not_characters():
    assert [fault.code for fault in faults_of("# " + "ü" * 500_000)] == ["too_large"]


def test_alias_bomb_is_refused_at_its_first_alias_and_never_expanded():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{below}'] * 9)}]\n" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    told = faults_of(bomb)
    assert ("/0/a", "anchor") in [(fault.pointer, fault.code) for fault in told]
    assert ("/0/b/0", "alias") in [(fault.pointer, fault.code) for fault in told]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!str", "!mine", "!!binary"])
def test_tag_is_refused_and_nothing_is_made_of_it(tag):
    assert ("/0/spec/service", "tag") in codes_of(changed("service: payments", f"service: {tag} payments"))


def test_key_twice_is_refused_with_both_lines():
    (fault,) = faults_of(changed("  service: payments\n", "  service: payments\n  service: others\n"))
    assert (fault.pointer, fault.code) == ("/0/spec/service", "repeated")
    assert fault.detail == "line 9: service stands here twice, first on line 8"


def test_merge_key_is_a_field_like_any_other_and_unknown():
    assert ("/0/spec/<<", "unknown_field") in codes_of(
        changed("  service: payments\n", "  service: payments\n  <<: {a: b}\n")
    )


def test_faults_of_a_file_of_rubbish_are_limited():
    assert len(faults_of("a: 1\n---\n" * 3_000)) == 100
    assert len(faults_of("".join(f"k{i}: &x 1\n" for i in range(3_000)))) == 100


@pytest.mark.parametrize(
    "text", [DOCUMENT, DEFAULT, DOCUMENT.replace("28d", "&a 1M"), DEFAULT + "x: *y", "a: [", "a: \x00"]
)
def test_parser_without_its_part_in_c_reads_the_same(monkeypatch, text):
    def told():
        try:
            return read_slos(text)
        except Invalid as refused:
            return [(fault.pointer, fault.code, fault.detail.partition(":")[0]) for fault in refused.faults]

    with_c = told()
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert told() == with_c
