-- Ready steps without a message, and how they get one. Sweeps look without locks; each
-- act then locks one execution and looks again.

-- What was sent well before a message of the same queue that has been claimed already. A
-- backlog that moves has none: one look at an index says so, however long it is.
CREATE VIEW overtaken_steps AS
SELECT s.execution_id, s."position", s.publishes, s.published_at, s.iterations
  FROM queues q
  JOIN execution_steps s ON s.queue = q.name AND s.status = 'ready'
   AND s.published_at <= q.front - interval '2 seconds'
 -- a front in the future is a clock that was set back: it proves nothing
 WHERE q.front <= plans_now()
   AND EXISTS (SELECT FROM workers w
                WHERE w.ended_at IS NULL AND s.queue = ANY (w.queues)
                  AND s.action = ANY (w.actions));


-- Whether a message may be missed by now: each waits twice as long as the time before,
-- from a beat up to five minutes. A loop has needed one for each of its iterations.
CREATE FUNCTION is_missed(
    p_published_at timestamptz, p_publishes int, p_iterations int, p_beat float
) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT p_published_at < plans_now() - make_interval(secs => least(
               300, p_beat * power(2, least(greatest(
                   p_publishes - coalesce(p_iterations, 0) - 1, 0), 10))))
$$;


-- What is unclaimed although a worker that could run it had a slot free in a sample begun
-- after it was sent: of each queue as many as there are free slots, the oldest first.
CREATE FUNCTION unclaimed_steps(p_beat float)
RETURNS TABLE (
    execution_id uuid, "position" int, publishes int, published_at timestamptz,
    iterations int
)
LANGUAGE sql VOLATILE AS $$
WITH idle AS (
    SELECT w.sampled_at, w.queues, w.actions, w.slots - w.in_hand AS slots
      FROM workers w
     WHERE w.ended_at IS NULL AND w.slots > w.in_hand
), free AS (
    SELECT q AS queue, sum(i.slots) AS slots, max(i.sampled_at) AS sampled_at
      FROM idle i CROSS JOIN unnest(i.queues) AS q
     GROUP BY q
)
SELECT s.execution_id, s."position", s.publishes, s.published_at, s.iterations
  FROM free f
  CROSS JOIN LATERAL (
      SELECT t.execution_id, t."position", t.publishes, t.published_at, t.iterations
        FROM execution_steps t
       WHERE t.queue = f.queue AND t.status = 'ready' AND t.published_at < f.sampled_at
         AND is_missed(t.published_at, t.publishes, t.iterations, p_beat)
         AND EXISTS (SELECT FROM idle i
                      WHERE t.queue = ANY (i.queues) AND t.action = ANY (i.actions)
                        AND i.sampled_at > t.published_at)
         AND EXISTS (SELECT FROM executions e
                      WHERE e.id = t.execution_id AND e.status IN ('pending', 'running', 'ending'))
       ORDER BY t.published_at
       LIMIT f.slots) AS s
$$;


-- Published steps that nobody claims, whose message must be lost, oldest first: those of
-- overtaken_steps, and those of unclaimed_steps.
CREATE FUNCTION unsent_steps(p_beat float, p_most int)
RETURNS TABLE (execution_id uuid, "position" int, publishes int)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.execution_id, s."position", s.publishes
      FROM (SELECT * FROM overtaken_steps UNION SELECT * FROM unclaimed_steps(p_beat)) AS s
      JOIN executions e ON e.id = s.execution_id AND e.status IN ('pending', 'running', 'ending')
     WHERE is_missed(s.published_at, s.publishes, s.iterations, p_beat)
     ORDER BY s.published_at
     LIMIT p_most
$$;


-- Mark a ready step as sent once more, if nobody has in the meantime.
CREATE FUNCTION resend_step(
    p_execution uuid, p_position int, p_publishes int,
    OUT landed bool, OUT epoch int, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    epoch := e.epoch;
    landed := e.status IN ('pending', 'running', 'ending') AND EXISTS (
        SELECT FROM execution_steps s
         WHERE s.execution_id = p_execution AND s."position" = p_position
           AND s.status = 'ready' AND s.publishes = p_publishes);
    landed := coalesce(landed, false);
    IF landed THEN
        windows := publish_steps(p_execution, ARRAY[p_position]);
    END IF;
END $$;


-- Executions with ready steps that were never sent, and no message of the same queue
-- under way: submitted from inside a transaction, or by SQL, or a fan-out whose lanes all
-- run or have gone elsewhere. One look at the index for each execution and queue, however
-- many of its steps wait.
CREATE FUNCTION unsent_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    WITH RECURSIVE lanes AS (
        (SELECT execution_id, queue FROM execution_steps
          WHERE status = 'ready' AND published_at IS NULL
          ORDER BY execution_id, queue LIMIT 1)
        UNION ALL
        SELECT n.execution_id, n.queue FROM lanes l CROSS JOIN LATERAL (
            SELECT s.execution_id, s.queue FROM execution_steps s
             WHERE s.status = 'ready' AND s.published_at IS NULL
               AND (s.execution_id, s.queue) > (l.execution_id, l.queue)
             ORDER BY s.execution_id, s.queue LIMIT 1) n
    )
    SELECT DISTINCT l.execution_id
      FROM lanes l
      JOIN executions e ON e.id = l.execution_id AND e.status IN ('pending', 'running', 'ending')
     WHERE NOT EXISTS (
        SELECT FROM execution_steps s
         WHERE s.execution_id = l.execution_id AND s.queue = l.queue
           AND s.status = 'ready' AND s.published_at IS NOT NULL)
     LIMIT p_most
$$;


-- Send what was never sent of an execution, unless somebody holds it.
CREATE FUNCTION send_steps(p_execution uuid, OUT epoch int, OUT windows jsonb)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    epoch := e.epoch;
    IF e.status IN ('pending', 'running', 'ending') THEN
        windows := publish_ready(p_execution);
    END IF;
END $$;
