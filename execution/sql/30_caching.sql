-- Results that are used again.

-- Ask for a result that a step may use instead of running, before its first attempt. It
-- must not be older than p_ttl_seconds, whatever who stored it allows.
--
-- outcome:
--   reused   there is one: `result`, as JSON text; the step is still held, and to be
--            completed with it. The same call again answers the same, unless the
--            result is gone by then
--   missed   there is none
--   stale    the token no longer holds the step
CREATE FUNCTION reuse_result(
    p_execution uuid, p_position int, p_token uuid, p_digest text, p_ttl_seconds float,
    OUT outcome text, OUT result text, OUT last_seq bigint
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    seq bigint;
    s execution_steps;
    c cached_results;
    is_repeated bool;
BEGIN
    PERFORM begin_write();
    SELECT next_seq INTO seq FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    last_seq := seq - 1;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position
       AND t.lease_token = p_token AND t.status = 'running';
    IF NOT FOUND THEN
        outcome := 'stale';
        RETURN;
    END IF;
    is_repeated := coalesce((s.cached_from ->> 'attempt')::int = s.attempt, false);
    SELECT * INTO c FROM find_result(p_digest, p_ttl_seconds, is_repeated);
    outcome := CASE WHEN c.digest IS NULL THEN 'missed' ELSE 'reused' END;
    result := c.result::text;
    IF outcome = 'missed' AND s.cached_from IS NOT NULL THEN
        UPDATE execution_steps t SET cached_from = NULL
         WHERE t.execution_id = p_execution AND t."position" = p_position;
    ELSIF outcome = 'reused' AND NOT is_repeated THEN
        UPDATE execution_steps t
           SET cached_from = jsonb_build_object(
                   'execution_id', c.execution_id, 'step', c.step,
                   'stored_at', c.created_at, 'attempt', s.attempt)
         WHERE t.execution_id = p_execution AND t."position" = p_position;
        last_seq := write_events(p_execution, seq, ARRAY[ROW('step.cached', p_position,
            jsonb_build_object('attempt', s.attempt, 'from', jsonb_build_object(
                    'execution_id', c.execution_id, 'step', c.step),
                'age_seconds', extract(epoch FROM plans_now() - c.created_at)
                ))::event_draft]) - 1;
        UPDATE executions SET next_seq = last_seq + 1 WHERE id = p_execution;
    END IF;
END $$;


-- The result that is stored under a digest, if it may still be used; p_anyway, also if not.
CREATE FUNCTION find_result(p_digest text, p_ttl_seconds float, p_anyway bool)
RETURNS SETOF cached_results
LANGUAGE sql VOLATILE AS $$
    SELECT * FROM cached_results
     WHERE digest = p_digest
       AND (p_anyway OR expires_at > plans_now()
            AND created_at > plans_now() - make_interval(secs => p_ttl_seconds))
$$;


-- Keep the result of a step that has just succeeded, in the place of what is stored under
-- the digest, and remove a few that have expired. The caller holds the execution's lock.
--
-- What is removed was not usable for an hour: until then, a call that is made again finds
-- what it has found before. Rows that others write are passed over: two that store at the
-- same time never wait for each other crosswise.
CREATE FUNCTION store_result(
    p_execution uuid, p_position int, p_digest text, p_ttl_seconds float
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cached_results (digest, action, result, execution_id, step, created_at,
                                expires_at)
    SELECT p_digest, s.action, s.result, s.execution_id, s.name, s.ended_at,
           s.ended_at + make_interval(secs => p_ttl_seconds)
      FROM execution_steps s
     WHERE s.execution_id = p_execution AND s."position" = p_position
       AND s.status = 'completed' AND s.result IS NOT NULL
    ON CONFLICT (digest) DO UPDATE
       SET result = excluded.result, execution_id = excluded.execution_id,
           step = excluded.step, created_at = excluded.created_at,
           expires_at = excluded.expires_at;
    DELETE FROM cached_results
     WHERE digest = ANY (ARRAY(SELECT expired_results(10)));
END $$;


CREATE FUNCTION expired_results(p_most int) RETURNS SETOF text
LANGUAGE sql VOLATILE AS $$
    SELECT digest FROM cached_results
     WHERE expires_at < plans_now() - interval '1 hour'
     ORDER BY expires_at LIMIT p_most
       FOR UPDATE SKIP LOCKED
$$;
