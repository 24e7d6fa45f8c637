-- Sensors that report every minute: which are silent, and which readings are out of range.
-- `generate` beside this file writes a day of them, with sensors that fall silent and readings that cannot be.

CREATE SOURCE readings (
  sensor_id VARCHAR NOT NULL,
  value DOUBLE,
  read_at TIMESTAMP NOT NULL,
  WATERMARK FOR read_at AS read_at - INTERVAL '1' MINUTE
)
WITH (connector = 'file', path = 'in/readings*.ndjson', format = 'json');

-- What is out there, and what its readings may be. Change a limit and the alerts of the past follow.
CREATE SOURCE sensors (sensor_id VARCHAR PRIMARY KEY, site VARCHAR, room VARCHAR, lowest DOUBLE, highest DOUBLE)
WITH (connector = 'file', path = 'in/sensors.csv', format = 'csv', refresh = INTERVAL '10' SECOND);

CREATE MATERIALIZED TABLE out_of_range
FRESHNESS = INTERVAL '1' SECOND
AS SELECT r.sensor_id, s.room, r.read_at, r.value, s.lowest, s.highest
   FROM readings r JOIN sensors s USING (sensor_id)
   WHERE r.value < s.lowest OR r.value > s.highest;

-- Silent: nothing for ten minutes before the latest reading from its site, so a site whose line is down is not 40 alerts. A sensor that never
-- reported is silent too.
CREATE MATERIALIZED TABLE silent_sensors (PRIMARY KEY (sensor_id))
FRESHNESS = INTERVAL '10' SECOND
AS SELECT s.sensor_id, s.site, s.room, l.last_at
   FROM sensors s
   JOIN (SELECT site, max(read_at) AS newest FROM readings JOIN sensors USING (sensor_id) GROUP BY site) n USING (site)
   LEFT JOIN (SELECT sensor_id, max(read_at) AS last_at FROM readings GROUP BY sensor_id) l USING (sensor_id)
   WHERE coalesce(l.last_at, TIMESTAMP '1970-01-01') < n.newest - INTERVAL '10' MINUTE;

-- For the chart: a quarter of an hour a row, written when it is final.
CREATE MATERIALIZED TABLE quarter_hours
FRESHNESS = INTERVAL '10' SECOND EMIT ON WINDOW CLOSE
AS SELECT window_start, sensor_id, count(*) AS readings, avg(value) AS mean, min(value) AS lowest, max(value) AS highest
   FROM TUMBLE(readings, read_at, INTERVAL '15' MINUTE) GROUP BY window_start, sensor_id;
