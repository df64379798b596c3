-- What `plans doctor` compares with the broker and the workers: what is intended, and what
-- is said to happen. Of each kind p_most at most. What follows from it is decided elsewhere;
-- nothing is locked, and nothing changed.

-- All of one moment, if who asks does so in a transaction that is REPEATABLE READ: some of
-- what is called here is VOLATILE, and would have a snapshot of its own else. p_lease is that
-- of workers that have not said theirs; what reconcilers see to is told only once they had
-- p_grace seconds to do so. `cut` names of what there is more than was looked at.
CREATE FUNCTION read_diagnosis(p_lease float, p_grace float, p_most int) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
BEGIN
    RETURN jsonb_build_object(
        'workers', diagnose_workers(p_most),
        'due', diagnose_due(p_lease, p_most),
        'sent', diagnose_sent(p_most),
        'lost', diagnose_lost(p_lease, p_grace, p_most),
        'taken', diagnose_taken(p_lease, p_grace, p_most),
        'unsent', diagnose_unsent(p_grace, p_most),
        'unfinished', diagnose_unfinished(p_grace, p_most),
        'stuck', diagnose_stuck(p_most),
        'needed', diagnose_needed(p_lease, p_most),
        'unused_queues', diagnose_queues(p_most),
        'cut', diagnose_cuts(p_most))
        || diagnose_times(p_lease, p_grace, p_most);
END $$;


-- Seconds from a moment until now.
CREATE FUNCTION seconds_since(p_moment timestamptz) RETURNS float
LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM plans_now() - p_moment)::float
$$;


CREATE FUNCTION diagnose_workers(p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'id', w.id, 'hostname', w.hostname, 'queues', w.queues,
               'lease_seconds', w.lease_seconds, 'beat_age', seconds_since(w.beat_at),
               'rounds', w.rounds)), '[]')
      FROM (SELECT * FROM workers WHERE ended_at IS NULL ORDER BY hostname LIMIT p_most) w
$$;


-- Whether a worker has not beaten for its lease; p_lease is that of one that has not said it.
-- By the clock: the pulse stands still where nobody looks.
CREATE FUNCTION is_silent(w workers, p_lease float) RETURNS bool
LANGUAGE sql STABLE AS $$
    SELECT seconds_since(w.beat_at) > coalesce(w.lease_seconds, p_lease)
$$;


-- Whether steps of such an execution may start.
CREATE FUNCTION may_start(p_status text) RETURNS bool
LANGUAGE sql IMMUTABLE AS $$ SELECT p_status IN ('pending', 'running', 'ending') $$;


-- The ready steps of each queue, the first p_most of each; one look at the index for the
-- next queue, however many of its steps wait.
CREATE FUNCTION diagnose_ready(p_most int) RETURNS SETOF execution_steps
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE lanes AS (
        (SELECT queue FROM execution_steps WHERE status = 'ready' ORDER BY queue LIMIT 1)
        UNION ALL
        SELECT n.queue FROM lanes l CROSS JOIN LATERAL (
            SELECT s.queue FROM execution_steps s
             WHERE s.status = 'ready' AND s.queue > l.queue
             ORDER BY s.queue LIMIT 1) n
    )
    SELECT f.* FROM lanes l CROSS JOIN LATERAL (
        SELECT s.* FROM execution_steps s
          JOIN executions e ON e.id = s.execution_id AND may_start(e.status)
         WHERE s.queue = l.queue AND s.status = 'ready'
         ORDER BY s.published_at
         LIMIT p_most) f
$$;


-- What is due, by queue and action, and how many living workers serve the queue, and have
-- the action.
CREATE FUNCTION diagnose_due(p_lease float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    WITH living AS (
        SELECT w.queues, w.actions FROM workers w
         WHERE w.ended_at IS NULL AND NOT is_silent(w, p_lease)
    ), due AS (
        SELECT s.queue, s.action, count(*) AS steps,
               seconds_since(min(s.ready_at)) AS oldest,
               (array_agg(s.execution_id || ' ' || s.name ORDER BY s.ready_at))[1:20] AS first
          FROM diagnose_ready(p_most) s GROUP BY s.queue, s.action
    )
    SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object(
               'serving', (SELECT count(*) FROM living WHERE d.queue = ANY (queues)),
               'able', (SELECT count(*) FROM living
                         WHERE d.queue = ANY (queues) AND d.action = ANY (actions)))
               ORDER BY d.queue, d.action), '[]')
      FROM due d
$$;


CREATE FUNCTION diagnose_sent(p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               s.execution_id, s."position", s.name, s.queue, s.epoch, s.publishes,
               seconds_since(s.published_at)) ORDER BY s.published_at), '[]')
      FROM (SELECT r.*, e.epoch FROM diagnose_ready(p_most) r
              JOIN executions e ON e.id = r.execution_id
             WHERE r.published_at IS NOT NULL
             ORDER BY r.published_at LIMIT p_most) s
$$;


-- What runs by no living worker: what reconcilers take for lost, and what silent workers
-- hold who were not declared dead. `seconds` is for how long that has been so, at most.
CREATE FUNCTION diagnose_lost(p_lease float, p_grace float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    WITH stray AS (
        SELECT l.execution_id, l."position", l.cause FROM lost_steps l
        UNION ALL
        SELECT s.execution_id, s."position", 'its worker is silent'
          FROM workers w JOIN execution_steps s ON s.worker_id = w.id
                                               AND s.status = 'running'
         WHERE w.ended_at IS NULL AND is_silent(w, p_lease)
    )
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               f.execution_id, f.name, f.seconds, f.cause, f.hostname)), '[]')
      FROM (
        SELECT DISTINCT ON (s.execution_id, s."position")
               s.execution_id, s.name, t.cause, w.hostname, a.seconds
          FROM stray t
          JOIN execution_steps s ON s.execution_id = t.execution_id
                                AND s."position" = t."position"
          LEFT JOIN workers w ON w.id = s.worker_id
         CROSS JOIN LATERAL seconds_since(coalesce(
               w.ended_at, CASE WHEN t.cause = 'its worker is silent' THEN w.beat_at END,
               s.claimed_at)) AS a(seconds)
         WHERE a.seconds > p_grace
         LIMIT p_most) f
$$;


-- What living workers show although it was taken from them p_grace seconds before they
-- looked: by then whoever ended it, or was told to end, shows it no more.
CREATE FUNCTION diagnose_taken(p_lease float, p_grace float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               f.execution_id, f.name, f.seconds, f.outcome, f.hostname)), '[]')
      FROM (
        SELECT DISTINCT a.execution_id, s.name, a.outcome, w.hostname,
               seconds_since(a.ended_at) AS seconds
          FROM workers w
         CROSS JOIN unnest(w.deliveries) AS d
          JOIN step_attempts a
            -- deliveries of other tasks have ids of other forms
            ON a.execution_id = CASE WHEN d ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:'
                                THEN left(d, 36)::uuid END
           AND a.lease_token = ANY (w.tokens)
          JOIN execution_steps s ON s.execution_id = a.execution_id
                                AND s."position" = a."position"
         WHERE w.ended_at IS NULL AND NOT is_silent(w, p_lease)
           AND a.ended_at < w.sampled_at - make_interval(secs => p_grace)
           -- a retry in place goes on under the same token, and may have ended since
           AND (s.lease_token IS DISTINCT FROM a.lease_token OR s.attempt = a.attempt)
           AND NOT EXISTS (
                SELECT FROM step_attempts l
                 WHERE l.execution_id = a.execution_id AND l."position" = a."position"
                   AND l.lease_token = a.lease_token AND l.attempt > a.attempt)
         LIMIT p_most) f
$$;


-- Attempts that run a lease after their timeout, and waits whose time has come.
CREATE FUNCTION diagnose_times(p_lease float, p_grace float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'overdue', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                       o.execution_id, o.name, seconds_since(o.attempt_deadline), '',
                       o.hostname)), '[]')
              FROM (SELECT s.*, w.hostname FROM execution_steps s
                      LEFT JOIN workers w ON w.id = s.worker_id
                     WHERE s.status = 'running'
                       AND seconds_since(s.attempt_deadline) > p_lease + p_grace
                     LIMIT p_most) o),
        'unwoken', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                       u.execution_id, u.name, seconds_since(u.wake_at), '', NULL)), '[]')
              FROM (SELECT * FROM execution_steps s
                     WHERE s.status = 'waiting' AND NOT stands_still(s)
                       AND s.wake_at < plans_now() - make_interval(secs => p_grace)
                     LIMIT p_most) u))
$$;


CREATE FUNCTION diagnose_unsent(p_grace float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(u), '[]')
      FROM unsent_executions(p_most) u
     WHERE (SELECT seconds_since(min(s.ready_at)) FROM execution_steps s
             WHERE s.execution_id = u AND s.status = 'ready'
               AND s.published_at IS NULL) > p_grace
$$;


CREATE FUNCTION diagnose_unfinished(p_grace float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(u), '[]')
      FROM unfinished_executions(p_most) u
      JOIN executions e ON e.id = u
      JOIN execution_events v ON v.execution_id = u AND v.seq = e.next_seq - 1
     WHERE seconds_since(v.at) > p_grace
$$;


-- The executions that may go on, p_most of them.
CREATE FUNCTION diagnose_active(p_most int) RETURNS SETOF executions
LANGUAGE sql STABLE AS $$
    SELECT * FROM executions e
     WHERE may_start(e.status) AND NOT e.is_delayed AND NOT waits_for_key(e)
     LIMIT p_most
$$;


-- Those of which nothing is due, runs or waits, though they have not come to their end.
CREATE FUNCTION diagnose_stuck(p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(e.id), '[]')
      FROM diagnose_active(p_most) e
     WHERE (e.status <> 'ending' OR e.open_steps > 0)
       AND NOT EXISTS (SELECT FROM execution_steps s
                        WHERE s.execution_id = e.id
                          AND s.status IN ('ready', 'running', 'waiting'))
$$;


-- The steps that come later, of those executions; the first alone, where there are very
-- many.
CREATE FUNCTION diagnose_later(p_most int) RETURNS TABLE (queue text, action text)
LANGUAGE sql STABLE AS $$
    SELECT s.queue, s.action
      FROM diagnose_active(p_most) e
      JOIN execution_steps s ON s.execution_id = e.id AND s.status = 'pending'
     LIMIT 20 * p_most
$$;


-- What steps that come later need, and no living worker has.
CREATE FUNCTION diagnose_needed(p_lease float, p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(n.queue, n.action)
                    ORDER BY n.queue, n.action), '[]')
      FROM (SELECT DISTINCT l.queue, l.action FROM diagnose_later(p_most) l) n
     WHERE NOT EXISTS (
        SELECT FROM workers w
         WHERE w.ended_at IS NULL AND NOT is_silent(w, p_lease)
           AND n.queue = ANY (w.queues) AND n.action = ANY (w.actions))
$$;


-- The queues that workers serve and nothing names: no plan, no action, none of the newest
-- executions.
CREATE FUNCTION diagnose_queues(p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(q.name ORDER BY q.name), '[]')
      FROM (SELECT DISTINCT unnest(queues) AS name FROM workers WHERE ended_at IS NULL) q
     WHERE NOT EXISTS (SELECT FROM execution_steps s
                        WHERE s.queue = q.name AND s.status = 'ready')
       AND NOT EXISTS (SELECT FROM actions a WHERE a.queue = q.name)
       AND NOT EXISTS (SELECT FROM (SELECT e.queue FROM executions e
                                     ORDER BY e.created_at DESC LIMIT p_most) x
                        WHERE x.queue = q.name)
       AND NOT EXISTS (SELECT FROM plan_steps p WHERE p.queue = q.name)
$$;


-- Of which kinds not all was looked at, where what was found does not tell: it was picked
-- from the first p_most.
CREATE FUNCTION diagnose_cuts(p_most int) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    WITH active AS (SELECT count(*) > p_most AS is_cut FROM diagnose_active(p_most + 1))
    SELECT coalesce(jsonb_agg(k.kind), '[]')
      FROM (VALUES
        ('stuck', (SELECT is_cut FROM active)),
        ('needed', (SELECT is_cut FROM active)
                   OR (SELECT count(*) = 20 * p_most FROM diagnose_later(p_most))),
        ('unsent', (SELECT count(*) > p_most FROM unsent_executions(p_most + 1))),
        ('unfinished', (SELECT count(*) > p_most FROM unfinished_executions(p_most + 1)))
        ) AS k(kind, is_cut)
     WHERE k.is_cut
$$;


-- How the steps stand that messages are for, in the order of the question.
CREATE FUNCTION diagnose_messages(p_executions uuid[], p_positions int[])
RETURNS TABLE (step_status text, execution_status text, epoch int)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT s.status, e.status, e.epoch
      FROM unnest(p_executions, p_positions) WITH ORDINALITY AS m(id, at, n)
      LEFT JOIN executions e ON e.id = m.id
      LEFT JOIN execution_steps s ON s.execution_id = m.id AND s."position" = m.at
     ORDER BY m.n
$$;
