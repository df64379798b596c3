-- Who is alive. Silence is measured in the pulse, which reconcilers advance by no
-- more than a step at a time: after an outage of the database, or a jump of its
-- clock, nobody has been silent.

-- The actions of steps that run a plan, and of those that sleep or wait for a signal: every
-- worker has them, and none publishes them.
CREATE FUNCTION built_in_actions() RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['plans.run_plan', 'plans.sleep', 'plans.wait_for']
$$;


CREATE FUNCTION register_worker(
    p_worker uuid, p_hostname text, p_pid int, p_pool text, p_slots int,
    p_queues text[], p_actions jsonb, p_grace float DEFAULT 30, p_lease float DEFAULT NULL,
    OUT seen_at timestamptz
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    seen_at := plans_now();
    -- nothing is known of its hands until it beats
    INSERT INTO workers (id, hostname, pid, pool, slots, in_hand, queues, actions, pulse,
                         sampled_at, started_at, beat_at, grace_seconds,
                         lease_seconds)
    SELECT p_worker, p_hostname, p_pid, p_pool, p_slots, p_slots, p_queues,
           ARRAY(SELECT a ->> 'name' FROM jsonb_array_elements(p_actions) a)
               || built_in_actions(),
           p.value, seen_at, seen_at, seen_at, p_grace, p_lease
      FROM pulse p;
    -- What is published already is left alone: a start of many workers would write, and
    -- lock, the rows that every claim reads. In the order of the names: two workers that
    -- publish the same ones do not deadlock.
    INSERT INTO actions (name, doc, signature, timeout_seconds, queue, uses, published_by,
                         published_at)
    SELECT a.name, a.doc, a.signature, a.timeout_seconds, a.queue, coalesce(a.uses, '{}'),
           p_hostname, seen_at
      FROM jsonb_to_recordset(p_actions)
        AS a(name text, doc text, signature jsonb, timeout_seconds float, queue text,
             uses text[])
     WHERE NOT EXISTS (
        SELECT FROM actions k WHERE k.name = a.name
           AND (k.doc, k.signature, k.timeout_seconds, k.queue, k.uses)
               IS NOT DISTINCT FROM (a.doc, a.signature, a.timeout_seconds, a.queue,
                                     coalesce(a.uses, '{}')))
     ORDER BY a.name
    ON CONFLICT (name) DO UPDATE
       SET doc = excluded.doc, signature = excluded.signature,
           timeout_seconds = excluded.timeout_seconds, queue = excluded.queue,
           uses = excluded.uses, published_by = excluded.published_by,
           published_at = excluded.published_at;
END $$;


-- A beat: the worker lives, has so many messages in hand, runs these deliveries, and its
-- processes show these tokens. p_beats and p_sampled_at are the answer to its previous
-- beat: the sample was begun after that one had been answered. p_rounds is what its
-- reconciler says of itself.
--
-- `beats` counts them, and is what tells a sample from an older one: a time would not, for
-- a clock may be set back. A beat whose predecessor landed without an answer is not
-- counted: its sample may have been begun before that landed.
--
-- Answers NULL to a worker that was declared dead or has left: it must register anew.
CREATE FUNCTION beat(
    p_worker uuid, p_slots int, p_in_hand int, p_queues text[], p_deliveries text[],
    p_tokens uuid[], p_sampled_at timestamptz, p_beats int, p_rounds jsonb,
    OUT seen_at timestamptz, OUT beats int
)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    UPDATE workers w
       SET beat_at = plans_now(), beats = w.beats + (w.beats = p_beats)::int,
           slots = p_slots, in_hand = p_in_hand, queues = p_queues,
           deliveries = p_deliveries, tokens = p_tokens, sampled_at = p_sampled_at,
           rounds = p_rounds, pulse = (SELECT value FROM pulse)
     WHERE w.id = p_worker AND w.ended_at IS NULL
    RETURNING w.beat_at, w.beats
$$;


CREATE FUNCTION end_worker(p_worker uuid) RETURNS bool
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE workers SET ended_at = plans_now(), end_reason = 'stopped'
     WHERE id = p_worker AND ended_at IS NULL;
    RETURN FOUND;
END $$;


-- Advance the pulse by the time since it was advanced last, but by no more than
-- p_most seconds: what nobody advanced, nobody lived through. Many reconcilers may
-- call this; only one in half a step moves it. Who finds its row locked leaves it to
-- the one that moves it now, and does not wait for the rest of that one's look.
CREATE FUNCTION advance_pulse(p_most float) RETURNS bool
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    moment timestamptz := plans_now();
BEGIN
    IF NOT EXISTS (SELECT FROM pulse p WHERE is_behind(p, moment, p_most)) THEN
        -- locking is a write, and most looks need none
        RETURN false;
    END IF;
    PERFORM FROM pulse FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE pulse p
       SET value = value + least(
               greatest(extract(epoch FROM moment - advanced_at), 0), p_most),
           advanced_at = moment
     WHERE is_behind(p, moment, p_most);
    RETURN FOUND;
END $$;


-- Whether the pulse is to be advanced at this moment, by p_most seconds at most.
CREATE FUNCTION is_behind(p_pulse pulse, p_moment timestamptz, p_most float) RETURNS bool
LANGUAGE sql IMMUTABLE AS $$
    SELECT extract(epoch FROM p_moment - p_pulse.advanced_at) >= p_most / 2
        -- a clock that was set back would stop the pulse until it has caught up
        OR extract(epoch FROM p_pulse.advanced_at - p_moment) > p_most
$$;


-- Declare dead who has not beaten for its lease, in seconds of pulse; p_lease is that of
-- workers that have not said theirs. While a shorter lease is brought in, those who were
-- started with the longer one beat too seldom for it. This is final: the worker, should it
-- live, registers under a new id, and its old claims are fenced. One whose row is locked is
-- beating, or being declared dead by somebody else.
CREATE FUNCTION end_silent_workers(p_lease float) RETURNS int
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    n int;
BEGIN
    UPDATE workers SET ended_at = plans_now(), end_reason = 'lost'
     WHERE id IN (
        SELECT id FROM workers
         WHERE ended_at IS NULL
           AND pulse < (SELECT value FROM pulse) - coalesce(lease_seconds, p_lease)
           FOR NO KEY UPDATE SKIP LOCKED);
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
