-- A log that lost published leaves for good begins anew under another origin. Never edit this file once it has landed.

-- As before, but for the origin: it changes in the transaction of the leaf that tells of it, which follows the leaves that
-- are taken over and rests on a ceremony that is closed.
DROP TRIGGER log_tree_grows;
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.clock < OLD.clock OR NEW.pruned < OLD.pruned
  OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
  OR NEW.size > (SELECT size FROM log_head)
  OR NEW.pruned > NEW.size
  OR (OLD.origin <> '' AND NEW.origin <> OLD.origin AND NOT EXISTS (
      SELECT 1 FROM log_leaf l JOIN ceremony c ON c.id = json_extract(l.body, '$.ref')
      WHERE l.idx = NEW.size AND NEW.size + 1 = (SELECT size FROM log_head) AND l.kind = 'log'
        AND json_extract(l.body, '$.action') = 'new-origin'
        AND json_extract(l.body, '$.origin') = NEW.origin
        AND json_extract(l.body, '$.first') = NEW.size
        AND c.operation = 'new-origin' AND c.state = 'closed'))
BEGIN SELECT RAISE(ABORT, 'log_tree only grows'); END;
