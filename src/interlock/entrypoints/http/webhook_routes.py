"""Webhook endpoints, their deliveries, and events over HTTP."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from interlock.core.kernel import ids
from interlock.core.kernel.ids import id_pattern
from interlock.core.webhooks.commands import CreateEndpoint, UpdateEndpoint
from interlock.core.webhooks.handlers import (
    create_endpoint,
    delete_endpoint,
    list_endpoints,
    load_endpoint,
    retry_delivery,
    update_endpoint,
)
from interlock.core.webhooks.listing import Wanted, find_deliveries, find_delivery, find_event, find_events
from interlock.core.webhooks.ports import Webhooks
from interlock.core.webhooks.states import DeliveryStatus
from interlock.core.webhooks.views import (
    DeliveryView,
    EndpointView,
    EventView,
    delivery_view,
    endpoint_view,
    event_view,
)
from interlock.entrypoints.http.pagination import ListQuery, Page, page_of
from interlock.entrypoints.http.routing import Answer, Call, Described, Link, Route

READ, WRITE = "webhooks:read", "webhooks:write"
ENDPOINT_PATH = {"id": id_pattern(ids.WEBHOOK_ENDPOINT)}
DELIVERY_PATH = {"id": id_pattern(ids.DELIVERY)}
EVENT_PATH = {"id": id_pattern(ids.EVENT)}
BY_ID = {"id": "$response.body#/id"}
Filter = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.]{1,64}\Z")]
EndpointPage = Page[EndpointView]
DeliveryPage = Page[DeliveryView]
EventPage = Page[EventView]


class DeliveriesQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    endpoint: Filter | None = None
    status: DeliveryStatus | None = None
    event: Filter | None = None
    """Id of an event."""


class EventsQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    type: Filter | None = None
    aggregate: Filter | None = None
    """Id of the payment, or other thing, that the event is about."""


def webhook_routes(w: Webhooks) -> tuple[Route, ...]:
    return (*_endpoint_routes(w), *_delivery_routes(w), *_event_routes(w))


def _endpoint_routes(w: Webhooks) -> tuple[Route, ...]:
    async def create(call: Call) -> Answer:
        command: CreateEndpoint = call.body
        endpoint, secret = await create_endpoint(w, command, call.request())
        return Answer(201, endpoint_view(endpoint, secret=secret))

    async def list_all(call: Call) -> Answer:
        query: ListQuery = call.query
        before = _before(query)
        endpoints = [
            endpoint
            for endpoint in await list_endpoints(w, call.principal.tenant)
            if (query.after is None or endpoint.id < query.after) and (before is None or endpoint.id > before)
        ]
        edge = query.limit + 1
        found = endpoints[:edge] if before is None else endpoints[-edge:]
        page = page_of(found, query, cursor_of=lambda endpoint: endpoint.id)
        return Answer(200, Page([endpoint_view(endpoint) for endpoint in page.data], page.has_more, page.next))

    async def get(call: Call) -> Answer:
        held = await load_endpoint(w, call.principal.tenant, call.path_params["id"])
        return Answer(200, endpoint_view(held.endpoint))

    async def update(call: Call) -> Answer:
        command: UpdateEndpoint = call.body
        endpoint, secret = await update_endpoint(w, call.path_params["id"], command, call.request())
        return Answer(200, endpoint_view(endpoint, secret=secret))

    async def delete(call: Call) -> Answer:
        await delete_endpoint(w, call.path_params["id"], call.request())
        return Answer(204)

    return (
        Route(
            method="POST",
            path="/v1/webhook_endpoints",
            endpoint=create,
            operation_id="createWebhookEndpoint",
            summary="Have events sent to a URL; the answer shows the signing secret, once",
            scope=WRITE,
            body=CreateEndpoint,
            answers={201: Described(EndpointView, "With `secret`, which is never shown again.")},
            problems=(409, 503),
            tags=("webhooks",),
            example={"url": "https://shop.example.com/hooks", "events": ["*"]},
            links=(
                Link("get", 201, "getWebhookEndpoint", BY_ID, "The endpoint as it stands."),
                Link("update", 201, "updateWebhookEndpoint", BY_ID, "Change, disable, or rotate the secret."),
                Link("delete", 201, "deleteWebhookEndpoint", BY_ID, "Stop sending."),
            ),
        ),
        Route(
            method="GET",
            path="/v1/webhook_endpoints",
            endpoint=list_all,
            operation_id="listWebhookEndpoints",
            summary="Webhook endpoints, newest first",
            scope=READ,
            query=ListQuery,
            answers={200: EndpointPage},
            tags=("webhooks",),
        ),
        Route(
            method="GET",
            path="/v1/webhook_endpoints/{id}",
            endpoint=get,
            operation_id="getWebhookEndpoint",
            summary="A webhook endpoint as it stands",
            scope=READ,
            path_patterns=ENDPOINT_PATH,
            answers={200: EndpointView},
            tags=("webhooks",),
        ),
        Route(
            method="PATCH",
            path="/v1/webhook_endpoints/{id}",
            endpoint=update,
            operation_id="updateWebhookEndpoint",
            summary="Change, enable or disable a webhook endpoint, or rotate its secret",
            description="After a rotation both secrets sign for 24 hours; `secret` is in the answer only then.",
            scope=WRITE,
            body=UpdateEndpoint,
            path_patterns=ENDPOINT_PATH,
            answers={200: EndpointView},
            problems=(503,),
            tags=("webhooks",),
            example={"enabled": False},
        ),
        Route(
            method="DELETE",
            path="/v1/webhook_endpoints/{id}",
            endpoint=delete,
            operation_id="deleteWebhookEndpoint",
            summary="Delete a webhook endpoint; what is on its way to it is canceled",
            scope=WRITE,
            path_patterns=ENDPOINT_PATH,
            answers={204: Described(None, "Deleted.")},
            problems=(503,),
            tags=("webhooks",),
        ),
    )


def _delivery_routes(w: Webhooks) -> tuple[Route, ...]:
    async def list_some(call: Call) -> Answer:
        query: DeliveriesQuery = call.query
        found = await find_deliveries(
            w,
            call.principal.tenant,
            Wanted(query.endpoint, query.status, query.event),
            limit=query.limit,
            after=query.after,
            before=_before(query),
        )
        data = [delivery_view(delivery) for delivery in found.deliveries]
        return Answer(200, Page(data, found.next is not None, found.next))

    async def get(call: Call) -> Answer:
        return Answer(200, delivery_view(await find_delivery(w, call.principal.tenant, call.path_params["id"])))

    async def retry(call: Call) -> Answer:
        return Answer(202, delivery_view(await retry_delivery(w, call.path_params["id"], call.request())))

    return (
        Route(
            method="GET",
            path="/v1/webhook_deliveries",
            endpoint=list_some,
            operation_id="listWebhookDeliveries",
            summary="Webhook deliveries, newest first; with a filter a page may be shorter than `limit`",
            scope=READ,
            query=DeliveriesQuery,
            answers={200: DeliveryPage},
            tags=("webhooks",),
        ),
        Route(
            method="GET",
            path="/v1/webhook_deliveries/{id}",
            endpoint=get,
            operation_id="getWebhookDelivery",
            summary="A webhook delivery with its attempts",
            scope=READ,
            path_patterns=DELIVERY_PATH,
            answers={200: DeliveryView},
            tags=("webhooks",),
        ),
        Route(
            method="POST",
            path="/v1/webhook_deliveries/{id}/retry",
            endpoint=retry,
            operation_id="retryWebhookDelivery",
            summary="Have one more attempt made now, also of a delivery that arrived",
            scope=WRITE,
            path_patterns=DELIVERY_PATH,
            answers={202: Described(DeliveryView, "It will be attempted in a moment.")},
            problems=(409, 503),
            tags=("webhooks",),
            links=(Link("get", 202, "getWebhookDelivery", BY_ID, "What became of it."),),
        ),
    )


def _event_routes(w: Webhooks) -> tuple[Route, ...]:
    async def list_some(call: Call) -> Answer:
        query: EventsQuery = call.query
        found = await find_events(
            w,
            call.principal.tenant,
            type=query.type,
            aggregate=query.aggregate,
            limit=query.limit + 1,
            after=query.after,
            before=_before(query),
        )
        page = page_of(found, query, cursor_of=lambda event: event.id)
        return Answer(200, Page([event_view(event) for event in page.data], page.has_more, page.next))

    async def get(call: Call) -> Answer:
        return Answer(200, event_view(await find_event(w, call.principal.tenant, call.path_params["id"])))

    return (
        Route(
            method="GET",
            path="/v1/events",
            endpoint=list_some,
            operation_id="listEvents",
            summary="Events, newest first; a moment behind the latest commit",
            scope=READ,
            query=EventsQuery,
            answers={200: EventPage},
            tags=("events",),
        ),
        Route(
            method="GET",
            path="/v1/events/{id}",
            endpoint=get,
            operation_id="getEvent",
            summary="An event, as its webhooks carry it",
            scope=READ,
            path_patterns=EVENT_PATH,
            answers={200: EventView},
            tags=("events",),
        ),
    )


def _before(query: ListQuery) -> str | None:
    """`before` counts only when there is no `after`."""
    return query.before if query.after is None else None
