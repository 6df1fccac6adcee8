-- Three accounts, so that neither the service nor a thief of its password can change past records.
--
--   chancery_owner      owns the tables; runs `chancery migrate` and nothing else
--   chancery_service    the service and the command line: adds, and changes what has a state
--   chancery_archivist  `chancery log prune --apply`: removes bodies beyond retention
--
-- Run it in the database as a superuser once the tables are there, and again after a migration that
-- added some (then the owner may):
--
--   chancery migrate
--   psql -d chancery -f deploy/postgres/roles.sql
--   psql -d chancery -c '\password chancery_service'
--
-- It may be repeated. It gives no protection against a superuser: witnesses, receipts and object lock do.

DO $$
DECLARE
    name TEXT;
    thing REGCLASS;
    code REGPROCEDURE;
BEGIN
    FOREACH name IN ARRAY ARRAY['chancery_owner', 'chancery_service', 'chancery_archivist'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- It was made in this moment, for another database of this server.
            END;
        END IF;
    END LOOP;
    EXECUTE format('ALTER DATABASE %I OWNER TO chancery_owner', current_database());
    -- A temporary table takes the place of one of the same name in the eyes of a trigger.
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    -- Whoever owns a table lifts its triggers; whoever owns a function writes it anew.
    FOR thing IN SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO chancery_owner', thing);
    END LOOP;
    FOR code IN SELECT oid FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'chancery\_%' LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO chancery_owner', code);
    END LOOP;
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA public TO chancery_owner;
GRANT USAGE ON SCHEMA public TO chancery_service, chancery_archivist;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, chancery_service, chancery_archivist;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO chancery_service, chancery_archivist;

-- What is never changed. Words of vocabularies come with migrations alone.
GRANT INSERT ON log_leaf, log_signature_part, trust_document, ceremony_signature, order_use,
    trust_statement_signature, emergency_stop, passkey_attestation, rotation_policy
    TO chancery_service;

-- What has a state, in the columns of its state.
GRANT UPDATE (size, version, clock) ON log_head TO chancery_service;
GRANT INSERT, UPDATE (sign_count) ON passkey_counter TO chancery_service;
GRANT INSERT, UPDATE (version) ON ring TO chancery_service;
GRANT INSERT, UPDATE (key_type, purpose, owner, labels, changed_at, changed_by) ON ring_asset TO chancery_service;
GRANT INSERT, UPDATE (key_type, purpose, owner, storage, labels, changed_at, retired_at) ON external_asset
    TO chancery_service;
GRANT INSERT, UPDATE (state, since, rotated_at, expires_at) ON external_version TO chancery_service;
-- Of the vocabularies the one to which an installation adds.
GRANT INSERT ON key_type TO chancery_service;
GRANT INSERT, UPDATE (state, execution, transcript, updated_at) ON ceremony TO chancery_service;
GRANT INSERT, UPDATE (done) ON ceremony_line TO chancery_service;
GRANT INSERT, UPDATE (state, updated_at, announced, effect) ON trust_statement TO chancery_service;
GRANT INSERT, UPDATE (withdrawn_at, withdrawal, signature, idx) ON standing_order
    TO chancery_service;
GRANT INSERT, UPDATE (state, kid, location, destruction, updated_at) ON key_object
    TO chancery_service;
GRANT INSERT, UPDATE (state, role, activated_at, demoted_at, retired_at, archived_at, revoked_at,
    revocation_reason, compromised_since, unpublished_at) ON signing_key TO chancery_service;
GRANT INSERT, UPDATE (principal, roles, created_at, expires_at, withdrawn_at) ON credential
    TO chancery_service;
GRANT UPDATE (size, root, clock, origin) ON log_tree TO chancery_service;
GRANT UPDATE (size) ON log_indexed, log_counted TO chancery_service;
GRANT INSERT ON log_key_act, log_key_accepted TO chancery_service;
GRANT UPDATE (size, accepted) ON log_acted TO chancery_service;
GRANT INSERT, UPDATE (signatures, last_index, first_time, last_time) ON log_key_day, log_key_block
    TO chancery_service;
-- Hours are kept for ninety days; the days stay.
GRANT INSERT, UPDATE (signatures), DELETE ON log_key_hour TO chancery_service;
GRANT INSERT, UPDATE (cosignatures) ON log_checkpoint TO chancery_service;

-- Answers to repeated requests and leases are no part of the trail.
GRANT INSERT, DELETE ON idempotency TO chancery_service;
GRANT INSERT, UPDATE (holder, until) ON lease, execution TO chancery_service;
-- Nor are messages about what the trail has.
GRANT UPDATE (size) ON outbox_told TO chancery_service;
GRANT INSERT, DELETE ON outbox_message TO chancery_service;
GRANT INSERT, UPDATE (state, attempts, since, next_at, finished_at, error), DELETE ON outbox_delivery
    TO chancery_service;
GRANT INSERT, UPDATE (dropped, dropped_at) ON outbox_receiver TO chancery_service;
GRANT INSERT, UPDATE (data, ended_at, told_at), DELETE ON outbox_alert TO chancery_service;
-- What people are told of while it holds.
GRANT INSERT, UPDATE (level, detail, phase, since, clear_since, resolved_at, acknowledged_at, acknowledged_by, silenced_until,
    silenced_by, episode, together, news, news_number, changed_at, version, escalates_since, escalated, escalated_told), DELETE
    ON alert TO chancery_service;
GRANT INSERT, UPDATE (told) ON weekly_digest TO chancery_service;
-- Reports of compromise with their decisions, and what the outside was told.
GRANT INSERT, UPDATE (state, decided_at, decided_by, decision, rotation) ON compromise_report TO chancery_service;
GRANT INSERT ON notice TO chancery_service;
-- Rotations under way, and the jobs of the scheduler.
GRANT INSERT, UPDATE (version, previous_version, state, consent, order_id, ceremony, made, published_at, promoted_at,
    retired_at, held, cancel, roll_back, waits, detail, updated_at, ended_at, look_at, lease_owner, lease_epoch,
    lease_until, cause, requested_by, reason, slot, due, declared_at, retries) ON rotation_event TO chancery_service;
GRANT INSERT, UPDATE (ended_at, outcome, why, evidence) ON rotation_step TO chancery_service;
GRANT INSERT ON rotation_report TO chancery_service;
GRANT UPDATE (paused_at, paused_by, reason) ON rotation_pause TO chancery_service;
GRANT INSERT, UPDATE (cron, paused, last_slot, catch_up) ON job TO chancery_service;
GRANT INSERT, UPDATE (state, lease_owner, lease_epoch, lease_until, ended_at, summary), DELETE ON job_run
    TO chancery_service;
GRANT INSERT, UPDATE (at), DELETE ON propagation_ack TO chancery_service;
-- Triggers on what changed write it for whoever changed it.
GRANT UPDATE (value) ON version TO chancery_service, chancery_archivist;

-- The archivist's own leaf, the mark, and the bodies below it.
GRANT UPDATE (size, version, clock) ON log_head TO chancery_archivist;
GRANT INSERT, UPDATE (body) ON log_leaf TO chancery_archivist;
GRANT UPDATE (pruned, emptied) ON log_tree TO chancery_archivist;
