-- How word travels between executions that begin others: what happens to the parent
-- reaches its children by a relay, a row that is written in the same transaction and stays
-- until every child has heard; so does the end of a child, which its parent waits for. No
-- transaction locks two executions.

-- Leave word for the children of an execution, if it has any that run. The caller holds
-- its lock, and moves it.
CREATE FUNCTION relay_down(p_execution uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM execution_steps
                WHERE execution_id = p_execution AND child_id IS NOT NULL) THEN
        PERFORM leave_relay(p_execution);
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Leave word of an execution. The number, that of the transaction, tells a later word from
-- an earlier one, even if that was forgotten meanwhile.
CREATE FUNCTION leave_relay(p_execution uuid) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO relays (execution_id, number)
    VALUES (p_execution, pg_current_xact_id()::text::bigint)
    ON CONFLICT (execution_id) DO UPDATE SET number = excluded.number
$$;


-- Executions of which word is left.
CREATE FUNCTION relaying_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT execution_id FROM relays ORDER BY execution_id LIMIT p_most
$$;


-- What word is left of an execution: its `number`, and the children that do not stand as
-- they should. `act` is what to do to each: pause, resume, cancel, expire, or renew its
-- deadline.
CREATE FUNCTION read_relay(
    p_execution uuid, OUT number bigint, OUT has_ended bool, OUT children jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    -- who moves a child at this moment may have read where its parent stood before
    PERFORM pg_advisory_xact_lock(moves_within(p_execution));
    SELECT r.number INTO number FROM relays r WHERE r.execution_id = p_execution;
    -- statements of their own: what they see is no older than the word
    SELECT e.ended_at IS NOT NULL INTO has_ended FROM executions e WHERE e.id = p_execution;
    SELECT jsonb_agg(jsonb_build_array(w.id, w.act)) INTO children
      FROM (SELECT c.id, wanted_act(e, c) AS act
              FROM executions e
              JOIN executions c ON c.parent_id = e.id
                               AND (c.status IN ('pending', 'running', 'paused')
                                    OR is_to_go_on(e, c))
             WHERE e.id = p_execution) AS w
     WHERE w.act IS NOT NULL;
END $$;


-- The lock of those who move the children of an execution: they share it.
CREATE FUNCTION moves_within(p_execution uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended(format('celery-plans moves %s', p_execution), 0)
$$;


-- Whether a child has ended and its parent, which was retried, waits for it to go on. A
-- parent that has begun to end lets it go on as well, to bring it to an end that is told.
CREATE FUNCTION is_to_go_on(e executions, c executions) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT c.ended_at IS NOT NULL AND e.ended_at IS NULL
       AND (e.status = 'ending' OR e.concurrency_key IS NULL OR e.admitted_at IS NOT NULL)
       AND EXISTS (SELECT FROM execution_steps s
                    WHERE s.execution_id = e.id AND s."position" = c.parent_position
                      AND s.child_id = c.id AND s.child_epoch > c.epoch)
$$;


-- What is to be done to a child because of where its parent stands; NULL for nothing.
CREATE FUNCTION wanted_act(e executions, c executions) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN is_to_go_on(e, c) THEN 'retry'
        WHEN NOT EXISTS (SELECT FROM execution_steps s
                          WHERE s.execution_id = e.id AND s."position" = c.parent_position
                            AND s.child_id = c.id) THEN 'cancel'
        WHEN e.reason = 'deadline' THEN 'expire'
        WHEN e.reason = 'cancel' OR e.status = 'ending' AND e.told_at IS NOT NULL
        THEN 'cancel'
        -- nothing may start in it, and its parent would wait for it
        WHEN e.status = 'ending' AND c.status = 'paused' THEN 'cancel'
        WHEN e.status = 'paused' AND c.status IN ('pending', 'running') THEN 'pause'
        WHEN e.status = 'running' AND c.status = 'paused' AND c.paused_with_parent
        THEN 'resume'
        -- it was paused by itself, but the clock of the step stands still, or goes on
        WHEN c.status = 'paused' AND c.deadline IS DISTINCT FROM renew_child_deadline(c)
        THEN 'renew' END
$$;


-- Let a child follow its parent, if it still has to. It is read again under the child's
-- lock; the parent may move meanwhile, and then leaves word again.
CREATE FUNCTION move_child(
    p_child uuid,
    OUT act text, OUT status text, OUT last_seq bigint, OUT epoch int,
    OUT open_steps int, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    c executions;
    reason text;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    PERFORM pg_advisory_xact_lock_shared(moves_within(x.parent_id))
       FROM executions x WHERE x.id = p_child;
    SELECT * INTO c FROM executions WHERE id = p_child FOR NO KEY UPDATE;
    IF c.status IN ('pending', 'running', 'paused')
       OR EXISTS (SELECT FROM executions e WHERE e.id = c.parent_id AND is_to_go_on(e, c))
    THEN
        SELECT wanted_act(e, c) INTO act FROM executions e WHERE e.id = c.parent_id;
    END IF;
    reason := format('%s with its parent', CASE act WHEN 'pause' THEN 'paused'
                     WHEN 'resume' THEN 'resumed' WHEN 'retry' THEN 'retried'
                     ELSE 'ended' END);
    CASE act
        WHEN 'retry' THEN
            windows := (SELECT write_act(r.begun, r.drafts)
                          FROM reopen_execution(c, '{}', NULL, NULL, reason) AS r);
        WHEN 'pause' THEN
            PERFORM stop_execution(c, NULL, reason, true);
        WHEN 'resume' THEN
            windows := continue_execution(c, NULL, reason);
        WHEN 'cancel' THEN
            PERFORM begin_ending(p_child, 'cancel', NULL, reason, (
                SELECT e.grace_seconds FROM executions e
                 WHERE e.id = c.parent_id AND e.status = 'ending'));
        WHEN 'expire' THEN
            PERFORM begin_ending(p_child, 'deadline', NULL, reason);
        WHEN 'renew' THEN
            UPDATE executions x SET deadline = renew_child_deadline(c) WHERE x.id = c.id;
        ELSE
            NULL;
    END CASE;
    SELECT x.status, x.next_seq - 1, x.epoch, x.open_steps
      INTO status, last_seq, epoch, open_steps FROM executions x WHERE x.id = p_child;
END $$;


-- Forget the word of an execution, unless more of it has come since it was read.
CREATE FUNCTION forget_relay(p_execution uuid, p_number bigint) RETURNS bool
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    DELETE FROM relays r WHERE r.execution_id = p_execution AND r.number = p_number;
    RETURN FOUND;
END $$;


-- Tell the parent of an execution that has ended how: the step that waits for it ends
-- likewise, and what follows from it follows. The word of the end is forgotten in the same
-- transaction, unless those that it waits for no more, after a restore, have to hear yet.
-- Who finds it locked leaves it to the one that brings it.
--
-- outcome: ended, or nothing (somebody else has told it, or nobody waits any more). The
-- rest is the parent's.
CREATE FUNCTION end_child(
    p_child uuid,
    OUT outcome text, OUT parent uuid, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    c executions;
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    outcome := 'nothing'; windows := '[]';
    PERFORM FROM relays r WHERE r.execution_id = p_child FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO c FROM executions WHERE id = p_child AND ended_at IS NOT NULL;
    SELECT * INTO e FROM executions WHERE id = c.parent_id FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = e.id AND t."position" = c.parent_position
       AND t.child_id = p_child
       -- it is to go on first: that it had ended was told before
       AND coalesce(t.child_epoch <= c.epoch, true);
    IF c.id IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM relays r
     WHERE r.execution_id = p_child AND NOT EXISTS (
        SELECT FROM executions x
         WHERE x.parent_id = p_child AND x.status IN ('pending', 'running', 'paused'));
    IF s."position" IS NULL THEN
        RETURN;
    END IF;
    outcome := 'ended'; parent := e.id;
    UPDATE execution_steps t SET failures = t.failures + (c.status <> 'completed')::int
     WHERE t.execution_id = e.id AND t."position" = s."position";
    IF c.status = 'completed' THEN
        windows := succeed_parent(e, s, c);
    ELSE
        -- it does not run any more, but this is the end of an attempt all the same
        PERFORM archive_attempt(s, parent_status(e, c), child_error(s, c));
        windows := settle_step(e.id, s."position", parent_status(e, c), NULL, NULL,
                               child_error(s, c), NULL);
    END IF;
    SELECT * INTO e FROM executions WHERE id = parent;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- Complete a step whose child has completed. Returns the windows to send.
CREATE FUNCTION succeed_parent(e executions, s execution_steps, c executions)
RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    done record;
BEGIN
    done := succeed_step(e, s, c.result, NULL, '{}', NULL, NULL, NULL, NULL);
    RETURN done.windows;
END $$;


-- How a step ends whose child has not completed. One that was cancelled because its parent
-- ends is cancelled; if somebody cancelled only the child, the step has failed.
CREATE FUNCTION parent_status(e executions, c executions) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN c.status = 'timed_out' THEN 'timed_out'
                WHEN c.status = 'cancelled' AND e.status = 'ending' THEN 'cancelled'
                ELSE 'failed' END
$$;


CREATE FUNCTION child_error(s execution_steps, c executions) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object(
        'code', CASE c.status WHEN 'timed_out' THEN 'E002' WHEN 'cancelled' THEN 'E004'
                ELSE coalesce(c.error ->> 'code', 'E003') END,
        'message', format('plan %s %s%s', p.name,
            CASE c.status WHEN 'timed_out' THEN 'timed out' WHEN 'cancelled'
                 THEN 'was cancelled' ELSE 'failed' END,
            ': ' || (c.error ->> 'message')),
        'step', s.name, 'timestamp', plans_now(), 'recoverable', true,
        'context', jsonb_build_object('child', c.id, 'plan', p.name))
      FROM plans p WHERE p.id = c.plan_id
$$;
