CREATE VIEW x1 AS SELECT $body$ no end $Body$;
