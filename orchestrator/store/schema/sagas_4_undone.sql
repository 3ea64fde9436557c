-- What has a reason: compensating, compensated, stuck. A list by reason goes through these
-- and leaves out what has completed, which is most of what there is.
CREATE INDEX sagas_undone ON sagas (id) WHERE state IN (2, 4, 5);
