DROP TABLE enrollment;
DROP INDEX revoked_tokens_by_expiry;
DROP TABLE revoked_tokens;
DROP TABLE keys;
DROP TABLE users;
