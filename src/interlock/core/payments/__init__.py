"""The payment aggregate: attempts, captures, refunds and disputes around one refundable balance."""
