-- What a reconciler asks at each of its looks, all in one: it moves the pulse, declares
-- the silent dead, and then looks for whatever somebody has to see to. Each look is a
-- statement of its own, so that those who were declared dead just now count as dead.
-- Nothing is locked for those who act: they lock one execution at a time and look again.
--
-- Whoever hears that something comes soon should not rest: it is nothing yet that
-- anybody has to see to, but is about to be.
--
-- Each answer but the first three is an array of rows, each of them an array; NULL when
-- there is nothing. Of each as many as p_most, by an index of its own. Overdue attempts
-- are those of p_worker, and those of others that are a lease late; what is told to end is
-- its own.
CREATE FUNCTION sweep(
    p_worker uuid, p_tick float, p_lease float, p_beat float, p_most int,
    OUT dead_workers int, OUT looking_workers int, OUT comes_soon bool, OUT lost jsonb,
    OUT expired_executions jsonb, OUT expired_steps jsonb, OUT due jsonb,
    OUT unsent_steps jsonb, OUT unsent_executions jsonb, OUT unfinished jsonb,
    OUT due_keys jsonb, OUT relaying jsonb, OUT overdue jsonb, OUT resumable jsonb,
    OUT delayed jsonb, OUT batches jsonb, OUT signalled jsonb,
    OUT due_dependencies jsonb, OUT told jsonb,
    OUT due_schedules jsonb, OUT queued_schedules jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM advance_pulse(p_tick);
    dead_workers := end_silent_workers(p_lease);
    looking_workers := count_looking_workers(p_beat);
    comes_soon := comes_soon(p_tick, p_beat);
    lost := (
        SELECT jsonb_agg(jsonb_build_array(f.execution_id, f."position", f.lease_token))
          FROM lost_steps_of_all(p_most) f);
    expired_executions := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM expired_executions(p_most) f);
    expired_steps := (
        SELECT jsonb_agg(jsonb_build_array(f.execution_id, f."position"))
          FROM expired_steps(p_most) f);
    due := (SELECT jsonb_agg(jsonb_build_array(f)) FROM due_executions(p_most) f);
    unsent_steps := (
        SELECT jsonb_agg(jsonb_build_array(f.execution_id, f."position", f.publishes))
          FROM unsent_steps(p_beat, p_most) f);
    unsent_executions := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM unsent_executions(p_most) f);
    unfinished := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM unfinished_executions(p_most) f);
    relaying := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM relaying_executions(p_most) f);
    resumable := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM resumable_executions(p_most) f);
    signalled := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM signalled_executions(p_most) f);
    due_dependencies := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM due_dependencies(p_most) f);
    due_keys := (SELECT jsonb_agg(jsonb_build_array(f)) FROM due_keys(p_most) f);
    due_schedules := (
        SELECT jsonb_agg(to_jsonb(f)) FROM due_schedules(p_most) f);
    queued_schedules := (
        SELECT jsonb_agg(jsonb_build_array(f)) FROM queued_schedules(p_most) f);
    delayed := (SELECT jsonb_agg(jsonb_build_array(f)) FROM delayed_executions(p_most) f);
    batches := (SELECT jsonb_agg(jsonb_build_array(f)) FROM due_batches(p_most) f);
    overdue := (
        SELECT jsonb_agg(jsonb_build_array(
                   f.execution_id, f."position", f.lease_token, f.attempt, f.failures,
                   f.retry, f.cause))
          FROM overdue_steps(p_worker, p_lease) f);
    told := (SELECT jsonb_agg(jsonb_build_array(f)) FROM told_tokens(p_worker) f);
END $$;


-- How many workers beat and look: who is dead and not declared so yet beats no more. By
-- the clock, for the pulse stands still when nobody looks; when the clock jumps, a few
-- beats long nobody counts.
CREATE FUNCTION count_looking_workers(p_beat float) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT count(*)::int FROM workers
     WHERE ended_at IS NULL
       AND beat_at BETWEEN plans_now() - make_interval(secs => 1.5 * p_beat) AND plans_now()
       AND (rounds ->> 'age')::float < 3 * p_beat
$$;


-- Whether a time or a deadline comes within five ticks, or a message that was sent a few
-- beats ago has not arrived for longer than messages take: it may be lost.
CREATE FUNCTION comes_soon(p_tick float, p_beat float) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM execution_steps
                    WHERE status = 'waiting' AND NOT stands_still(execution_steps)
                      AND wake_at <= plans_now() + make_interval(secs => 5 * p_tick))
        OR EXISTS (SELECT FROM execution_steps s
                     JOIN executions e ON e.id = s.execution_id
                                      AND e.status IN ('pending', 'running', 'ending')
                    WHERE s.status IN ('ready', 'waiting')
                      AND s.deadline <= plans_now() + make_interval(secs => 5 * p_tick)
                      AND s.parked_at IS NULL)
        OR EXISTS (SELECT FROM dependencies d
                    WHERE d.look_at <= plans_now() + make_interval(secs => 5 * p_tick)
                      AND (d.state <> 'canary' OR EXISTS (
                          SELECT FROM dependency_passes x WHERE x.name = d.name)))
        OR EXISTS (SELECT FROM executions
                    WHERE status IN ('pending', 'running', 'paused')
                      AND deadline <= plans_now() + make_interval(secs => 5 * p_tick))
        OR EXISTS (SELECT FROM schedules
                    WHERE paused_at IS NULL
                      AND next_at <= plans_now() + make_interval(secs => 5 * p_tick))
        OR EXISTS (SELECT FROM executions
                    WHERE is_delayed AND status = 'pending'
                      AND starts_at <= plans_now() + make_interval(secs => 5 * p_tick))
        OR EXISTS (
            SELECT FROM (SELECT DISTINCT unnest(queues) AS name FROM workers
                          WHERE ended_at IS NULL) q
             CROSS JOIN LATERAL (
                SELECT FROM execution_steps s
                 WHERE s.queue = q.name AND s.status = 'ready'
                   AND s.published_at > plans_now() - make_interval(secs => 4 * p_beat)
                   AND s.published_at < plans_now() - make_interval(secs => p_tick)
                 LIMIT 1) late)
$$;
