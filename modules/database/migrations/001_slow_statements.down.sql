DROP INDEX slow_statements_by_module;
DROP TABLE slow_statements;
