CREATE SOURCE both (id INTEGER PRIMARY KEY) WITH (connector = 'postgres', dsn = 'host=db', 'table' = 'a', query = 'SELECT 1 AS id');
CREATE SOURCE neither (id INTEGER PRIMARY KEY) WITH (connector = 'postgres', dsn = 'host=db');
CREATE SOURCE nowhere (id INTEGER PRIMARY KEY) WITH (connector = 'postgres', 'table' = 'a');
CREATE SOURCE streamed (id INTEGER, at TIMESTAMP, WATERMARK FOR at AS at) WITH (connector = 'postgres', dsn = 'host=db', 'table' = 'a');
CREATE SOURCE pathed (id INTEGER) WITH (connector = 'postgres', dsn = 'host=db', 'table' = 'a', path = 'x', format = 'csv');
CREATE SOURCE fine (id INTEGER) WITH (connector = 'postgres', dsn = 'host=db', query = 'SELECT 1 AS id', refresh = INTERVAL '1' HOUR);
