"""Amazon Web Services: DynamoDB for Store and Feed."""
