CREATE TABLE users (
  name        TEXT    PRIMARY KEY,
  password    TEXT    NOT NULL,               -- Argon2id in PHC form
  permissions TEXT    NOT NULL,               -- a JSON list of names, '*' or 'prefix.*'
  epoch       TEXT    NOT NULL,               -- a token is good only while it carries this
  disabled    INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at  INTEGER NOT NULL,               -- milliseconds since 1970, as every moment here
  created_by  TEXT    NOT NULL
) WITHOUT ROWID;

-- Keys that sign tokens. The newest one that is not revoked signs; all that are not revoked verify.
CREATE TABLE keys (
  id         TEXT    PRIMARY KEY,
  secret     TEXT    NOT NULL,                -- 32 random bytes in hex; empty once revoked
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) WITHOUT ROWID;

-- Tokens that ended before their time. Rows go when the token would have expired anyway.
CREATE TABLE revoked_tokens (
  jti        TEXT    PRIMARY KEY,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);

-- The one-time code that lets the first user sign up: one row at most, and only its hash.
CREATE TABLE enrollment (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  code_hash  TEXT    NOT NULL,
  created_at INTEGER NOT NULL
);
