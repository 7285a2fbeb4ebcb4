"""JSONata as definitions use it: what comes out is JSON, and what comes to nothing is told."""

import subprocess
import sys

import pytest

from interlock.backends.asl.expressions import Expression, NotEvaluated, fill, template


def value(text, variables=None, **states):
    return Expression(text).evaluate(states, variables or {})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$states.input.n * 2", 84),
        ("4 / 2", 2),
        ("$states.input.none", None),
        ("$exists($states.input.missing) ? $states.input.missing : 5", 5),
        ("$states.input.one", [7]),
        ("[$states.input.items[kind='b'].n]", [2]),
        ("$count($states.input.items[kind='z'])", 0),
        ("{'a': $states.input.missing, 'b': 1}", {"b": 1}),
        ("$parse('[1, null]')", [1, None]),
        ("'a' in ['a', 'b'] and $not(false)", True),
        ("$string($states.input.n) & '/x'", "42/x"),
        ("$x", None),
        ("$y.z", 1),
        ("$states.input.large", 12345678901234567),
    ],
)
def test_expression_comes_to_json(text, result):
    given = {"n": 42, "none": None, "one": [7], "items": [{"kind": "a", "n": 1}, {"kind": "b", "n": 2}]}
    found = value(text, {"x": None, "y": {"z": 1}}, input=given | {"large": 12345678901234567})
    assert found == result and type(found) is type(result)


@pytest.mark.parametrize(
    "text", ["$states.input.missing", "$unknown", "$states.input.a + 'x'", "1 / 0", "$number('x')"]
)
def test_expression_that_comes_to_nothing_or_does_not_fit_is_told(text):
    with pytest.raises(NotEvaluated):
        value(text, input={"a": 1})


def test_what_is_evaluated_is_a_copy():
    given = {"list": [1]}
    value("$states.input", input=given)["list"].append(2)
    assert given == {"list": [1]}


def test_template_is_filled_at_every_depth_and_the_rest_stays():
    made = template({"a": ["{% 1 + 1 %}", "{% not closed", {"b": "{%$states.input%}"}], "c": 3})
    assert fill(made, {"input": "x"}, {}) == {"a": [2, "{% not closed", {"b": "x"}], "c": 3}


@pytest.mark.parametrize("name", ["now", "millis", "random", "uuid", "eval", "shuffle", "hash", "range", "partition"])
def test_function_that_is_not_implemented_is_refused(name):
    with pytest.raises(ValueError, match="not implemented"):
        Expression(f"${name}()")


def test_name_of_a_function_in_a_text_is_no_call():
    assert value("'$now()'") == "$now()"


def test_process_keeps_its_own_limit_of_recursion():
    """The library raises it when it is loaded, and then bodies nested too deeply are read on."""
    program = (
        "import sys; before = sys.getrecursionlimit(); import interlock.backends.asl.workflows;"
        "print('jsonata' in sys.modules, before == sys.getrecursionlimit())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
