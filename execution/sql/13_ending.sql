-- The end of an execution: the sections that come after its steps, and its result.

-- Let an execution of which nothing is open any more go on to what comes after its steps:
-- what undoes those that have completed, if its plan asks for that, then the steps of the
-- end; until something is open again, or all is over. Of what has waited for its key until
-- its end nothing has begun, and nothing comes after it. The caller holds the lock, and
-- writes the execution and the drafts.
CREATE FUNCTION begin_section(e executions, OUT begun executions, OUT drafts event_draft[])
LANGUAGE plpgsql AS $$
DECLARE
    rolls_back bool;
    ends_with int[];
    planned int[];
BEGIN
    drafts := '{}';
    SELECT e.reason = ANY (p.rollback), p.end_steps INTO rolls_back, ends_with
      FROM plans p WHERE p.id = e.plan_id;
    WHILE e.open_steps = 0 AND e.section <> 'over' LOOP
        e.section := CASE e.section WHEN 'steps' THEN 'rollback'
                     WHEN 'rollback' THEN 'end' ELSE 'over' END;
        planned := CASE
            WHEN waits_for_key(e) AND e.started_at IS NULL THEN '{}'::int[]
            WHEN e.section = 'rollback' AND rolls_back THEN plan_rollback(e)
            WHEN e.section = 'end' AND ends_with <> '{}' THEN plan_end(e, ends_with)
            ELSE '{}' END;
        IF cardinality(planned) > 0 THEN
            e.open_steps := cardinality(planned);
            e.total_steps := e.total_steps + cardinality(planned)
                - renew_section(e.id, planned);
            drafts := drafts || add_steps(e, planned);
        END IF;
    END LOOP;
    begun := e;
END $$;


-- The steps that undo what has completed, the last first. Their order is that of the
-- timeline: a clock may be set back. Where the tables have grown since they were
-- analysed, the planner would rather read the whole timeline once for each step. A step
-- that a restore has begun anew may have completed several times: the last one counts.
CREATE FUNCTION plan_rollback(e executions) RETURNS int[]
LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    RETURN (
        SELECT coalesce(array_agg(undoing."position" ORDER BY undoing.seq DESC), '{}')
          FROM (SELECT p."position", max(v.seq) AS seq
                  FROM plan_steps p
                  JOIN execution_steps s ON s.execution_id = e.id AND s."position" = p.undoes
                                        AND s.status = 'completed'
                  JOIN execution_events v ON v.execution_id = e.id
                                         AND v."position" = p.undoes
                                         AND v.type = 'step.completed'
                 WHERE p.plan_id = e.plan_id AND p.section = 'rollback'
                 GROUP BY p."position") AS undoing);
END $$;


-- Of the steps of the end, as they are written, those that this end asks for.
CREATE FUNCTION plan_end(e executions, p_positions int[]) RETURNS int[]
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(array_agg(p."position" ORDER BY p."position"), '{}')
      FROM plan_steps p
     WHERE p.plan_id = e.plan_id AND p."position" = ANY (p_positions)
       AND (p.run_on = 'always' OR e.reason <> 'result')
$$;


-- Let those of these steps wait that are there already, from an end before a retry. Returns
-- how many they are.
CREATE FUNCTION renew_section(p_execution uuid, p_positions int[]) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    there int[] := ARRAY(SELECT t."position" FROM execution_steps t
                          WHERE t.execution_id = p_execution
                            AND t."position" = ANY (p_positions));
BEGIN
    IF there <> '{}' THEN
        PERFORM reset_steps(p_execution, there);
    END IF;
    RETURN cardinality(there);
END $$;


-- Add these steps of the plan to its execution, one after the other; the first is ready.
CREATE FUNCTION add_steps(e executions, p_positions int[]) RETURNS event_draft[]
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := plans_now();
BEGIN
    INSERT INTO execution_steps (execution_id, "position", name, action, queue, priority,
        section, needs, successors, pending_deps, deadline_seconds, status, ready_at,
        deadline)
    SELECT e.id, p."position", p.name, p.action, coalesce(p.queue, a.queue, e.queue),
           e.priority + p.priority, p.section,
           array_remove(ARRAY[p_positions[n - 1]], NULL),
           array_remove(ARRAY[p_positions[n + 1]], NULL),
           CASE n WHEN 1 THEN 0 ELSE 1 END, p.deadline_seconds,
           CASE n WHEN 1 THEN 'ready' ELSE 'pending' END,
           CASE n WHEN 1 THEN now END,
           CASE n WHEN 1 THEN now + make_interval(secs => p.deadline_seconds) END
      FROM unnest(p_positions) WITH ORDINALITY AS planned(at, n)
      JOIN plan_steps p ON p.plan_id = e.plan_id AND p."position" = planned.at
      LEFT JOIN actions a ON a.name = p.action
    ON CONFLICT (execution_id, "position") DO UPDATE
       SET needs = excluded.needs, successors = excluded.successors,
           pending_deps = excluded.pending_deps, status = excluded.status,
           ready_at = excluded.ready_at, deadline = excluded.deadline;
    RETURN ARRAY(SELECT ROW('step.added', at, '{}')::event_draft
                   FROM unnest(p_positions) AS planned(at))
        || ROW('step.ready', p_positions[1], '{}')::event_draft;
END $$;


-- Executions whose last step has ended and whose runner died before it finished them.
CREATE FUNCTION unfinished_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM executions WHERE status = 'ending' AND open_steps = 0 LIMIT p_most
$$;


-- Finish an execution that was stopped: there is nothing to decide. Where a result has to
-- be made of what its steps came to, that is for those who run steps: they are told.
CREATE FUNCTION finish_stopped(
    p_execution uuid, OUT landed bool, OUT status text, OUT last_seq bigint
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    landed := false; status := e.status; last_seq := e.next_seq - 1;
    IF e.status = 'ending' AND e.reason = 'result' THEN
        PERFORM tell_reconcilers();
    ELSIF e.status = 'ending' THEN
        SELECT * INTO landed, status, last_seq FROM finish_execution(
            p_execution,
            CASE e.reason WHEN 'abort' THEN 'failed' WHEN 'cancel' THEN 'cancelled'
                 ELSE 'timed_out' END,
            NULL, describe_stop(e));
    END IF;
END $$;


-- The error of an execution that a person or its deadline has stopped; NULL for one that
-- has failed, which has its own. Who cancelled it, and why, as far as that was said.
CREATE FUNCTION describe_stop(e executions) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    said text := 'the deadline has passed';
BEGIN
    IF e.reason = 'abort' THEN
        RETURN NULL;
    ELSIF e.reason = 'cancel' THEN
        -- without a comment, the history repeats the reason
        SELECT 'cancelled ' || coalesce('by ' || s.by, 'on request')
               || coalesce(': ' || nullif(s.reason, e.reason), '')
          INTO said
          FROM execution_states s
         WHERE s.execution_id = e.id AND s.to_status = 'ending'
           AND s.from_status <> 'ending'
         ORDER BY s.seq DESC LIMIT 1;
    END IF;
    RETURN jsonb_build_object(
        'code', CASE e.reason WHEN 'cancel' THEN 'E004' ELSE 'E002' END,
        'message', said, 'step', NULL, 'timestamp', plans_now(), 'recoverable', false,
        'context', '{}'::jsonb);
END $$;


-- What the result of an execution is made of: the template of its plan, and what the steps
-- that it names came to (without a template: its only leaf). No reason: it is not due.
CREATE FUNCTION read_ending(
    p_execution uuid,
    OUT reason text, OUT plan text, OUT template jsonb, OUT parameters jsonb,
    OUT execution jsonb, OUT steps jsonb, OUT error jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    p plans;
BEGIN
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND status = 'ending' AND open_steps = 0 AND section = 'over';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO p FROM plans WHERE id = e.plan_id;
    reason := e.reason; plan := p.name; template := p.result;
    parameters := e.parameters; error := e.error;
    execution := describe_self(e);
    steps := all_outcomes(p_execution, p.result_reads);
END $$;
