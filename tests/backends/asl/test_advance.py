"""What follows from what, one advance after another: no store, no queue, no time but the test's."""

import pytest

from interlock.backends.asl.advance import HAPPENINGS_AT_ONCE
from interlock.backends.asl.run import JobKind, encode_run
from interlock.core.kernel.workflows import PAYLOAD_BYTES_MAX, Happening, Status, What
from tests.backends.asl.machines import NOW, Played, task

PASS = {"Type": "Pass", "End": True}


def ended(played):
    return played.run.status, played.run.output, played.run.error


def retrier(*errors, **fields):
    return {"ErrorEquals": list(errors), **fields}


# -- tasks and their answers -------------------------------------------------------------------------------------------


def test_answer_of_a_step_comes_in_an_envelope_and_becomes_the_output():
    played = Played({"A": task()}, {"n": 1})
    assert played.payload() == {"n": 1}
    played.answer(7)
    assert ended(played) == (Status.SUCCEEDED, {"StatusCode": 200, "Payload": 7}, None)


def test_answer_to_a_token_comes_bare():
    played = Played({"A": task("ask", token=True, payload="{% $states.context.Task.Token %}")})
    assert played.job().kind is JobKind.TOKEN and len(played.payload()) > 20
    played.answer({"by": "bob"})
    assert ended(played) == (Status.SUCCEEDED, {"by": "bob"}, None)


def test_output_and_variables_are_made_of_input_result_and_older_variables():
    played = Played(
        {
            "A": {"Type": "Pass", "Assign": {"x": "{% $states.input.n %}", "none": None}, "Next": "B"},
            "B": task(
                Output="{% $states.result.Payload + $states.input.n %}",
                Assign={"x": "{% $x + 1 %}", "y": "{% $x %}"},
                Next="C",
            ),
            "C": PASS | {"Output": ["{% $x %}", "{% $y %}", "{% $none %}", "{% $states.input %}", "as it is"]},
        },
        {"n": 10},
    )
    played.answer(5)
    assert ended(played) == (Status.SUCCEEDED, [11, 10, None, 15, "as it is"], None)


def test_step_and_its_time_are_sent_for_together():
    played = Played({"A": task(TimeoutSeconds=60)})
    timer, step = played.last.errands
    assert (timer.runs_step, timer.due) == (False, NOW + 60_000)
    assert (step.runs_step, step.due) == (True, NOW)
    assert timer.job == step.job == played.job().id


def test_time_of_a_task_may_be_worked_out():
    played = Played({"A": task(TimeoutSeconds="{% $states.input.s %}")}, {"s": 5})
    assert played.ring() == 5
    assert ended(played) == (Status.FAILED, None, "States.Timeout")


def test_task_without_a_beat_fails_before_its_time():
    played = Played({"A": task("ask", token=True, TimeoutSeconds=60, HeartbeatSeconds=20)})
    assert played.ring() == 20
    assert ended(played) == (Status.FAILED, None, "States.HeartbeatTimeout")


# -- retry and catch ---------------------------------------------------------------------------------------------------


def test_pauses_grow_by_the_rate_up_to_the_most_and_no_try_is_made_beyond_the_last():
    policy = retrier("X", IntervalSeconds=2, BackoffRate=3.0, MaxAttempts=4, MaxDelaySeconds=20)
    played = Played({"A": task(Retry=[policy])})
    pauses = []
    for _ in range(4):
        played.fail("X")
        pauses.append(played.ring())
    assert pauses == [2, 6, 18, 20]
    played.fail("X", "why")
    assert (*ended(played), played.run.cause) == (Status.FAILED, None, "X", "why")
    assert [one.what for one in played.history] == [
        *[What.ENTERED, What.FAILED],
        *[What.RETRIED, What.FAILED] * 4,
    ]


def test_jitter_is_a_part_of_the_pause():
    policy = retrier("States.ALL", IntervalSeconds=8, JitterStrategy="FULL")
    played = Played({"A": task(Retry=[policy])}, chance=0.25)
    played.fail("X")
    assert played.ring() == 2


def test_each_retrier_counts_by_itself_and_the_first_that_matches_decides():
    policies = [retrier("X", "Y", MaxAttempts=1), retrier("States.ALL", MaxAttempts=1)]
    played = Played({"A": task(Retry=policies)})
    for error in ("X", "Z"):
        played.fail(error)
        played.ring()
    played.fail("Y")
    assert ended(played) == (Status.FAILED, None, "Y")


def test_coming_back_to_a_state_begins_its_count_anew():
    again = {"ErrorEquals": ["States.ALL"], "Next": "A"}
    played = Played({"A": task(Retry=[retrier("X", MaxAttempts=1)], Catch=[again])})
    for _ in range(3):
        played.fail("X")
        played.ring()
        played.fail("X")
    assert played.run.status is Status.RUNNING


def test_first_catcher_that_matches_takes_the_error_with_its_cause():
    catch = [
        {"ErrorEquals": ["Y"], "Next": "Wrong"},
        {"ErrorEquals": ["X"], "Assign": {"e": "{% $states.errorOutput.Error %}"}, "Next": "Mended"},
        {"ErrorEquals": ["States.ALL"], "Next": "Wrong"},
    ]
    states = {"A": task(Catch=catch), "Mended": PASS | {"Output": ["{% $e %}", "{% $states.input.Cause %}"]}}
    played = Played(states | {"Wrong": {"Type": "Fail", "Error": "Wrong"}})
    played.fail("X", "because")
    assert ended(played) == (Status.SUCCEEDED, ["X", "because"], None)


def test_task_failed_means_any_error_but_the_time():
    catch = [{"ErrorEquals": ["States.TaskFailed"], "Next": "Mended"}]
    states = {"A": task(Catch=catch), "Mended": PASS}
    failed, late = Played(states), Played(states)
    failed.fail("Anything")
    late.ring()
    assert failed.run.status is Status.SUCCEEDED
    assert ended(late) == (Status.FAILED, None, "States.Timeout")


def test_expression_that_comes_to_nothing_is_an_error_that_can_be_caught():
    catch = [{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Mended"}]
    played = Played({"A": task(payload="{% $states.input.missing %}", Catch=catch), "Mended": PASS}, {})
    assert played.run.status is Status.SUCCEEDED
    assert [one.runs_step for one in played.last.errands] == []
    plain = Played({"A": PASS | {"Output": "{% $states.input.missing %}"}}, {})
    assert ended(plain) == (Status.FAILED, None, "States.QueryEvaluationError")
    assert "comes to nothing" in plain.run.cause


def test_what_is_too_large_ends_it_and_no_catcher_of_all_errors_sees_it():
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Mended"}]
    played = Played({"A": task(Retry=[retrier("States.ALL")], Catch=catch), "Mended": PASS})
    played.answer("x" * PAYLOAD_BYTES_MAX)
    assert ended(played) == (Status.FAILED, None, "States.DataLimitExceeded")


def test_answer_that_is_no_json_ends_it_likewise():
    played = Played({"A": task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Mended"}]), "Mended": PASS})
    played.answer(object())
    assert ended(played) == (Status.FAILED, None, "States.Runtime")


# -- choice, wait, succeed, fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "output"), [(1, "one"), (2, "many"), (None, "many")])
def test_first_condition_that_is_true_decides(n, output):
    choices = [{"Condition": "{% $states.input.n = 1 %}", "Next": "One"}]
    states = {"A": {"Type": "Choice", "Choices": choices, "Default": "Many"}}
    states |= {"One": PASS | {"Output": "one"}, "Many": PASS | {"Output": "many"}}
    assert ended(Played(states, {"n": n})) == (Status.SUCCEEDED, output, None)


def test_no_condition_and_no_default_is_an_error():
    choices = [{"Condition": "{% false %}", "Next": "A"}]
    assert ended(Played({"A": {"Type": "Choice", "Choices": choices}})) == (
        Status.FAILED,
        None,
        "States.NoChoiceMatched",
    )


def test_wait_hands_its_input_on_when_the_time_has_come():
    played = Played({"A": {"Type": "Wait", "Seconds": "{% $states.input.s * 2 %}", "End": True}}, {"s": 30})
    assert played.ring() == 60
    assert ended(played) == (Status.SUCCEEDED, {"s": 30}, None)


def test_wait_for_a_time_that_is_over_is_due_at_once():
    played = Played({"A": {"Type": "Wait", "Timestamp": "2020-01-01T00:00:00Z", "End": True}})
    assert played.job().due < NOW
    played.ring()
    assert played.run.status is Status.SUCCEEDED


def test_endless_loop_takes_its_turns_and_is_ended():
    played = Played({"A": {"Type": "Pass", "Next": "A"}})
    assert played.job().kind is JobKind.MORE
    assert len(played.last.happenings) <= HAPPENINGS_AT_ONCE + 2
    while played.run.status is Status.RUNNING:
        played.ring()
    assert ended(played) == (Status.FAILED, None, "States.Runtime")


# -- map ---------------------------------------------------------------------------------------------------------------


def mapped(processor=None, **fields):
    inner = processor or {"Work": task()}
    machine = {"StartAt": next(iter(inner)), "States": inner}
    way_on = {} if "Next" in fields else {"End": True}
    return {"Type": "Map", "Items": "{% $states.input %}", "ItemProcessor": machine, **way_on, **fields}


def test_results_are_in_the_order_of_the_items_whatever_came_first():
    played = Played({"M": mapped()}, ["a", "b", "c"])
    assert played.branches == ["0", "0.0", "0.1", "0.2"]
    for n in (2, 0, 1):
        played.answer(n, at=f"0.{n}")
    assert ended(played) == (Status.SUCCEEDED, [{"StatusCode": 200, "Payload": n} for n in range(3)], None)


def test_no_more_items_are_begun_at_once_than_allowed():
    played = Played({"M": mapped(MaxConcurrency=2)}, list("abcde"))
    assert played.branches == ["0", "0.0", "0.1"]
    played.answer(None, at="0.1")
    assert played.branches == ["0", "0.0", "0.2"]
    unbounded = Played({"M": mapped()}, list(range(100)))
    assert len(unbounded.branches) == 41


def test_each_item_is_told_of_itself_and_sees_the_variables_around():
    selector = {
        "i": "{% $states.context.Map.Item.Index %}",
        "v": "{% $states.context.Map.Item.Value %}",
        "all": "{% $count($states.input) %}",
    }
    begin = {"Type": "Pass", "Assign": {"x": "outside"}, "Next": "M"}
    inner = {"Work": PASS | {"Output": ["{% $states.input %}", "{% $x %}"]}}
    played = Played({"B": begin, "M": mapped(inner, ItemSelector=selector)}, ["a", "b"])
    assert played.run.output == [[{"i": n, "v": "ab"[n], "all": 2}, "outside"] for n in range(2)]


def test_no_items_give_no_results():
    assert ended(Played({"M": mapped()}, [])) == (Status.SUCCEEDED, [], None)


def test_items_that_are_no_list_are_an_error():
    assert ended(Played({"M": mapped()}, {"a": 1})) == (Status.FAILED, None, "States.QueryEvaluationError")


def test_item_that_fails_fails_the_map_and_the_others_are_dropped():
    catch = [{"ErrorEquals": ["X"], "Next": "Mended"}]
    played = Played({"M": mapped(Catch=catch), "Mended": PASS}, ["a", "b"])
    played.fail("X", "why", at="0.1")
    assert ended(played) == (Status.SUCCEEDED, {"Error": "X", "Cause": "why"}, None)


def test_map_that_is_tried_again_begins_with_all_its_items():
    played = Played({"M": mapped(Retry=[retrier("X", IntervalSeconds=3)])}, ["a", "b"])
    played.answer(1, at="0.0")
    played.fail("X", at="0.1")
    assert played.branches == ["0"]
    assert played.ring() == 3
    for n in range(2):
        played.answer(n, at=f"0.{n}")
    assert [one["Payload"] for one in played.run.output] == [0, 1]


def test_items_may_be_lists_of_items():
    played = Played({"M": mapped({"Inner": mapped({"Work": PASS})})}, [[1, 2], [], [3]])
    assert ended(played) == (Status.SUCCEEDED, [[1, 2], [], [3]], None)


def test_item_may_fail_and_be_mended_by_itself():
    catch = [{"ErrorEquals": ["X"], "Output": "mended", "Next": "Rest"}]
    played = Played({"M": mapped({"Work": task(Catch=catch), "Rest": PASS})}, ["a", "b"])
    played.fail("X", at="0.0")
    played.answer(1, at="0.1")
    assert played.run.output == ["mended", {"StatusCode": 200, "Payload": 1}]


def test_history_tells_of_the_map_and_not_of_its_items():
    played = Played({"M": mapped()}, ["a"])
    played.fail("X", at="0.0")
    assert played.history == [Happening("M", What.ENTERED)]
    assert ended(played) == (Status.FAILED, None, "X")


def test_variables_of_an_item_stay_with_it():
    inner = {"Work": {"Type": "Pass", "Assign": {"x": "{% $states.input %}"}, "End": True}}
    begin = {"Type": "Pass", "Assign": {"x": "outside"}, "Next": "M"}
    after = PASS | {"Output": "{% $x %}"}
    played = Played({"B": begin, "M": mapped(inner, Next="C"), "C": after}, ["inside"])
    assert played.run.output == "outside"


def test_token_is_in_no_repr_of_what_is_kept():
    played = Played({"A": task("ask", token=True)})
    assert played.job().nonce.encode() in encode_run(played.run)
    assert played.job().nonce not in repr(played.run)
