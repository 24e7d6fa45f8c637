CREATE SOURCE gone (k BIGINT PRIMARY KEY) WITH (connector = 'file', path = 'x.csv', refresh = INTERVAL '1' HOUR);
CREATE SOURCE of_another (id BIGINT PRIMARY KEY, op VARCHAR) WITH (connector = 'file', path = 'x.ndjson', format = 'debezium-json', delete_when = 'id IN (SELECT k FROM gone)');
CREATE SOURCE from_first (id BIGINT PRIMARY KEY, op VARCHAR) WITH (connector = 'file', path = 'x.ndjson', format = 'debezium-json', delete_when = 'id IN (FROM gone)');
CREATE SOURCE no_query (id BIGINT PRIMARY KEY, op VARCHAR) WITH (connector = 'file', path = 'x.ndjson', format = 'debezium-json', delete_when = 'trim(BOTH FROM op) IS NOT DISTINCT FROM ''SELECT''');
