-- The first hot write: a message arrives, a step starts.

-- Take the first step of the chain that may run. Steps that are settled already are
-- skipped in the same call (a repeated message that walked a finished window link by
-- link would publish itself once more at each), but never past a change of queue,
-- which another worker may serve.
--
-- outcome:
--   claimed       the step is the caller's; the same call again answers the same
--   satisfied     everything up to the next queue is settled: let the chain go on
--   dropped       nothing here for this message (`detail` says why): end the chain
--   unregistered  the worker has no living row: register anew, then call again
--   refused       this worker lacks the action or the queue; nothing was counted
--
-- `skipped` is the number of links that were passed over.
CREATE FUNCTION claim_step(
    p_execution uuid, p_positions int[], p_epoch int, p_token uuid, p_worker uuid,
    p_delivery text,
    OUT outcome text, OUT detail text, OUT skipped int, OUT last_seq bigint,
    OUT "position" int, OUT name text, OUT action text, OUT attempt int,
    OUT failures int, OUT retry jsonb, OUT plan text, OUT parameters jsonb,
    OUT variables jsonb, OUT execution jsonb, OUT inputs jsonb, OUT recorded jsonb,
    OUT steps jsonb, OUT checkpoint jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    p plan_steps;
    w workers;
    drafts event_draft[] := '{}';
    refusal text;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    refusal := CASE WHEN e.id IS NULL THEN 'no such execution'
                    WHEN e.epoch <> p_epoch THEN 'the message is of another epoch'
                    WHEN e.status NOT IN ('pending', 'running') THEN e.status END;
    SELECT c.step_outcome, c.step_detail, c.step_skipped, c.step_position
      INTO outcome, detail, skipped, "position"
      FROM choose_link(p_execution, p_positions, p_token)
        AS c(step_outcome, step_detail, step_skipped, step_position);
    IF refusal IS NOT NULL AND outcome <> 'claimed' THEN
        -- what this very claim took before the execution was paused is still its own
        outcome := 'dropped'; detail := refusal; RETURN;
    ELSIF outcome NOT IN ('ready', 'claimed') THEN
        RETURN;
    END IF;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = claim_step."position";
    SELECT * INTO p FROM plan_steps t
     WHERE t.plan_id = e.plan_id AND t."position" = s."position";

    IF outcome = 'ready' THEN
        SELECT * INTO w FROM workers WHERE id = p_worker AND ended_at IS NULL;
        IF NOT FOUND THEN
            outcome := 'unregistered'; RETURN;
        ELSIF NOT (s.action = ANY (w.actions)) THEN
            outcome := 'refused'; detail := format('has no action %s', s.action); RETURN;
        ELSIF NOT (s.queue = ANY (w.queues)) THEN
            outcome := 'refused'; detail := format('does not serve queue %s', s.queue);
            RETURN;
        END IF;
        IF e.status = 'pending' THEN
            drafts := ARRAY[ROW('execution.started', NULL, '{}')::event_draft];
            PERFORM write_state(p_execution, e.next_seq, 'pending', 'running', NULL, NULL);
        END IF;
        -- the attempt counts before the code runs: one that kills its worker must end
        UPDATE execution_steps t
           SET status = 'running', attempt = t.attempt + 1, lease_token = p_token,
               worker_id = p_worker, delivery = p_delivery, claimed_at = plans_now(),
               claimed_beat = w.beats,
               attempt_deadline = attempt_deadline(
                   e.plan_id, s."position", 0, least(t.deadline, e.deadline)),
               progress = NULL, progress_message = NULL, chunks = NULL, records = NULL
         WHERE t.execution_id = p_execution AND t."position" = s."position"
        RETURNING t.attempt INTO s.attempt;
        drafts := drafts || ROW('step.started', s."position", jsonb_build_object(
            'attempt', s.attempt, 'worker', p_worker, 'host', w.hostname))::event_draft;
        last_seq := write_events(p_execution, e.next_seq, drafts) - 1;
        UPDATE executions
           SET status = 'running', started_at = coalesce(started_at, plans_now()),
               next_seq = last_seq + 1
         WHERE id = p_execution;
        IF s.published_at IS NOT NULL AND is_newest_delivery(p_delivery, s, e.epoch) THEN
            PERFORM advance_front(s.queue, s.published_at);
        END IF;
    END IF;

    outcome := 'claimed';
    last_seq := coalesce(last_seq, e.next_seq - 1);
    name := s.name; action := s.action; attempt := s.attempt; failures := s.failures;
    retry := p.retry;
    parameters := e.parameters; variables := e.variables;
    execution := jsonb_build_object('id', e.id, 'created_at', e.created_at, 'tags', e.tags);
    inputs := p.inputs;
    recorded := s.input;
    SELECT t.name INTO plan FROM plans t WHERE t.id = e.plan_id;
    steps := step_outcomes(p_execution, p.reads);
    IF s.attempt > 1 THEN
        SELECT c.data INTO checkpoint FROM execution_checkpoints c
         WHERE c.execution_id = p_execution AND c."position" = s."position";
    END IF;
END $$;


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
CREATE FUNCTION is_newest_delivery(p_delivery text, p_step execution_steps, p_epoch int)
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


-- What expressions may read of other steps, by name.
CREATE FUNCTION step_outcomes(p_execution uuid, p_positions int[]) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_object_agg(name, jsonb_build_object(
               'status', status, 'result', result, 'results', NULL, 'error', error,
               'attempt', attempt)), '{}')
      FROM execution_steps
     WHERE execution_id = p_execution AND "position" = ANY (p_positions)
$$;
