DROP TABLE request_counts;
DROP TABLE reports;
