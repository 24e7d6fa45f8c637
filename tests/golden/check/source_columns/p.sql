CREATE SOURCE s1 (a STRUCT(x INTEGER), b MAP(VARCHAR, INTEGER), c INTEGER[3], d DECIMAL(50,2), e, f DECIMAL(18, f NOT, g INTEGER DEFAULT 3)
WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s2 (a INTEGER PRIMARY KEY, b INTEGER PRIMARY KEY, c INTEGER, PRIMARY KEY (c)) WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s3 (a INTEGER, PRIMARY KEY (a, z, A)) WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s4 (_offset BIGINT, __w INTEGER, b INTEGER) INCLUDE timestamp AS B WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s5 () WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s6 WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s7 (a INTEGER
WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s8 (a INTEGER) INCLUDE partition, partition, key WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s9 (a INTEGER) INCLUDE header WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s10 (a INTEGER FROM x) WITH (connector = 'file', path = 'x.json');
CREATE SOURCE s11 (a INTEGER, b VARCHAR NOT NULL) WITH (connector = 'file', path = 'x.json', unknown_fields = 'b');
CREATE SOURCE s12 (a INTEGER) WITH (connector = 'file', path = 'x.json', unknown_fields = 'extra');
CREATE SOURCE s13 (a INTEGER, extra VARCHAR) WITH (connector = 'file', path = 'x.csv', unknown_fields = 'extra');
