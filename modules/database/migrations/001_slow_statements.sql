-- Statements that took long, with the text of the statement but never its parameters.
CREATE TABLE slow_statements (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  module TEXT    NOT NULL,
  sql    TEXT    NOT NULL,
  millis INTEGER NOT NULL CHECK (millis >= 0),
  at     INTEGER NOT NULL                     -- milliseconds since 1970
);
CREATE INDEX slow_statements_by_module ON slow_statements (module, id);
