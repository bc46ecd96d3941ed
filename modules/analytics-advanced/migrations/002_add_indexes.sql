-- For the list of one metric's reports and for counts by metric.
CREATE INDEX reports_by_metric ON reports (metric, id);

-- For counts by day.
CREATE INDEX reports_by_created_at ON reports (created_at);
