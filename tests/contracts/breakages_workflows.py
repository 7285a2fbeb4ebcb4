"""How the runners of workflows are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

TESTS = "test_workflows.py::test_"


def local(name: str, old: str, new: str, test: str, file: str = "workflows", *, only: str = "memory") -> Breakage:
    return Breakage(f"local workflows: {name}", f"backends/asl/{file}.py", old, new, f"{TESTS}{test}", only)


def aws(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(
        f"step functions: {name}", "backends/aws/step_functions.py", old, new, f"{TESTS}{test}", "step_functions"
    )


def port(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"workflows: {name}", "core/kernel/workflows.py", old, new, f"{TESTS}{test}", "memory")


BREAKAGES = (
    # -- what every runner refuses
    port("ids are not checked", "if _NAME.fullmatch(id) is None:", "if False:", "bad_id_is_invalid"),
    port("ids are checked only at their beginning", "_NAME.fullmatch(id)", "_NAME.match(id)", "bad_id_is_invalid"),
    port(
        "a payload may be of any size",
        "if len(encoded) > PAYLOAD_BYTES_MAX:",
        "if False:",
        "input_above_the_limit_is_invalid_and_the_longest_is_taken",
    ),
    port(
        "the longest payload is refused",
        "if len(encoded) > PAYLOAD_BYTES_MAX:",
        "if len(encoded) >= PAYLOAD_BYTES_MAX:",
        "input_above_the_limit_is_invalid_and_the_longest_is_taken",
    ),
    port(
        "members in another order are another input",
        'msgspec.json.encode(value, order="sorted")',
        "msgspec.json.encode(value)",
        "same_id_and_input_is_the_same_execution_while_it_runs_and_when_it_is_over",
    ),
    port(
        "what is no JSON comes through as an error of the library",
        "except (TypeError, ValueError, RecursionError) as error:",
        "except RecursionError as error:",
        "input_that_is_no_json_is_invalid",
    ),
    port(
        "errors are not checked",
        "if not 0 < len(error) <= ERROR_MAX or len(cause) > CAUSE_MAX:",
        "if not error:",
        "answer_that_cannot_be_kept_is_invalid_and_the_task_waits_on",
    ),
    # -- on one machine
    local(
        "another input is taken for the same",
        "if known.value != encoded:",
        "if False:",
        "same_id_with_another_input_is_a_conflict_and_changes_nothing",
    ),
    local(
        "a repetition is a conflict",
        "if known.value != encoded:",
        "if True:",
        "same_id_and_input_is_the_same_execution_while_it_runs_and_when_it_is_over",
    ),
    local(
        "of starts at once the losers raise",
        "except (WriteConflict, OutcomeUnknown):\n                known",
        "except OutcomeUnknown:\n                known",
        "of_many_starts_of_one_id_at_once_one_execution_comes",
        only="sqlite",
    ),
    local(
        "workflows share their ids",
        'return f"workflow/{execution}"',
        'return f"workflow/{execution.partition(chr(47))[2]}"',
        "one_id_in_two_workflows_is_two_executions",
    ),
    local(
        "the token is not compared",
        "not hmac.compare_digest(job.nonce, nonce)",
        "not job.nonce",
        "token_with_one_character_changed_is_nobodys",
    ),
    local(
        "a garbled token is an error",
        "    except ValueError:\n        return None",
        "    except KeyError:\n        return None",
        "token_that_was_never_given_out_is_nobodys",
        "tokens",
    ),
    local(
        "an answer is always heard",
        "return unclear  # what",
        "return True  # what",
        "answer_after_the_time_is_over_changes_nothing",
    ),
    local(
        "a task waits for ever",
        "elif job.due > self._clock.now():",
        "elif True:",
        "answer_after_the_time_is_over_changes_nothing",
    ),
    local(
        "the cause is dropped",
        "advance.fail(branch, error, cause))",
        'advance.fail(branch, error, ""))',
        "failure_is_told_with_its_name_and_cause",
    ),
    local(
        "an answer of a step is not checked for its place",
        "self._move(at, state.next, output, assigned)",
        "self._move(at, None, output, assigned)",
        "history_is_in_order_and_whole",
        "advance",
    ),
    local(
        "leaving a state is not told",
        "        self._tell(at, What.LEFT)\n",
        "",
        "history_is_in_order_and_whole",
        "advance",
    ),
    local(
        "a failure is not told",
        "            self._tell(at, What.FAILED, failed.error)\n",
        "            pass\n",
        "failure_is_in_the_history_with_its_name",
        "advance",
    ),
    local(
        "an execution has no end",
        "run.ended_at, run.branches = self._now, {}",
        "run.branches = {}",
        "failed_execution_tells_the_definitions_error_and_when",
        "advance",
    ),
    local(
        "an odd id is an error of the store",
        "        except Invalid:\n            item = None",
        "        except KeyError:\n            item = None",
        "execution_that_never_was_is_not_found",
    ),
    # -- Step Functions
    aws(
        "a repetition after the end is an error",
        "if refused.code != TAKEN:",
        "if True:",
        "same_id_and_input_is_the_same_execution_while_it_runs_and_when_it_is_over",
    ),
    aws(
        "another input is taken for the same",
        "if encode_payload(known.input) != encoded:",
        "if False:",
        "same_id_with_another_input_is_a_conflict_and_changes_nothing",
    ),
    aws(
        "executions have names of their own making",
        "stateMachineArn=machine, name=id,",
        "stateMachineArn=machine, name=id[::-1],",
        "started_execution_is_seen_elsewhere_and_comes_to_its_output",
    ),
    aws("the id is sent unchecked", "        check_id(id)\n        encoded", "        encoded", "bad_id_is_invalid"),
    aws(
        "an unknown execution is unavailable",
        "            if refused.code in ABSENT:\n",
        "            if False:\n",
        "execution_that_never_was_is_not_found",
    ),
    aws(
        "a late answer is an error",
        "            if refused.code in NOBODY_WAITS:\n",
        "            if False:\n",
        "first_answer_counts_and_one_given_again_changes_nothing",
    ),
    aws(
        "an answer is always heard",
        "return refused.after_unclear",
        "return True",
        "answer_after_the_time_is_over_changes_nothing",
    ),
    aws(
        "a failure is told as success",
        'status = STATUSES.get(found["status"], Status.FAILED)',
        'status = STATUSES.get(found["status"], Status.SUCCEEDED)',
        "failed_execution_tells_the_definitions_error_and_when",
    ),
    aws(
        "the cause is dropped",
        'found.get("cause", "") if failed else None,',
        '"" if failed else None,',
        "failure_is_told_with_its_name_and_cause",
    ),
    aws(
        "times are in seconds",
        "round(float(at.timestamp()) * SECOND)",
        "round(float(at.timestamp()))",
        "failed_execution_tells_the_definitions_error_and_when",
    ),
    aws(
        "leaving a state is not told",
        "        elif left:\n            yield Happening(state, What.LEFT)\n",
        "        elif left:\n            pass\n",
        "history_is_in_order_and_whole",
    ),
    aws(
        "a failure has no name",
        "yield Happening(state, What.FAILED, _error_of(event))",
        "yield Happening(state, What.FAILED)",
        "failure_is_in_the_history_with_its_name",
    ),
)
