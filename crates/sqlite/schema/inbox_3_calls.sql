-- Calls to the outside world that may have been made for an action without an answer: one
-- for each intent, less those that provably were never sent. What was recorded before this
-- column may have been sent.
ALTER TABLE inbox ADD COLUMN calls INTEGER NOT NULL DEFAULT 1 CHECK (calls >= 0);
