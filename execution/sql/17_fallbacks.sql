-- A step that failed for good, and the one that stands in for it.

-- Let a step wait for its fallback, which becomes ready. It keeps its error, and lets go of
-- its token and its deadline: the fallback has policies of its own. A loop waits for its
-- iteration no more. The caller holds the lock and has archived the attempt. Returns the
-- windows to send.
CREATE FUNCTION fall_back(
    e executions, s execution_steps, p_input jsonb, p_error jsonb
) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    unstarted record;
BEGIN
    SELECT * INTO unstarted FROM cancel_items(s);
    e.open_steps := e.open_steps - unstarted.cancels;
    UPDATE execution_steps t
       SET status = 'waiting', input = coalesce(p_input, t.input), error = p_error,
           pending_deps = 0, lease_token = NULL, worker_id = NULL, delivery = NULL,
           claimed_at = NULL, attempt_deadline = NULL, published_at = NULL,
           wake_at = NULL, deadline = NULL, child_id = NULL, waits_for = NULL,
           parked_at = NULL
     WHERE t.execution_id = s.execution_id AND t."position" = s."position";
    UPDATE execution_steps t
       SET status = 'ready', pending_deps = 0, ready_at = plans_now(),
           deadline = plans_now() + make_interval(secs => t.deadline_seconds)
     WHERE t.execution_id = s.execution_id AND t."position" = s.fallback;
    e := write_execution(e, ARRAY[
        ROW('step.waiting', s."position", jsonb_build_object(
            'attempt', s.attempt, 'error', p_error, 'fallback', s.fallback)),
        ROW('step.ready', s.fallback, '{}')]::event_draft[] || unstarted.drafts);
    IF e.status = 'paused' THEN
        RETURN '[]';
    END IF;
    RETURN send_successors(s.execution_id, ARRAY[s.fallback], NULL, s.queue);
END $$;


-- A fallback has succeeded: so has the step that it stands in for, with its result; and so
-- on up, where that one is a fallback itself. `ends` is the number of those steps.
CREATE FUNCTION replace_failed(
    s execution_steps, p_result jsonb,
    OUT ends int, OUT ready int[], OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    x execution_steps := s;
    follow record;
BEGIN
    ends := 0; ready := '{}'; drafts := '{}';
    WHILE x.stands_in_for IS NOT NULL LOOP
        UPDATE execution_steps t
           SET status = 'completed', result = p_result, ended_at = plans_now()
         WHERE t.execution_id = s.execution_id AND t."position" = x.stands_in_for
           AND t.status = 'waiting'
        RETURNING * INTO x;
        EXIT WHEN NOT FOUND;
        ends := ends + 1;
        drafts := drafts || ROW('step.completed', x."position", jsonb_build_object(
            'attempt', x.attempt, 'fallback', s."position"))::event_draft;
        SELECT * INTO follow FROM release_after_success(s.execution_id, x.successors);
        drafts := drafts || follow.drafts;
        ready := ready || follow.ready;
    END LOOP;
END $$;


-- A fallback did not succeed (p_status): neither has the step that it stands in for, nor any
-- further up. Each keeps the error that it failed of. `failed` are their positions.
CREATE FUNCTION fail_replaced(
    s execution_steps, p_status text, OUT failed int[], OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    x execution_steps := s;
BEGIN
    failed := '{}'; drafts := '{}';
    WHILE x.stands_in_for IS NOT NULL LOOP
        UPDATE execution_steps t
           SET status = CASE p_status WHEN 'skipped' THEN 'skipped' ELSE 'failed' END,
               reason = CASE p_status WHEN 'skipped' THEN 'failed' END,
               ended_at = plans_now()
         WHERE t.execution_id = s.execution_id AND t."position" = x.stands_in_for
           AND t.status = 'waiting'
        RETURNING * INTO x;
        EXIT WHEN NOT FOUND;
        failed := failed || x."position";
        drafts := drafts || ROW('step.' || x.status, x."position", jsonb_strip_nulls(
            jsonb_build_object('attempt', x.attempt, 'error', x.error, 'reason', x.reason)
            ))::event_draft;
    END LOOP;
END $$;


-- Skip the fallbacks that these steps have no use for any more, and those of theirs.
CREATE FUNCTION skip_fallbacks(
    p_execution uuid, p_positions int[], OUT skips int, OUT drafts event_draft[]
)
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE unused AS (
        SELECT s.fallback FROM execution_steps s
         WHERE s.execution_id = p_execution AND s."position" = ANY (p_positions)
           AND s.fallback IS NOT NULL
        UNION ALL
        SELECT s.fallback FROM unused u
          JOIN execution_steps s ON s.execution_id = p_execution
                                AND s."position" = u.fallback
         WHERE s.fallback IS NOT NULL
    ), skipped AS (
        UPDATE execution_steps
           SET status = 'skipped', reason = 'unused', pending_deps = 0,
               ended_at = plans_now()
         WHERE execution_id = p_execution AND status = 'pending'
           AND "position" IN (SELECT fallback FROM unused)
        RETURNING "position"
    )
    SELECT count(*)::int,
           coalesce(array_agg(ROW('step.skipped', "position", '{"reason": "unused"}'
                                  )::event_draft ORDER BY "position"), '{}')
      FROM skipped
$$;
