-- The tables a payment takes in a conventional implementation. Both comparators use them.
-- No foreign keys and no triggers: they would cost the comparators time, and their code keeps the same rules.

CREATE TABLE payments (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    status text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    amount_authorized bigint NOT NULL DEFAULT 0,
    amount_captured bigint NOT NULL DEFAULT 0,
    capture_method text NOT NULL,
    provider text NOT NULL,
    provider_reference text,
    reference text,
    description text,
    metadata text NOT NULL,
    token text NOT NULL,
    card text,
    version integer NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX payments_by_reference ON payments (tenant, reference);

CREATE TABLE attempts (
    id text PRIMARY KEY,
    payment_id text NOT NULL,
    provider text NOT NULL,
    operation text NOT NULL,
    amount bigint NOT NULL,
    outcome text,
    attempt_reference text,
    started_at bigint NOT NULL,
    finished_at bigint,
    deadline bigint
);
CREATE INDEX attempts_due ON attempts (deadline) WHERE deadline IS NOT NULL;

CREATE TABLE idempotency_keys (
    tenant text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    payment_id text NOT NULL,
    status integer,
    response bytea,
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE TABLE journals (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    payment_id text NOT NULL,
    kind text NOT NULL,
    currency text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE journal_lines (
    journal_id text NOT NULL,
    line integer NOT NULL,
    account text NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (journal_id, line)
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL,
    type text NOT NULL,
    payment_id text NOT NULL,
    version integer NOT NULL,
    payload bytea NOT NULL
);
