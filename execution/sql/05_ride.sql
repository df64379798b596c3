-- The plain cases of the second hot write: a step has succeeded, another begins.

-- The plain cases of a ride, and by far the most frequent: a step has succeeded that has one
-- successor at most, in whose count it is one of several, or the only one. In the latter
-- case the worker goes on to the successor, in the former to the next of a fan-out. An item
-- counts in the step that it is an item of, and may let another item begin. Each
-- statement starts an executor anew, which costs more than the rows do: so all rows are
-- written by one, and the functions for the other cases are not used. The caller holds the
-- lock.
--
-- Nothing is written, and NULL is returned, unless the step is held by p_token and the
-- worker may run the next one, in the same queue, and no hold keeps it from starting; else
-- the general way decides.
CREATE FUNCTION ride_on(
    p_execution uuid, p_plan uuid, p_deadline timestamptz, p_next_seq bigint,
    p_position int, p_token uuid, p_result jsonb, p_input jsonb, p_next_token uuid,
    p_worker uuid, p_delivery text,
    OUT next jsonb, OUT last_seq bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := plans_now();
    c record;
    n record;
    frees bool;
    releases bool;
BEGIN
    -- OFFSET 0 keeps the look-up one of its own: joined, the planner may read all the
    -- rows of an execution that is younger than its statistics
    SELECT s.queue, s.attempt, cardinality(s.successors) AS width, t."position" AS join_at,
           t.status AS join_status, t.queue AS join_queue, t.pending_deps, t.next_item,
           NULL::int AS next
      INTO c
      FROM execution_steps s
      LEFT JOIN LATERAL (
          SELECT * FROM execution_steps x
           WHERE x.execution_id = p_execution AND x."position" = s.successors[1] OFFSET 0
      ) AS t ON true
     WHERE s.execution_id = p_execution AND s."position" = p_position
       AND s.status = 'running' AND s.lease_token = p_token
       AND s.fallback IS NULL AND s.stands_in_for IS NULL;
    IF NOT FOUND OR c.width > 1 OR c.join_status <> 'pending'
       AND (c.join_status <> 'waiting' OR c.pending_deps <= 1) THEN
        RETURN;
    END IF;
    frees := coalesce(c.pending_deps = 1, false);
    releases := frees OR c.next_item IS NOT NULL;
    IF NOT frees THEN
        c.next := coalesce(c.next_item, (first_unsent(p_execution, c.queue, 1))[1]);
    ELSIF c.join_queue = c.queue THEN
        c.next := c.join_at;
    END IF;
    IF NOT share_holds() THEN
        RETURN;
    END IF;
    -- a statement of its own: it sees the holds of those who had the lock before
    SELECT t."position", t.name, t.action, t.failures, t.attempt + 1 AS attempt, t.input,
           coalesce(p.timeout_seconds, a.timeout_seconds) AS timeout_seconds,
           p.inputs, p.retry, w.hostname, w.beats,
           CASE WHEN t.item_of IS NULL THEN p.reads ELSE p.item_reads END AS reads,
           CASE WHEN coalesce(t.item_of, t.iterations) IS NULL
                THEN p.condition END AS condition,
           CASE WHEN t.item_of IS NULL THEN p.for_each END AS for_each, t.item,
           t.stands_in_for IS NOT NULL AS is_fallback, p.cache,
           CASE WHEN t.item_of IS NULL THEN p.repeat END AS repeat, p.subplan,
           p.uses || a.uses AS uses
      INTO n
      FROM execution_steps t
      JOIN plan_steps p ON p.plan_id = p_plan
                       AND p."position" = coalesce(t.item_of, t."position")
      JOIN workers w ON w.id = p_worker AND w.ended_at IS NULL
                    AND t.action = ANY (w.actions) AND t.queue = ANY (w.queues)
      LEFT JOIN actions a ON a.name = t.action
     WHERE t.execution_id = p_execution AND t."position" = c.next
       AND (NOT EXISTS (SELECT FROM holds) OR NOT (
            SELECT meets_hold(x, t."position", t.queue, t.section)
              FROM executions x WHERE x.id = p_execution));
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE execution_steps t
       SET status = CASE t."position" WHEN p_position THEN 'completed'
                    WHEN n."position" THEN 'running' ELSE t.status END,
           pending_deps = CASE WHEN t."position" = n."position" THEN 0
                          WHEN t."position" = c.join_at THEN t.pending_deps - 1
                          ELSE t.pending_deps END,
           next_item = CASE WHEN t."position" = c.join_at
                       THEN CASE WHEN t.next_item IS NOT NULL
                            THEN item_after(p_execution, t.next_item,
                                            t.first_item + t.item_count) END END,
           ended_at = CASE t."position" WHEN p_position THEN moment END,
           result = CASE t."position" WHEN p_position THEN p_result END,
           input = CASE t."position" WHEN p_position THEN coalesce(p_input, t.input)
                   ELSE t.input END,
           error = NULL,
           progress = CASE WHEN t."position" = p_position AND t.progress IS NOT NULL
                      THEN 100 END,
           progress_message = CASE t."position" WHEN p_position THEN t.progress_message END,
           chunks = CASE t."position" WHEN p_position THEN t.chunks END,
           records = CASE t."position" WHEN p_position THEN t.records END,
           ready_at = CASE WHEN t."position" = n."position" AND releases THEN moment
                      ELSE t.ready_at END,
           deadline = CASE WHEN t."position" = n."position" AND frees
                      THEN moment + make_interval(secs => t.deadline_seconds)
                      ELSE t.deadline END,
           attempt = CASE t."position" WHEN n."position" THEN n.attempt ELSE t.attempt END,
           lease_token = CASE t."position" WHEN n."position" THEN p_next_token
                         ELSE t.lease_token END,
           worker_id = CASE t."position" WHEN n."position" THEN p_worker
                       ELSE t.worker_id END,
           delivery = CASE t."position" WHEN n."position" THEN p_delivery
                      ELSE t.delivery END,
           claimed_by_ride = t.claimed_by_ride OR t."position" = n."position",
           claimed_at = CASE t."position" WHEN n."position" THEN moment
                        ELSE t.claimed_at END,
           claimed_beat = CASE t."position" WHEN n."position" THEN n.beats
                          ELSE t.claimed_beat END,
           attempt_deadline = CASE t."position" WHEN n."position" THEN least(
                   p_deadline,
                   CASE WHEN frees THEN moment + make_interval(secs => t.deadline_seconds)
                        ELSE t.deadline END,
                   moment + make_interval(secs => n.timeout_seconds))
               ELSE t.attempt_deadline END
     WHERE t.execution_id = p_execution
       AND t."position" IN (p_position, n."position", coalesce(c.join_at, p_position));
    INSERT INTO execution_events (execution_id, seq, type, "position", data, at)
    SELECT p_execution, p_next_seq + row_number() OVER (ORDER BY d.rank) - 1, d.type,
           d."position", d.data, moment
      FROM (VALUES
          (1, 'step.completed', p_position, jsonb_build_object('attempt', c.attempt)),
          (2, 'step.ready', n."position", '{}'),
          (3, 'step.started', n."position", jsonb_build_object(
              'attempt', n.attempt, 'worker', p_worker, 'host', n.hostname))
          ) AS d(rank, type, "position", data)
     WHERE releases OR d.rank <> 2;
    last_seq := p_next_seq + 1 + releases::int;
    UPDATE executions SET next_seq = last_seq + 1, open_steps = executions.open_steps - 1
     WHERE id = p_execution;
    next := describe_claim(p_execution, ROW(
        n."position", n.name, n.action, NULL, n.attempt, n.failures, NULL, NULL, n.input,
        n.inputs, n.reads, n.retry, n.hostname, 'steps', n.condition, n.for_each, n.item,
        n.is_fallback, n.cache, n.repeat, n.subplan, n.uses)::started_step);
END $$;
