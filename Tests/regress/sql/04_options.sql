-- options, codebooks and their errors
CREATE TABLE item (id int, embedding real[]);
INSERT INTO item SELECT i, cluster_vector(i, 8) FROM generate_series(1, 1500) i;
CREATE INDEX ON item USING wrvq (embedding) WITH (lists = 70000);
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (lists = many);
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (fuzzy_levels = 7);
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = '');
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (colour = 'red');
\echo :LAST_ERROR_SQLSTATE
SET wrvq.target_recall = 2;
\echo :LAST_ERROR_SQLSTATE
SET wrvq.probes = -1;
\echo :LAST_ERROR_SQLSTATE
SET wrvq.rerank = 'all';
\echo :LAST_ERROR_SQLSTATE
SET wrvq.unknown = 1;
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'missing');
\echo :LAST_ERROR_SQLSTATE
-- on an empty table a missing codebook is a warning, so that dumps restore
CREATE TABLE empty_item (id int, embedding real[]);
CREATE INDEX ON empty_item USING wrvq (embedding) WITH (codebook = 'missing');
DROP TABLE empty_item;

-- a codebook by hand: two lists, four directions, flat only
CREATE FUNCTION halves(float8[]) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	-- zero, powers of two and their negatives are all that this needs
	SELECT string_agg(CASE WHEN x = 0 THEN '\x0000'::bytea
		ELSE set_byte('\x0000'::bytea, 1, (15 + round(log(2, abs(x)::numeric))::int) * 4 + CASE WHEN x < 0 THEN 128 ELSE 0 END) END, '' ORDER BY i)
	FROM unnest($1) WITH ORDINALITY u(x, i)
$$;
-- what the levels' SHA-256 is, by other means than the extension's
CREATE FUNCTION codebook_sha256(codebook text, dimensions int, metric text, scale text DEFAULT '1.0') RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(convert_to(format(E'wrvq-codebook-1\n%s\n%s\n%s\n', dimensions, metric, scale), 'UTF8') ||
		coalesce(string_agg(convert_to(format(E'%s %s %s %s %s %s\n', kind, codeword_count, piece_count, piece_dimensions, weight, weight_bits), 'UTF8')
			|| codewords || coalesce(transform, '') || coalesce(weights, ''), ''::bytea ORDER BY level), ''))
	FROM wrvq.wrvq_codebook_level WHERE name = codebook
$$;
CREATE FUNCTION add_codebook(codebook text, dimensions int, metric text, first_codewords bytea DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO wrvq.wrvq_codebook_level (name, level, kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords, transform_block_dimensions)
	VALUES ($1, 0, 'flat', 'one', 16, 2, 0, 0, coalesce($4, halves(array_fill(1::float8, ARRAY[$2]) || array_fill(-1::float8, ARRAY[$2]))), 0),
		($1, 1, 'flat', 'projection', 16, 4, 0, 0, (SELECT halves(array_agg((j % $2 = i)::int::float8 ORDER BY i, j)) FROM generate_series(0, 3) i, generate_series(0, $2 - 1) j), 0);
	INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss) VALUES ($1, 1, $2, $3, codebook_sha256($1, $2, $3), '{}');
$$;
SELECT add_codebook('hand', 8, 'l2'), add_codebook('other_dimensions', 4, 'l2'), add_codebook('other_metric', 8, 'ip'), add_codebook('broken', 8, 'l2');
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (codebook = 'hand');
SELECT reloptions FROM pg_class WHERE relname = 'item_embedding';
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
SET enable_seqscan = off;
SELECT id FROM item ORDER BY embedding <-> cluster_vector(321, 8) LIMIT 1;
INSERT INTO item SELECT i, cluster_vector(i, 8) FROM generate_series(1501, 1600) i;
SELECT id FROM item ORDER BY embedding <-> cluster_vector(1555, 8) LIMIT 1;
RESET enable_seqscan;
DROP INDEX item_embedding;
-- an empty table takes a stored codebook at once
CREATE TABLE empty_item (id int, embedding real[]);
CREATE INDEX ON empty_item USING wrvq (embedding) WITH (codebook = 'hand');
INSERT INTO empty_item SELECT i, cluster_vector(i, 8) FROM generate_series(1, 100) i;
SET enable_seqscan = off;
SELECT id FROM empty_item ORDER BY embedding <-> cluster_vector(50, 8) LIMIT 1;
RESET enable_seqscan;
INSERT INTO empty_item VALUES (0, '{1,2}');
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'other_dimensions');
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'other_metric');
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'hand', lists = 10);
\echo :LAST_ERROR_SQLSTATE
UPDATE wrvq.wrvq_codebook SET metric = 'ip' WHERE name = 'hand';
\echo :LAST_ERROR_SQLSTATE
UPDATE wrvq.wrvq_codebook_level SET weight = 'norm' WHERE name = 'hand';
\echo :LAST_ERROR_SQLSTATE
-- levels that an index cannot have, or whose bytes are too few, and levels that are not what the SHA-256 is of
DELETE FROM wrvq.wrvq_codebook WHERE name = 'broken';
SELECT add_codebook('broken', 8, 'l2', '\x00');
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'broken');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM wrvq.wrvq_codebook_level WHERE name = 'broken' AND level = 0;
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'broken');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM wrvq.wrvq_codebook WHERE name = 'broken';
INSERT INTO wrvq.wrvq_codebook_level SELECT 'broken', level - 1, kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords, transform_block_dimensions
	FROM wrvq.wrvq_codebook_level WHERE name = 'hand' AND level = 1;
INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss) VALUES ('broken', 1, 8, 'l2', codebook_sha256('broken', 8, 'l2'), '{}');
CREATE INDEX ON item USING wrvq (embedding) WITH (codebook = 'broken');
\echo :LAST_ERROR_SQLSTATE
-- the index carries its own copy
DELETE FROM wrvq.wrvq_codebook WHERE name = 'hand';
\echo :LAST_ERROR_SQLSTATE
SET wrvq.allow_codebook_removal = on;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'hand';
RESET wrvq.allow_codebook_removal;
SET enable_seqscan = off;
SELECT id FROM empty_item ORDER BY embedding <-> cluster_vector(50, 8) LIMIT 1;
RESET enable_seqscan;
-- read by all, written by the owner
CREATE ROLE wrvq_regress_reader;
SET ROLE wrvq_regress_reader;
SELECT count(*) FROM wrvq.wrvq_codebook;
DELETE FROM wrvq.wrvq_codebook;
RESET ROLE;
DROP ROLE wrvq_regress_reader;
DELETE FROM wrvq.wrvq_codebook;
DROP TABLE item, empty_item;

-- a mixed bag at CREATE INDEX
CREATE TABLE mixed (embedding real[]);
INSERT INTO mixed VALUES ('{1,2,3}'), ('{1,2}');
CREATE INDEX ON mixed USING wrvq (embedding);
\echo :LAST_ERROR_SQLSTATE
TRUNCATE mixed;
INSERT INTO mixed VALUES ('{1,NaN}');
CREATE INDEX ON mixed USING wrvq (embedding);
\echo :LAST_ERROR_SQLSTATE
TRUNCATE mixed;
INSERT INTO mixed VALUES ('{{1},{2}}');
CREATE INDEX ON mixed USING wrvq (embedding);
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON mixed USING wrvq (embedding, embedding);
\echo :LAST_ERROR_SQLSTATE
DROP TABLE mixed;

-- what an index was built with stays until REINDEX, and ALTER INDEX says so; what it trains itself with later needs no word
CREATE TABLE altered (id int, embedding real[]) WITH (autovacuum_enabled = off);
CREATE INDEX altered_index ON altered USING wrvq (embedding) WITH (lists = 7);
ALTER INDEX altered_index SET (lists = 8, spill = 2);
INSERT INTO altered SELECT i, cluster_vector(i, 8) FROM generate_series(1, 1200) i;
REINDEX INDEX altered_index;
ALTER INDEX altered_index SET (lists = 9, codebook = 'some');
ALTER INDEX altered_index SET (lists = 9);
ALTER INDEX altered_index RENAME TO renamed_index;
ALTER INDEX renamed_index SET (m = 16);
ALTER INDEX renamed_index RESET (codebook, spill);
ALTER INDEX renamed_index SET (fuzzy_levels = 0);
REINDEX INDEX renamed_index;
SELECT i->>'lists' AS lists, i->>'spill' AS spill FROM wrvq_index_info('renamed_index') i;
ALTER INDEX renamed_index RESET (lists, fuzzy_levels, m);
CREATE INDEX ON altered USING wrvq (embedding) WITH (lists = 3);
BEGIN;
ALTER INDEX renamed_index SET (lists = 4);
ROLLBACK;
ALTER TABLE altered RENAME TO also_renamed;
DROP TABLE also_renamed;
