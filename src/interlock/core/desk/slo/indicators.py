"""The SLI of OpenSLO: a ratio metric whose source, of type `interlock`, says what is counted."""

from __future__ import annotations

from interlock.core.desk.slo.fields import Place, fields, text, truth, whole, word
from interlock.core.desk.slo.model import Filter, Indicator, Measure
from interlock.core.kernel.currencies import EXPONENTS
from interlock.core.kernel.providers import Action

TYPE = "interlock"
THRESHOLD_MAX_MS = 600_000
FILTER_TEXT_MAX = 200
_OPERATIONS = tuple(action.value for action in Action)

_THRESHOLD_METRIC = (
    "latency is a ratio here as everything is: a ratioMetric with measure: latency and threshold_ms in the metricSource"
)
_BAD = "say good and total: which attempts are good is one table for all objectives"
_REF = "there is one source, the platform's own attempts: give type: interlock"


def read_sli(spec: Place) -> Indicator | None:
    """None if it has a fault; which, is told. Good and total say the same measure, or raw (with rawType: success) says it once."""
    found = fields(
        spec,
        known=("description", "ratioMetric"),
        required=("ratioMetric",),
        refused={"thresholdMetric": _THRESHOLD_METRIC},
    )
    text(found.get("description"))
    if "ratioMetric" not in found:
        return None
    metric = fields(found["ratioMetric"], known=("counter", "good", "total", "raw", "rawType"), refused={"bad": _BAD})
    truth(metric.get("counter"), otherwise=None)
    if "raw" in metric:
        return _raw(metric)
    for part in ("good", "total"):
        if part not in metric:
            found["ratioMetric"].faults.add(
                f"{found['ratioMetric'].pointer}/{part}",
                "missing",
                f"{part} is missing",
                line=found["ratioMetric"].line,
            )
    good = _source(metric.get("good"))
    total = _source(metric.get("total"))
    if good is not None and total is not None and good != total:
        metric["total"].wrong("not_the_same", "good and total are two sides of one measure: their sources say the same")
        return None
    return good if total is not None else None


def _raw(metric: dict[str, Place]) -> Indicator | None:
    for part in ("good", "total"):
        if part in metric:
            metric[part].wrong("not_both", "raw stands alone, without good and total")
    if "rawType" not in metric:
        metric["raw"].wrong("missing", "raw needs rawType: success")
    word(metric.get("rawType"), ("success",), refused={"failure": "the source gives good of total: rawType is success"})
    return _source(metric["raw"])


def _source(place: Place | None) -> Indicator | None:
    if place is None:
        return None
    outer = fields(place, known=("metricSource",), required=("metricSource",))
    if "metricSource" not in outer:
        return None
    inner = fields(
        outer["metricSource"], known=("type", "spec"), required=("type", "spec"), refused={"metricSourceRef": _REF}
    )
    word(inner.get("type"), (TYPE,))
    return _measured(inner["spec"]) if "spec" in inner else None


def _measured(place: Place) -> Indicator | None:
    found = fields(
        place,
        known=("measure", "provider", "method", "merchant", "operation", "currency", "threshold_ms"),
        required=("measure",),
    )
    said = word(found.get("measure"), tuple(Measure))
    wanted = Filter(
        provider=text(found.get("provider"), longest=FILTER_TEXT_MAX) or None,
        method=text(found.get("method"), longest=FILTER_TEXT_MAX) or None,
        merchant=text(found.get("merchant"), longest=FILTER_TEXT_MAX) or None,
        operation=word(found.get("operation"), _OPERATIONS) or None,
        currency=_currency(found.get("currency")),
        threshold_ms=whole(found.get("threshold_ms"), most=THRESHOLD_MAX_MS),
    )
    if not said:
        return None
    measure = Measure(said)
    for field, owner, why in (
        ("threshold_ms", Measure.LATENCY, "within how many milliseconds an answer is good"),
        ("currency", Measure.MONEY, "amounts of two currencies have no sum: an SLO for each"),
    ):
        if measure is owner and field not in found:
            place.faults.add(f"{place.pointer}/{field}", "missing", f"{said} needs {field}: {why}", line=place.line)
        elif measure is not owner and field in found:
            found[field].wrong("not_for_this", f"{field} belongs to {owner}")
    return Indicator(measure, wanted)


def _currency(place: Place | None) -> str | None:
    code = text(place)
    if place is not None and code and code not in EXPONENTS:
        place.wrong("unknown_currency", f"{code[:40]} is not a currency of ISO 4217 in use, in capitals")
        return None
    return code or None
