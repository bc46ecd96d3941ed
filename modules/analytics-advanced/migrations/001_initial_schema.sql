-- Reports that people asked for.
CREATE TABLE reports (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  name        TEXT    NOT NULL,
  metric      TEXT    NOT NULL,
  period      TEXT    NOT NULL,
  description TEXT    NOT NULL DEFAULT '',
  author      TEXT    NOT NULL,
  created_at  INTEGER NOT NULL                -- milliseconds since 1970
);

-- How often each api was called, a row a day (UTC) and api.
CREATE TABLE request_counts (
  day      TEXT    NOT NULL,                  -- YYYY-MM-DD
  endpoint TEXT    NOT NULL,
  requests INTEGER NOT NULL,
  PRIMARY KEY (day, endpoint)
) WITHOUT ROWID;
