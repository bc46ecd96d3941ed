DROP INDEX reports_by_created_at;
DROP INDEX reports_by_metric;
