"""Every provider withstands every check of the kit, and every check catches what it is there for."""

import pytest

from interlock.providers import conformance as kit
from tests.providers.conformance import bad_providers as bad
from tests.providers.conformance import simulator_case
from tests.providers.stripe import fake_stripe

CAUGHT_BY = {
    bad.CannotLookUp: kit.check_capabilities_are_sound,
    bad.MissesApproval: kit.check_good_answers_are_understood,
    bad.ForgetsThePaymentsId: kit.check_good_answers_are_understood,
    bad.CommitsByGet: kit.check_phases_tell_the_truth,
    bad.CallsACommitPreparation: kit.check_phases_tell_the_truth,
    bad.LooksUpByPost: kit.check_phases_tell_the_truth,
    bad.SendsNoKey: kit.check_phases_tell_the_truth,
    bad.SendsNoReference: kit.check_phases_tell_the_truth,
    bad.StampsTheTime: kit.check_same_operation_gives_same_requests,
    bad.ChangesAResend: kit.check_same_operation_gives_same_requests,
    bad.TakesServerErrorsForDeclines: kit.check_server_errors_prove_nothing,
    bad.TakesServerErrorsForNotSent: kit.check_server_errors_prove_nothing,
    bad.ReadsWhateverTheStatus: kit.check_server_errors_prove_nothing,
    bad.TakesAnyRefusalForADecline: kit.check_garbage_proves_nothing,
    bad.TakesGarbageForNotSent: kit.check_garbage_proves_nothing,
    bad.BreaksOnGarbage: kit.check_garbage_proves_nothing,
    bad.DeclinesWhenAFieldIsOdd: kit.check_mangled_answers_are_not_believed,
    bad.AssumesTheAmount: kit.check_amounts_are_echoed_not_assumed,
    bad.AssumesTheCurrency: kit.check_amounts_are_echoed_not_assumed,
    bad.TakesUnknownForSuccess: kit.check_unknown_status_is_neither_success_nor_failure,
    bad.TakesUnknownForFailure: kit.check_unknown_status_is_neither_success_nor_failure,
    bad.TakesAnyonesAnswer: kit.check_another_reference_is_not_ours,
    bad.ClaimsAnyPayment: kit.check_another_reference_is_not_ours,
    bad.TakesTimeoutsForNotSent: kit.check_faults_prove_nothing,
    bad.TakesFaultsForDeclines: kit.check_faults_prove_nothing,
    bad.ThinksEveryCurrencyHasCents: kit.check_amounts_are_in_the_providers_units,
    bad.ThinksDinarsHaveCents: kit.check_amounts_are_in_the_providers_units,
    bad.ShowsItsKeyInThePath: kit.check_nothing_secret_shows,
    bad.ShowsTheCard: kit.check_nothing_secret_shows,
    bad.KeepsWhateverIsCalledABin: kit.check_a_cards_issuer_is_told_or_unknown,
    bad.KeepsWhateverIsCalledACountry: kit.check_a_cards_issuer_is_told_or_unknown,
    bad.KeepsTooManyDigits: kit.check_a_cards_issuer_is_told_or_unknown,
    bad.DoubtsWhatHasAnOddIssuer: kit.check_a_cards_issuer_is_told_or_unknown,
    bad.BelievesAnyNotification: kit.check_notifications_are_verified_before_they_are_read,
    bad.ParsesBeforeItVerifies: kit.check_notifications_are_verified_before_they_are_read,
    bad.BelievesOldNotifications: kit.check_notifications_are_verified_before_they_are_read,
    bad.BelievesFutureNotifications: kit.check_notifications_are_verified_before_they_are_read,
    bad.KnowsOnlyTheNewestSecret: kit.check_notifications_are_verified_before_they_are_read,
    bad.BelievesWithoutASecret: kit.check_notifications_are_verified_before_they_are_read,
    bad.BreaksOnStrangeHeaders: kit.check_notifications_are_verified_before_they_are_read,
    bad.NamesEveryNotificationAnew: kit.check_notifications_are_verified_before_they_are_read,
    bad.NamesAllNotificationsAlike: kit.check_notifications_are_verified_before_they_are_read,
    bad.TellsTheSecret: kit.check_notifications_are_verified_before_they_are_read,
    bad.BreaksOnSignedGarbage: kit.check_signed_garbage_is_invalid,
    bad.BelievesSignedGarbage: kit.check_signed_garbage_is_invalid,
}


@pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)
def test_stripe_withstands(check):
    check(fake_stripe.case())


@pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)
def test_simulator_withstands(check):
    check(simulator_case.case())


def test_provider_that_does_everything_right_passes():
    kit.assert_provider(bad.case(bad.GoodProvider()))


@pytest.mark.parametrize("provider", CAUGHT_BY, ids=lambda provider: provider.__name__)
def test_provider_with_one_fault_is_caught_by_the_check_for_it(provider):
    with pytest.raises(AssertionError):
        CAUGHT_BY[provider](bad.case(provider()))
    with pytest.raises(AssertionError):
        kit.assert_provider(bad.case(provider()))


def test_every_check_has_caught_something_and_every_bad_provider_is_listed():
    assert set(CAUGHT_BY.values()) == set(kit.CHECKS)
    made = {kind for kind in vars(bad).values() if isinstance(kind, type) and issubclass(kind, bad.GoodProvider)}
    assert made - {bad.GoodProvider} == set(CAUGHT_BY)
