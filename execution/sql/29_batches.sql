-- Acts on many: a batch has its executions chosen once, as items, and reconcilers carry
-- them out one by one.
--
-- Each item is acted on and marked in one transaction: whoever repeats it finds it done.
-- Who acts locks the execution, then shares the lock of the batch's acts, then takes the
-- item. Who moves a batch takes its row and then that lock for itself: what has returned
-- holds for every act.

-- The lock of those who act for a batch: they share it.
CREATE FUNCTION acts_of(p_batch uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended(format('celery-plans acts of %s', p_batch), 0)
$$;


-- Store a batch without items, unless it is there already: then it was begun by the same
-- call, whose commit was in doubt.
CREATE FUNCTION begin_batch(
    p_batch uuid, p_act text, p_arguments jsonb, p_filter jsonb, p_by text, p_reason text,
    p_rate float, OUT is_new bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    INSERT INTO batches (id, act, arguments, filter, by, reason, rate_per_second, status,
                         next_at, created_at)
    VALUES (p_batch, p_act, p_arguments, p_filter, p_by, p_reason, p_rate, 'running',
            plans_now(), plans_now())
    ON CONFLICT (id) DO NOTHING;
    is_new := FOUND;
END $$;


-- Let a batch go whose items are all there. It stops itself after so many failures, or
-- after such a share of them.
CREATE FUNCTION open_batch(
    p_batch uuid, p_total int, p_most_failures int, p_failure_share float
) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    UPDATE batches
       SET total = p_total,
           most_failures = coalesce(p_most_failures, CASE
               WHEN p_failure_share IS NOT NULL
               THEN greatest(1, ceil(p_failure_share * p_total)) END)
     WHERE id = p_batch;
    IF p_total = 0 THEN
        PERFORM write_batch(p_batch, 'completed', NULL, NULL);
    END IF;
    PERFORM tell_reconcilers();
END $$;


-- Batches that go on, the oldest first.
CREATE FUNCTION due_batches(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM batches WHERE status = 'running' ORDER BY created_at, id LIMIT p_most
$$;


-- The next items of a batch for one reconciler, as many as the rate allows; a batch with
-- no more of them is completed here, and one with too many failures has failed.
--
-- They are handed out in their order and are nobody's: what a reconciler that died has
-- left is handed out again, once nothing else is left and nothing was handed out for
-- p_grace seconds. Whoever gets none should ask again in wait_seconds. status is NULL
-- when there is no such batch, or somebody else asks at this moment.
--
-- Who cannot send (p_sends) gets nothing of a batch that lets steps run: its messages
-- would count as sent.
CREATE FUNCTION hand_out_items(
    p_batch uuid, p_most int, p_grace float, p_sends bool,
    OUT status text, OUT positions int[], OUT wait_seconds float
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    b batches;
    first int;
    moment timestamptz;
BEGIN
    PERFORM begin_write();
    positions := '{}';
    SELECT * INTO b FROM batches WHERE id = p_batch FOR NO KEY UPDATE SKIP LOCKED;
    status := b.status;
    moment := plans_now();
    IF b.status = 'running' THEN
        first := coalesce(first_pending(p_batch, b.next_position),
                          first_pending(p_batch, 0));
        IF first IS NULL OR has_failed(b) THEN
            status := CASE WHEN first IS NULL THEN 'completed' ELSE 'failed' END;
            PERFORM write_batch(p_batch, status, NULL, NULL);
        ELSE
            wait_seconds := CASE WHEN p_sends OR b.act IN ('pause', 'cancel')
                            THEN find_wait_seconds(b, first, p_grace, moment) ELSE 1 END;
        END IF;
    END IF;
    IF wait_seconds = 0 THEN
        positions := take_items(b, first, p_most, moment);
    END IF;
END $$;


-- The first item of a batch from a position on that nobody has acted on.
CREATE FUNCTION first_pending(p_batch uuid, p_position int) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT "position" FROM batch_items
     WHERE batch_id = p_batch AND status = 'pending' AND "position" >= p_position
     ORDER BY "position" LIMIT 1
$$;


-- Whether as many items were refused, or have failed, as a batch can bear.
CREATE FUNCTION has_failed(b batches) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT b.most_failures IS NOT NULL AND b.most_failures <= (
        SELECT count(*) FROM (
            SELECT FROM batch_items
             WHERE batch_id = b.id AND status IN ('refused', 'failed')
             LIMIT b.most_failures) AS failures)
$$;


-- When the rate of a batch allows the next act. What it has not used is lost after a
-- second; and a time further off than the rate can lead to comes from a clock that has
-- jumped.
CREATE FUNCTION find_next_at(b batches, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN b.rate_per_second IS NULL
                  OR b.next_at > p_now + make_interval(secs => 1 + 1 / b.rate_per_second)
                THEN p_now
                ELSE greatest(b.next_at, p_now - interval '1 second') END
$$;


-- In how many seconds the item at p_first can be handed out; 0 for now. One that was
-- handed out before may still be in the hands of somebody.
CREATE FUNCTION find_wait_seconds(
    b batches, p_first int, p_grace float, p_now timestamptz
) RETURNS float
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(0, extract(epoch FROM find_next_at(b, p_now) - p_now),
                    CASE WHEN p_first < b.next_position AND b.handed_at <= p_now
                    THEN extract(epoch FROM b.handed_at - p_now) + p_grace END)
$$;


-- Take items from p_first on out of the rate, which allows one at least. The caller holds
-- the lock of the batch.
CREATE FUNCTION take_items(b batches, p_first int, p_most int, p_now timestamptz)
RETURNS int[]
LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz := find_next_at(b, p_now);
    allowed int := least(p_most, 1 + floor(
        b.rate_per_second * extract(epoch FROM p_now - since)));
    taken int[] := ARRAY(
        SELECT "position" FROM batch_items
         WHERE batch_id = b.id AND status = 'pending' AND "position" >= p_first
         ORDER BY "position" LIMIT allowed);
BEGIN
    UPDATE batches
       SET next_position = taken[cardinality(taken)] + 1, handed_at = p_now,
           next_at = since + make_interval(
               secs => coalesce(cardinality(taken) / b.rate_per_second, 0))
     WHERE id = b.id;
    RETURN taken;
END $$;


-- Act on the execution of one item of a batch, and mark the item.
--
-- outcome: done, refused or failed, as the item is marked; nothing, if it was marked
-- before; busy, when somebody holds the execution; stopped, when the batch does not go on.
-- The rest is what the act says of the execution.
CREATE FUNCTION act_on_item(
    p_batch uuid, p_position int,
    OUT outcome text, OUT execution_id uuid, OUT status text, OUT last_seq bigint,
    OUT epoch int, OUT open_steps int, OUT windows jsonb, OUT held_key text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    b batches;
    e executions;
    found text;
    came record;
BEGIN
    PERFORM begin_write();
    SELECT i.execution_id INTO execution_id FROM batch_items i
     WHERE i.batch_id = p_batch AND i."position" = p_position;
    IF (SELECT a.act NOT IN ('pause', 'resume', 'cancel') FROM batches a WHERE a.id = p_batch)
    THEN
        PERFORM lock_rejecting_key(execution_id);
    END IF;
    SELECT * INTO e FROM executions x
     WHERE x.id = act_on_item.execution_id FOR NO KEY UPDATE SKIP LOCKED;
    IF e.id IS NULL
       AND EXISTS (SELECT FROM executions x WHERE x.id = act_on_item.execution_id) THEN
        outcome := 'busy';
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(acts_of(p_batch));
    SELECT * INTO b FROM batches WHERE id = p_batch;
    SELECT i.status INTO found FROM batch_items i
     WHERE i.batch_id = p_batch AND i."position" = p_position FOR UPDATE;
    outcome := CASE WHEN b.status <> 'running' OR has_failed(b) THEN 'stopped'
                    WHEN found <> 'pending' THEN 'nothing' END;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT * INTO came FROM try_act(b, e);
    UPDATE batch_items i
       SET status = came.outcome, detail = came.detail, at = plans_now()
     WHERE i.batch_id = p_batch AND i."position" = p_position;
    outcome := came.outcome; status := came.status; last_seq := came.last_seq;
    epoch := came.epoch; open_steps := came.open_steps; windows := came.windows;
    held_key := came.held_key;
END $$;


-- Do what a batch is for to one execution, which may be gone. The caller holds its lock.
-- What goes wrong is undone and said: the other executions do not wait for it.
CREATE FUNCTION try_act(
    b batches, e executions,
    OUT outcome text, OUT detail text, OUT status text, OUT last_seq bigint,
    OUT epoch int, OUT open_steps int, OUT windows jsonb, OUT held_key text
)
LANGUAGE plpgsql AS $$
DECLARE
    landed bool;
BEGIN
    outcome := 'refused'; detail := 'it was deleted';
    IF e.id IS NULL THEN
        RETURN;
    END IF;
    SELECT a.* INTO landed, detail, status, last_seq, epoch, open_steps, windows, held_key
      FROM perform_act(b, e) AS a;
    IF landed THEN
        outcome := 'done'; detail := NULL;
        -- the first event of an act is its own, and so is each that bears its id
        UPDATE execution_events v
           SET data = v.data || jsonb_build_object('batch', b.id)
         WHERE v.execution_id = e.id AND v.seq >= e.next_seq
           AND (v.seq = e.next_seq OR v.data ? 'act');
    ELSE
        outcome := CASE WHEN stands_so(b, e) THEN 'done' ELSE 'refused' END;
        detail := coalesce(detail, format('it was %s%s', e.status,
            CASE e.status WHEN 'ending' THEN ' for: ' || e.reason END));
        last_seq := NULL; windows := '[]'; held_key := NULL;
    END IF;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected OR serialization_failure
         OR insufficient_resources OR operator_intervention THEN
        -- not the execution's fault: it is tried again
        RAISE;
    WHEN OTHERS THEN
        outcome := 'failed'; detail := SQLERRM;
        status := NULL; last_seq := NULL; windows := '[]'; held_key := NULL;
END $$;


CREATE FUNCTION perform_act(
    b batches, e executions,
    OUT landed bool, OUT detail text, OUT status text, OUT last_seq bigint,
    OUT epoch int, OUT open_steps int, OUT windows jsonb, OUT held_key text
)
LANGUAGE plpgsql AS $$
BEGIN
    windows := '[]';
    -- in quotes, for without them it is a word of the language
    CASE b.act
        WHEN 'pause' THEN
            SELECT a.landed, a.status, a.last_seq INTO landed, status, last_seq
              FROM pause_execution(e.id, b."by", b.reason) AS a;
        WHEN 'resume' THEN
            SELECT a.landed, a.status, a.last_seq, a.epoch, a.windows
              INTO landed, status, last_seq, epoch, windows
              FROM resume_execution(e.id, b."by", b.reason) AS a;
        WHEN 'cancel' THEN
            SELECT a.landed, a.status, a.last_seq, a.open_steps
              INTO landed, status, last_seq, open_steps
              FROM cancel_execution(e.id, b."by", b.reason) AS a;
        ELSE
            -- one batch does it to one execution once
            SELECT a.outcome = 'done', describe_refusal(a.refusal, a.about), a.status,
                   a.last_seq, a.epoch, a.open_steps, a.windows, a.held_key
              INTO landed, detail, status, last_seq, epoch, open_steps, windows, held_key
              FROM operate_execution(
                       e.id, md5(b.id::text || e.id)::uuid, b.act, b.arguments ->> 'step',
                       b.arguments -> 'result', '{}', e.epoch, b."by", b.reason) AS a;
    END CASE;
END $$;


-- Why an operator's act was refused, for the record of a batch.
CREATE FUNCTION describe_refusal(p_refusal text, p_about text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_refusal WHEN 'state' THEN 'it was ' || p_about
                          WHEN 'step_state' THEN 'the step was ' || p_about
           ELSE concat_ws(': ', replace(p_refusal, '_', ' '), p_about) END
$$;


-- Whether an execution stands as an act would have it already.
CREATE FUNCTION stands_so(b batches, e executions) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(CASE b.act
        WHEN 'pause' THEN e.status = 'paused'
        WHEN 'resume' THEN e.status IN ('pending', 'running')
        WHEN 'cancel' THEN e.reason = 'cancel'
        -- somebody else has retried it
        WHEN 'retry' THEN e.status IN ('pending', 'running', 'completed')
        WHEN 'skip' THEN (find_named(e.id, b.arguments ->> 'step')).status = 'skipped'
        END, false)
$$;


-- What an operator's act would come to for several executions: how many would refuse it,
-- and the steps that would run, by their names: [name, action, executions, times, times
-- that it has run before, attempts, seconds]. An item of a step counts as that.
CREATE FUNCTION preview_acts(
    p_executions uuid[], p_act text, p_step text, OUT refused int, OUT steps jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    WITH previews AS MATERIALIZED (
        SELECT p.refusal, p.steps
          FROM unnest(p_executions) AS x(id)
         CROSS JOIN LATERAL preview_act(x.id, p_act, p_step, '{}') AS p
    ), costs AS (
        SELECT regexp_replace(s ->> 1, '\[.*', '') AS name, s ->> 2 AS action,
               count(DISTINCT s ->> 0) AS executions, count(*) AS times,
               count(*) FILTER (WHERE (s ->> 5)::int > 0) AS repeats,
               sum((s ->> 5)::int) AS attempts, sum((s ->> 6)::float) AS seconds
          FROM previews p CROSS JOIN LATERAL jsonb_array_elements(p.steps) AS s
         GROUP BY 1, 2
    )
    SELECT (SELECT count(*) FROM previews p WHERE p.refusal IS NOT NULL),
           (SELECT coalesce(jsonb_agg(jsonb_build_array(
                       c.name, c.action, c.executions, c.times, c.repeats, c.attempts,
                       c.seconds) ORDER BY c.seconds DESC, c.name), '[]') FROM costs c)
      INTO refused, steps;
END $$;


-- Pause, resume or cancel a batch: p_status is where it is to be. What has returned holds:
-- no further item is acted on. status is NULL when there is no such batch.
CREATE FUNCTION move_batch(
    p_batch uuid, p_status text, p_by text, p_reason text, OUT landed bool, OUT status text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    SELECT b.status INTO status FROM batches b WHERE b.id = p_batch FOR NO KEY UPDATE;
    landed := coalesce(CASE p_status WHEN 'paused' THEN status = 'running'
                                     WHEN 'running' THEN status = 'paused'
                                     WHEN 'cancelled' THEN status IN ('running', 'paused')
                       END, false);
    IF NOT landed THEN
        RETURN;
    END IF;
    PERFORM write_batch(p_batch, p_status, p_by, p_reason);
    status := p_status;
    IF p_status = 'running' THEN
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Bring a batch whose row the caller holds to another state. Who acts for it comes to an
-- end first: none acts after that, and what is counted at the end is all.
CREATE FUNCTION write_batch(p_batch uuid, p_status text, p_by text, p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    is_over bool := p_status NOT IN ('running', 'paused');
BEGIN
    PERFORM pg_advisory_xact_lock(acts_of(p_batch));
    UPDATE batches
       SET status = p_status,
           ended_at = CASE WHEN is_over THEN plans_now() END,
           counts = CASE WHEN is_over THEN count_items(p_batch) END,
           history = history || jsonb_build_object(
               'from_status', status, 'to_status', p_status, 'by', p_by,
               'reason', p_reason, 'at', plans_now())
     WHERE id = p_batch;
END $$;


-- How many items of a batch there are of each state.
CREATE FUNCTION count_items(p_batch uuid) RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT coalesce(jsonb_object_agg(c.status, c.n), '{}')
      FROM (SELECT status, count(*) AS n FROM batch_items
             WHERE batch_id = p_batch GROUP BY status) AS c
$$;
