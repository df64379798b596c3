-- What an operator does to one execution: let one that has ended go on from what failed,
-- skip a step, or force the result of one. On an execution that has ended, to skip or to
-- force is to retry it without that step: so there is one way back, and it is taken whole.
--
-- Who has ended for good is begun anew under the lock, with a higher epoch: what was sent
-- before is dropped, and who wrote under a token of that time writes to nothing.

-- Do an act, once: the same p_act again answers that it was done. p_kind is retry, skip or
-- force, p_step the name of the step for the latter two. p_inputs, by the positions of
-- steps that begin anew: {input, changed}, the whole input that they get, and the names of
-- what is new in it; they were made of what p_epoch had left.
--
-- outcome: done, repeated, or refused for `refusal`, which `about` says more of. `held_key`
-- is the key that the execution waits for: admit_next is to be called then.
CREATE FUNCTION operate_execution(
    p_execution uuid, p_act uuid, p_kind text, p_step text, p_result jsonb,
    p_inputs jsonb, p_epoch int, p_by text, p_reason text,
    OUT outcome text, OUT refusal text, OUT about text, OUT status text, OUT epoch int,
    OUT last_seq bigint, OUT open_steps int, OUT windows jsonb, OUT held_key text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    drafts event_draft[] := '{}';
    done record;
BEGIN
    PERFORM begin_write();
    PERFORM lock_rejecting_key(p_execution);
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    s := find_named(p_execution, p_step);
    windows := '[]';
    IF was_done(p_execution, p_act) THEN
        outcome := 'repeated';
        -- nobody knows whether they were sent
        windows := resend_ready(e);
    ELSE
        SELECT * INTO refusal, about FROM refuse_act(e, s, p_kind, false);
        IF refusal IS NULL AND e.epoch <> p_epoch THEN
            refusal := 'changed';
        END IF;
        outcome := CASE WHEN refusal IS NULL THEN 'done' ELSE 'refused' END;
    END IF;
    IF outcome = 'done' THEN
        IF e.ended_at IS NOT NULL THEN
            SELECT * INTO done FROM reopen_execution(e, p_inputs, p_act, p_by, p_reason);
            e := done.begun; drafts := done.drafts;
        END IF;
        IF p_kind <> 'retry' THEN
            -- as it stands now
            s := find_named(p_execution, p_step);
            drafts := drafts || settle_by_hand(
                e, s, p_kind = 'force', p_result, p_act, p_by, p_reason);
        END IF;
        windows := write_act(e, drafts);
    END IF;
    SELECT * INTO e FROM executions WHERE id = p_execution;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
    held_key := CASE WHEN e.status = 'pending' AND waits_for_key(e)
                THEN e.concurrency_key END;
END $$;


-- Hold the key of an execution whose plan rejects others: nobody else may take it between
-- the look at it and the retry. Before the execution: who admits locks in this order.
CREATE FUNCTION lock_rejecting_key(p_execution uuid) RETURNS void
LANGUAGE sql VOLATILE AS $$
    SELECT lock_key(x.concurrency_key)
      FROM executions x JOIN plans p ON p.id = x.plan_id
     WHERE x.id = p_execution AND x.concurrency_key IS NOT NULL
       AND p.on_conflict = 'reject' AND x.ended_at IS NOT NULL
$$;


CREATE FUNCTION find_named(p_execution uuid, p_name text) RETURNS execution_steps
LANGUAGE sql VOLATILE AS $$
    SELECT s FROM execution_steps s
     WHERE s.execution_id = p_execution AND s.name = p_name
$$;


-- Whether this very act was done before, and its answer was lost.
CREATE FUNCTION was_done(p_execution uuid, p_act uuid) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM execution_events v
         WHERE v.execution_id = p_execution
           AND v.type IN ('execution.retried', 'step.skipped', 'step.forced')
           AND v.data ->> 'act' = p_act::text)
$$;


CREATE FUNCTION resend_ready(e executions) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(chain_window(e.id, s."position") ORDER BY s."position"), '[]')
      FROM execution_steps s
     WHERE s.execution_id = e.id AND s.status = 'ready' AND s.published_at IS NOT NULL
       AND e.status IN ('pending', 'running', 'ending')
$$;


-- Why an act is refused, with what there is to say of it; NULL if it is not. It is asked by
-- who would only see what an act comes to, too.
CREATE FUNCTION refuse_act(
    e executions, s execution_steps, p_kind text, p_with_parent bool,
    OUT refusal text, OUT about text
)
LANGUAGE plpgsql AS $$
BEGIN
    refusal := CASE
        WHEN e.id IS NULL THEN 'no_execution'
        WHEN e.status IN ('ending', 'completed')
             OR p_kind = 'retry' AND e.ended_at IS NULL THEN 'state'
        WHEN e.ended_at IS NOT NULL AND e.parent_id IS NOT NULL AND NOT p_with_parent
        THEN 'child' END;
    IF refusal IS NOT NULL THEN
        about := CASE refusal WHEN 'child' THEN e.parent_id::text ELSE e.status END;
        RETURN;
    END IF;
    IF e.ended_at IS NOT NULL THEN
        about := find_undoing(e.id);
        IF about IS NOT NULL THEN
            refusal := 'rolled_back';
            RETURN;
        ELSIF NOT EXISTS (SELECT FROM choose_retried(e.id, '{}')) THEN
            refusal := 'nothing_failed';
            RETURN;
        END IF;
        about := find_other_holders(e);
        IF about IS NOT NULL THEN
            refusal := 'key_taken';
            RETURN;
        END IF;
    END IF;
    IF p_kind <> 'retry' THEN
        SELECT r.refusal, r.about INTO refusal, about
          FROM refuse_step(e, s, p_kind = 'force') AS r;
    END IF;
END $$;


-- The steps that have undone others, or may have; NULL without one.
CREATE FUNCTION find_undoing(p_execution uuid) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(s.name, ', ' ORDER BY s."position") FROM execution_steps s
     WHERE s.execution_id = p_execution AND s.section = 'rollback' AND s.attempt > 0
$$;


-- Who has the key of an execution whose plan rejects, if there is no room for it.
CREATE FUNCTION find_other_holders(e executions) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    rule plans;
    holders text[];
BEGIN
    SELECT * INTO rule FROM plans WHERE id = e.plan_id;
    IF e.concurrency_key IS NULL OR rule.on_conflict <> 'reject' OR e.parent_id IS NOT NULL
    THEN
        RETURN NULL;
    END IF;
    holders := ARRAY(SELECT l.id::text FROM live_under(e.concurrency_key) AS l
                      LIMIT rule.concurrency_limit);
    RETURN CASE WHEN cardinality(holders) >= rule.concurrency_limit
           THEN array_to_string(holders[:5], ', ') END;
END $$;


-- Why a step cannot be skipped, or be given a result.
CREATE FUNCTION refuse_step(
    e executions, s execution_steps, p_forces bool, OUT refusal text, OUT about text
)
LANGUAGE plpgsql AS $$
DECLARE
    x execution_steps;
    is_live bool := e.ended_at IS NULL;
    p plan_steps;
BEGIN
    SELECT * INTO x FROM execution_steps t
     WHERE t.execution_id = e.id AND t."position" = s.item_of;
    SELECT * INTO p FROM plan_steps t
     WHERE t.plan_id = e.plan_id AND t."position" = s."position";
    refusal := CASE
        WHEN s."position" IS NULL THEN 'no_step'
        WHEN s.section <> 'steps' THEN 'section'
        WHEN x.iterations IS NOT NULL THEN 'iteration'
        WHEN is_live AND s.status NOT IN ('pending', 'ready', 'waiting')
             OR NOT is_live AND s."position" NOT IN (
                SELECT c."position" FROM choose_retried(e.id, '{}') AS c)
        THEN 'step_state'
        WHEN p_forces AND s.item_of IS NULL AND p.for_each IS NOT NULL THEN 'has_items'
        WHEN s.stands_in_for IS NOT NULL AND (NOT is_live OR s.status = 'pending')
        THEN 'stands_in'
        WHEN is_live AND s.status = 'waiting' AND s.fallback IS NOT NULL AND EXISTS (
                SELECT FROM execution_steps f
                 WHERE f.execution_id = e.id AND f."position" = s.fallback
                   AND f.status <> 'pending')
        THEN 'falls_back'
        WHEN find_open_needs(e.id, s.needs) IS NOT NULL THEN 'blocked' END;
    about := CASE refusal
        WHEN 'iteration' THEN x.name
        WHEN 'step_state' THEN s.status
        WHEN 'blocked' THEN find_open_needs(e.id, s.needs)
        WHEN 'stands_in' THEN name_step(e.id, s.stands_in_for)
        WHEN 'falls_back' THEN name_step(e.id, s.fallback) END;
END $$;


CREATE FUNCTION name_step(p_execution uuid, p_position int) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT name FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position
$$;


-- The execution that a step had begun and that has not completed, if it can go on itself.
-- One from before p_since belongs to an earlier time of the step.
CREATE FUNCTION find_unfinished(
    p_execution uuid, p_position int, p_since timestamptz, OUT id uuid, OUT epoch int
)
LANGUAGE plpgsql AS $$
DECLARE
    c executions;
BEGIN
    SELECT * INTO c FROM executions x
     WHERE x.parent_id = p_execution AND x.parent_position = p_position
     ORDER BY x.id DESC LIMIT 1;
    IF c.status IN ('failed', 'cancelled', 'timed_out') AND c.created_at >= p_since
       AND find_undoing(c.id) IS NULL
       AND EXISTS (SELECT FROM choose_retried(c.id, '{}')) THEN
        id := c.id; epoch := c.epoch;
    END IF;
END $$;


-- Settle a step that does not run because somebody says so: it is skipped, or completed
-- with p_result if p_forces, and what follows from that follows. The caller holds the lock.
CREATE FUNCTION settle_by_hand(
    e executions, s execution_steps, p_forces bool, p_result jsonb, p_act uuid, p_by text,
    p_reason text
) RETURNS event_draft[]
LANGUAGE plpgsql AS $$
DECLARE
    said jsonb := jsonb_strip_nulls(jsonb_build_object('act', p_act, 'by', p_by));
    drafts event_draft[];
    follow record;
    failed int[] := '{}';
BEGIN
    IF s.child_id IS NOT NULL THEN
        -- before it is forgotten: what runs within is told that nobody waits any more
        PERFORM relay_down(e.id);
    END IF;
    UPDATE execution_steps t
       SET status = CASE WHEN p_forces THEN 'completed' ELSE 'skipped' END,
           reason = CASE WHEN p_forces THEN 'forced' ELSE 'operator' END,
           result = CASE WHEN p_forces THEN p_result END, error = NULL,
           ended_at = plans_now(), pending_deps = 0, wake_at = NULL, child_id = NULL,
           waits_for = NULL, parked_at = NULL,
           lease_token = NULL, next_item = NULL, published_at = NULL
     WHERE t.execution_id = e.id AND t."position" = s."position";
    drafts := CASE WHEN p_forces THEN ARRAY[
        ROW('step.forced', s."position", said || jsonb_strip_nulls(
            jsonb_build_object('reason', p_reason))),
        ROW('step.completed', s."position", jsonb_build_object(
            'attempt', s.attempt, 'forced', true))]::event_draft[]
    ELSE ARRAY[
        ROW('step.skipped', s."position", said || jsonb_strip_nulls(jsonb_build_object(
            'attempt', s.attempt, 'reason', 'operator', 'comment', p_reason))
            )]::event_draft[] END;
    IF s.item_count > 0 THEN
        SELECT * INTO follow FROM cancel_items(s);
        drafts := drafts || follow.drafts;
    END IF;
    IF s.item_of IS NOT NULL THEN
        RETURN drafts || settle_item(s);
    ELSIF NOT p_forces THEN
        IF s.stands_in_for IS NOT NULL THEN
            SELECT * INTO follow FROM fail_replaced(s, 'skipped');
            drafts := drafts || follow.drafts;
            failed := follow.failed;
        END IF;
        SELECT * INTO follow FROM release_after_skip(e.id, failed || s."position");
        RETURN drafts || follow.drafts;
    END IF;
    SELECT * INTO follow FROM skip_fallbacks(e.id, ARRAY[s."position"]);
    drafts := drafts || follow.drafts;
    IF s.stands_in_for IS NOT NULL THEN
        SELECT * INTO follow FROM replace_failed(s, p_result);
        RETURN drafts || follow.drafts;
    END IF;
    SELECT * INTO follow FROM release_after_success(e.id, s.successors);
    RETURN drafts || follow.drafts;
END $$;


-- Count an item that somebody has settled in the step that waits for it. It is none of
-- those that the plan tolerates; one that had no place leaves none to another.
CREATE FUNCTION settle_item(s execution_steps) RETURNS event_draft[]
LANGUAGE plpgsql AS $$
DECLARE
    drafts event_draft[];
BEGIN
    IF s.status <> 'pending' THEN
        SELECT i.drafts INTO drafts FROM end_item(s, 'completed', NULL) AS i;
        RETURN drafts;
    END IF;
    UPDATE execution_steps t
       SET pending_deps = t.pending_deps - 1,
           next_item = CASE t.next_item WHEN s."position"
               THEN item_after(s.execution_id, s."position", t.first_item + t.item_count)
               ELSE t.next_item END
     WHERE t.execution_id = s.execution_id AND t."position" = s.item_of
       AND t.status = 'waiting' AND t.pending_deps > 1;
    RETURN '{}';
END $$;


-- Write what an act came to, and return the windows to send. Nothing is ready in an
-- execution that waits for its key.
CREATE FUNCTION write_act(e executions, p_drafts event_draft[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    is_held bool := e.status = 'pending' AND waits_for_key(e);
BEGIN
    IF is_held THEN
        UPDATE execution_steps t
           SET status = 'pending', pending_deps = 1, ready_at = NULL, published_at = NULL,
               deadline = CASE WHEN t.item_of IS NOT NULL THEN t.deadline END
         WHERE t.execution_id = e.id AND t.status = 'ready';
        p_drafts := ARRAY(
            SELECT ROW(d.type, d."position", d.data)::event_draft
              FROM unnest(p_drafts) WITH ORDINALITY AS d(type, "position", data, n)
             WHERE d.type <> 'step.ready' ORDER BY d.n) || draft_held(e);
        PERFORM tell_reconcilers();
    END IF;
    e.open_steps := (SELECT count(*) FROM execution_steps t
                      WHERE t.execution_id = e.id AND t.ended_at IS NULL);
    e := write_execution(e, p_drafts);
    IF e.status IN ('pending', 'running', 'ending') AND NOT is_held THEN
        RETURN publish_ready(e.id);
    END IF;
    RETURN '[]';
END $$;
