"""The webhooks queue -> merchants' endpoints. A message that is not done comes again, later each time."""

from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from interlock.entrypoints.functions import Function

function = Function()
processor = AsyncBatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


async def take(record: SQSRecord) -> None:
    await function.deliver(record.raw_event)


def handle(event: dict[str, Any], context: Any) -> Any:
    function.loop()
    return async_process_partial_response(event, take, processor, context)
