-- A store as the first release left it: judgements, and no version. k3 is held by another machine, the claim on k4 has run out.
CREATE TABLE judgements (
	"key" VARCHAR(128) NOT NULL,
	job VARCHAR(64) NOT NULL,
	state VARCHAR(8) NOT NULL,
	owner VARCHAR(160),
	until FLOAT,
	result TEXT,
	requests INTEGER NOT NULL,
	input_tokens INTEGER NOT NULL,
	output_tokens INTEGER NOT NULL,
	cost FLOAT NOT NULL,
	PRIMARY KEY ("key")
);
INSERT INTO judgements VALUES('k1','labels','done',NULL,NULL,'{"text": "1", "other": "na\u00efve ''quoted''"}',2,120,8,0.25);
INSERT INTO judgements VALUES('k2','labels','failed',NULL,NULL,'{"failure": "no answer: timed out"}',3,10,0,0.1);
INSERT INTO judgements VALUES('k3','labels','claimed','another-machine/31287/7e661ff3',4000000000.5,NULL,3,0,0,0.5);
INSERT INTO judgements VALUES('k4','labels','claimed','another-machine/31287/7e661ff3',1700000000.5,NULL,3,0,0,0.5);
INSERT INTO judgements VALUES('k5','other','done',NULL,NULL,'{"logprobs": [-0.1, -2.3]}',1,0,0,0.0);
CREATE INDEX ix_judgements_job ON judgements (job);
