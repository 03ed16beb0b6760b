-- What PostGraphile sees: the page's rows, as two views over the live read tables. The read tables have no foreign
-- keys and more history than a list shows; the tags say how the views belong together.
DROP SCHEMA IF EXISTS peer CASCADE;
CREATE SCHEMA peer;

-- Looked up and not joined, as ours does: joins would make PostgreSQL join all claims before it takes a page.
CREATE VIEW peer.claim AS
    SELECT t.claim AS slug,
           (SELECT w.proposition FROM :schema.wording w WHERE w.claim = c.claim AND w.position = c.first_position)
               AS proposition,
           c.first_position, t.to_state AS state, t.to_reason AS reason,
           y.asserting, y.denying, y.withholding, y.asserting > 0 AND y.denying > 0 AS contested, t.position AS changed
      FROM :schema.transition t,
           LATERAL (SELECT * FROM :schema.claim c WHERE c.claim = t.claim LIMIT 1) c,
           LATERAL (SELECT * FROM :schema.tally y
                     WHERE y.claim = t.claim AND y.until_position = 9223372036854775807 LIMIT 1) y
     WHERE t.policy = 'unanimous@1' AND t.until_position = 9223372036854775807;

CREATE VIEW peer.statement AS
    SELECT s.claim, s.position, s.ordinal, s.stance, s.speaker_name AS name, s.quote, s.effective_at
      FROM :schema.statement s;

COMMENT ON VIEW peer.claim IS '@primaryKey slug';
COMMENT ON VIEW peer.statement IS E'@primaryKey claim,position,ordinal\n@foreignKey (claim) references claim (slug)';
