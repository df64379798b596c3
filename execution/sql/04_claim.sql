-- The first hot write: a message arrives, a step starts.

-- A step that has just been started, with what its policy, its condition and its inputs
-- are made of.
CREATE TYPE started_step AS (
    "position" int, name text, action text, queue text, attempt int, failures int,
    published_at timestamptz, publishes int, input jsonb,
    inputs jsonb, reads int[], retry jsonb, hostname text, section text,
    condition text, for_each text, item jsonb, is_fallback bool,
    cache jsonb, repeat jsonb, subplan text, uses text[]
);


-- Take the first step of the chain that may run. Steps that are settled already are
-- skipped in the same call (a repeated message that walked a finished window link by
-- link would publish itself once more at each), but never past a change of queue,
-- which another worker may serve.
--
-- outcome:
--   claimed       the step is the caller's; the same call again answers the same
--   satisfied     everything up to the next queue is settled: let the chain go on
--   dropped       nothing here for this message (`detail` says why): end the chain
--   parked        it has met a hold and waits for its end: end the chain
--   unregistered  the worker has no living row: register anew, then call again
--   refused       this worker lacks the action or the queue; nothing was counted
--
-- `skipped` is the number of links that were passed over.
CREATE FUNCTION claim_step(
    p_execution uuid, p_positions int[], p_epoch int, p_token uuid, p_worker uuid,
    p_delivery text,
    OUT outcome text, OUT detail text, OUT skipped int, OUT last_seq bigint,
    OUT claim jsonb, OUT variables jsonb,
    OUT plan text, OUT parameters jsonb, OUT execution jsonb, OUT has_parent bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s started_step;
    link int;
    refusal text;
    hold holds;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    refusal := CASE WHEN e.id IS NULL THEN 'no such execution'
                    WHEN e.epoch <> p_epoch THEN 'the message is of another epoch'
                    -- what is ready while it is ending belongs to a later section
                    WHEN e.status NOT IN ('pending', 'running', 'ending')
                    THEN e.status END;
    SELECT c.step_outcome, c.step_detail, c.step_skipped, c.step_position
      INTO outcome, detail, skipped, link
      FROM choose_link(p_execution, p_positions, p_token)
        AS c(step_outcome, step_detail, step_skipped, step_position);
    IF refusal IS NOT NULL AND outcome <> 'claimed' THEN
        -- what this very claim took before the execution was paused is still its own
        outcome := 'dropped'; detail := refusal; RETURN;
    ELSIF outcome = 'claimed' THEN
        s := find_started(e, link);
    ELSIF outcome = 'ready' THEN
        s := start_step(e, link, p_token, p_worker, p_delivery, false);
        IF s."position" IS NULL THEN
            SELECT h.* INTO hold
              FROM execution_steps n
             CROSS JOIN LATERAL find_hold(e, link, n.queue, n.section) AS h
             WHERE n.execution_id = p_execution AND n."position" = link;
            IF hold.id IS NOT NULL THEN
                last_seq := park_held(e, link, hold);
                outcome := 'parked';
                detail := format('%s %s is paused', hold.kind, hold.name);
                RETURN;
            END IF;
            SELECT r.refusal_outcome, r.refusal_detail INTO outcome, detail
              FROM refuse_claim(p_execution, link, p_worker)
                AS r(refusal_outcome, refusal_detail);
            PERFORM unsend_refused(p_execution, link);
            RETURN;
        END IF;
        e := begin_execution(e, s, p_worker);
        IF s.published_at IS NOT NULL AND is_newest_delivery(p_delivery, s, e.epoch) THEN
            PERFORM advance_front(s.queue, s.published_at);
        END IF;
        outcome := 'claimed';
    ELSE
        RETURN;
    END IF;
    last_seq := e.next_seq - 1;
    claim := describe_claim(p_execution, s);
    variables := e.variables; parameters := e.parameters;
    has_parent := e.parent_id IS NOT NULL;
    execution := describe_self(e);
    SELECT t.name INTO plan FROM plans t WHERE t.id = e.plan_id;
END $$;


-- Start a step under a token, if the worker may run it. It is ready; or, if p_rides, it
-- may also wait for nothing but the step that this transaction has completed: the same
-- write frees it then. The attempt counts before the code runs: one that kills its worker
-- must end. Nothing but NULLs: it cannot be started by this worker, or it has met a hold.
CREATE FUNCTION start_step(
    e executions, p_position int, p_token uuid, p_worker uuid, p_delivery text,
    p_rides bool
) RETURNS started_step
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := plans_now();
    s started_step;
BEGIN
    IF NOT share_holds() THEN
        RETURN NULL;
    END IF;
    -- a statement of its own: it sees the holds of those who had the lock before
    UPDATE execution_steps n
       SET status = 'running', pending_deps = 0, attempt = n.attempt + 1,
           lease_token = p_token, worker_id = p_worker, delivery = p_delivery,
           claimed_by_ride = p_rides, claimed_at = moment, claimed_beat = w.beats,
           ready_at = CASE n.status WHEN 'pending' THEN moment ELSE n.ready_at END,
           deadline = CASE WHEN n.status = 'pending' AND n.item_of IS NULL
                      THEN moment + make_interval(secs => n.deadline_seconds)
                      ELSE n.deadline END,
           attempt_deadline = least(
               CASE n.section WHEN 'steps' THEN e.deadline END, n.deadline,
               CASE n.status WHEN 'pending'
                    THEN moment + make_interval(secs => n.deadline_seconds) END,
               moment + make_interval(secs => coalesce(p.timeout_seconds, a.timeout_seconds))),
           progress = NULL, progress_message = NULL, chunks = NULL, records = NULL
      FROM plan_steps p LEFT JOIN actions a ON a.name = p.action
           CROSS JOIN workers w
     WHERE n.execution_id = e.id AND n."position" = p_position
       AND (n.status = 'ready'
            OR p_rides AND n.status = 'pending' AND n.pending_deps = 1)
       AND p.plan_id = e.plan_id AND p."position" = coalesce(n.item_of, p_position)
       AND w.id = p_worker AND w.ended_at IS NULL
       AND n.action = ANY (w.actions) AND n.queue = ANY (w.queues)
       AND (NOT EXISTS (SELECT FROM holds)
            OR NOT meets_hold(e, p_position, n.queue, n.section))
    RETURNING n."position", n.name, n.action, n.queue, n.attempt, n.failures,
              n.published_at, n.publishes, n.input, p.inputs,
              CASE WHEN n.item_of IS NULL THEN p.reads ELSE p.item_reads END, p.retry,
              w.hostname, n.section,
              -- a loop that goes on was asked when it began
              CASE WHEN coalesce(n.item_of, n.iterations) IS NULL THEN p.condition END,
              CASE WHEN n.item_of IS NULL THEN p.for_each END, n.item,
              n.stands_in_for IS NOT NULL, p.cache,
              CASE WHEN n.item_of IS NULL THEN p.repeat END, p.subplan,
              p.uses || a.uses
         INTO s;
    RETURN s;
END $$;


-- The same of a step that was started before: its claim is made once more.
CREATE FUNCTION find_started(e executions, p_position int) RETURNS started_step
LANGUAGE plpgsql AS $$
DECLARE
    s started_step;
BEGIN
    SELECT n."position", n.name, n.action, n.queue, n.attempt, n.failures,
           n.published_at, n.publishes, n.input, p.inputs,
           CASE WHEN n.item_of IS NULL THEN p.reads ELSE p.item_reads END, p.retry, NULL,
           n.section,
           CASE WHEN coalesce(n.item_of, n.iterations) IS NULL THEN p.condition END,
           CASE WHEN n.item_of IS NULL THEN p.for_each END, n.item,
           n.stands_in_for IS NOT NULL, p.cache,
           CASE WHEN n.item_of IS NULL THEN p.repeat END, p.subplan,
           uses_of(e, p_position)
      INTO s
      FROM execution_steps n
      JOIN plan_steps p ON p.plan_id = e.plan_id
                       AND p."position" = coalesce(n.item_of, n."position")
     WHERE n.execution_id = e.id AND n."position" = p_position;
    RETURN s;
END $$;


-- Why a worker could not start a ready step.
CREATE FUNCTION refuse_claim(
    p_execution uuid, p_position int, p_worker uuid, OUT outcome text, OUT detail text
)
LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN w.id IS NULL THEN 'unregistered' ELSE 'refused' END,
           CASE WHEN w.id IS NULL THEN NULL
                WHEN s.action = ANY (w.actions)
                THEN format('does not serve queue %s', s.queue)
                ELSE format('has no action %s', s.action) END
      FROM execution_steps s
      LEFT JOIN workers w ON w.id = p_worker AND w.ended_at IS NULL
     WHERE s.execution_id = p_execution AND s."position" = p_position
$$;


-- Tell that a step was started, and the execution with its first one. Returns the
-- execution as it is now.
CREATE FUNCTION begin_execution(e executions, s started_step, p_worker uuid)
RETURNS executions
LANGUAGE plpgsql AS $$
DECLARE
    drafts event_draft[] := ARRAY[tell_start(s, p_worker)];
BEGIN
    IF e.status = 'pending' THEN
        drafts := ROW('execution.started', NULL, '{}')::event_draft || drafts;
        PERFORM write_state(e.id, e.next_seq, 'pending', 'running', NULL, NULL);
    END IF;
    e.next_seq := write_events(e.id, e.next_seq, drafts);
    UPDATE executions
       SET status = CASE e.status WHEN 'pending' THEN 'running' ELSE e.status END,
           started_at = coalesce(started_at, plans_now()), next_seq = e.next_seq
     WHERE id = e.id;
    RETURN e;
END $$;


CREATE FUNCTION tell_start(s started_step, p_worker uuid) RETURNS event_draft
LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW('step.started', s."position", jsonb_build_object(
        'attempt', s.attempt, 'worker', p_worker, 'host', s.hostname))::event_draft
$$;


-- What the holder of a step needs to run it. What is the same for all steps of an
-- execution is not in it.
CREATE FUNCTION describe_claim(p_execution uuid, s started_step) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    steps jsonb := '{}';
    undone jsonb;
    failure jsonb;
    checkpoint jsonb;
    loop_so_far jsonb;
    guards jsonb;
BEGIN
    IF s.section <> 'steps' THEN
        steps := all_outcomes(p_execution, s.reads);
        undone := undone_outcome(p_execution, s."position");
    ELSIF cardinality(s.reads) > 0 THEN
        steps := step_outcomes(p_execution, s.reads);
    END IF;
    IF s.is_fallback THEN
        SELECT t.error INTO failure
          FROM execution_steps t JOIN execution_steps n USING (execution_id)
         WHERE t.execution_id = p_execution AND n."position" = s."position"
           AND t."position" = n.stands_in_for;
    END IF;
    IF s.repeat IS NOT NULL THEN
        loop_so_far := describe_loop(p_execution, s."position", s.repeat);
    END IF;
    IF s.attempt > 1 THEN
        SELECT c.data INTO checkpoint FROM execution_checkpoints c
         WHERE c.execution_id = p_execution AND c."position" = s."position";
    END IF;
    IF cardinality(s.uses) > 0 THEN
        guards := describe_guards(s.uses);
    END IF;
    RETURN jsonb_build_object(
        'position', s."position", 'name', s.name, 'action', s.action,
        'attempt', s.attempt, 'failures', s.failures, 'retry', s.retry::text,
        'inputs', s.inputs, 'recorded', s.input, 'steps', steps, 'undone', undone,
        'failure', failure, 'condition', s.condition, 'for_each', s.for_each,
        'item', s.item, 'loop', loop_so_far, 'cache', s.cache,
        'subplan', s.subplan, 'guards', guards,
        'checkpoint', checkpoint);
END $$;


-- Forget that a ready step was sent whose message came to a worker that cannot run it, if
-- another one can: the next look of a reconciler sends it again, and it need not be missed
-- first. If nobody can, it waits as one whose message is lost.
CREATE FUNCTION unsend_refused(p_execution uuid, p_position int) RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE execution_steps s SET published_at = NULL
     WHERE s.execution_id = p_execution AND s."position" = p_position
       AND s.status = 'ready'
       AND EXISTS (SELECT FROM workers w
                    WHERE w.ended_at IS NULL AND s.queue = ANY (w.queues)
                      AND s.action = ANY (w.actions))
$$;


-- Walk the links of a message to the first one that is not settled.
CREATE FUNCTION choose_link(
    p_execution uuid, p_positions int[], p_token uuid,
    OUT outcome text, OUT detail text, OUT skipped int, OUT "position" int
)
LANGUAGE plpgsql AS $$
DECLARE
    s execution_steps;
    first_queue text;
    link int;
BEGIN
    skipped := 0;
    FOREACH link IN ARRAY p_positions LOOP
        SELECT * INTO s FROM execution_steps t
         WHERE t.execution_id = p_execution AND t."position" = link;
        first_queue := coalesce(first_queue, s.queue);
        IF s."position" IS NULL OR s.queue <> first_queue THEN
            EXIT;
        ELSIF s.status IN ('completed', 'skipped') THEN
            skipped := skipped + 1;
            CONTINUE;
        END IF;
        "position" := link;
        outcome := CASE WHEN s.status = 'ready' THEN 'ready'
                        WHEN s.status = 'running' AND s.lease_token = p_token
                        THEN 'claimed' ELSE 'dropped' END;
        detail := CASE WHEN outcome = 'dropped'
                       THEN format('step %s is %s', s.name, s.status) END;
        RETURN;
    END LOOP;
    outcome := 'satisfied';
END $$;


-- When an attempt that begins in p_wait seconds has to be over: after the timeout of
-- the step or, where it states none, of its action, and not beyond p_latest, the
-- deadline of the step or the plan; never, where none of them is stated.
CREATE FUNCTION attempt_deadline(
    p_plan uuid, p_position int, p_wait float, p_latest timestamptz
) RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
    SELECT least(p_latest, plans_now() + make_interval(secs => p_wait
               + coalesce(p.timeout_seconds, a.timeout_seconds)))
      FROM plan_steps p LEFT JOIN actions a ON a.name = p.action
     WHERE p.plan_id = p_plan AND p."position" = p_position
$$;


-- Whether a delivery is the newest publication of its step, by the end of its id. Only
-- that one says how far its queue has come: an older message of a step that was sent
-- again is claimed under a publication that still waits.
CREATE FUNCTION is_newest_delivery(p_delivery text, p_step started_step, p_epoch int)
RETURNS bool
LANGUAGE sql IMMUTABLE AS $$
    SELECT right(p_delivery, length(ending)) = ending
      FROM concat(':', p_step.name, ':', p_epoch, ':', p_step.publishes) AS ending
$$;


-- Note that a message of the queue, sent at p_published_at, has been claimed: what was
-- sent well before it and is not claimed has been overtaken. At most one write a second
-- and queue, and none that would wait for another one.
CREATE FUNCTION advance_front(p_queue text, p_published_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    known timestamptz;
BEGIN
    SELECT front INTO known FROM queues WHERE name = p_queue;
    IF NOT FOUND THEN
        INSERT INTO queues (name, front) VALUES (p_queue, p_published_at)
        ON CONFLICT (name) DO NOTHING;
    ELSIF known < p_published_at - interval '1 second' OR known > plans_now() THEN
        UPDATE queues SET front = p_published_at
         WHERE name = (SELECT name FROM queues WHERE name = p_queue
                          FOR UPDATE SKIP LOCKED);
    END IF;
END $$;
