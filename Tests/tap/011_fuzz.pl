# Damaged pages: whatever a page of an index holds, nobody who reads or writes it crashes, hangs or reads what is not
# there.  They say that the index is corrupted, and where, or go on; and rows are rows of the table, in order.
#
# WRVQ_FUZZ_ROUNDS (2400) says how many mutations, WRVQ_SEED (1) which.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $rounds = $ENV{WRVQ_FUZZ_ROUNDS} // 2400;
my $seed = $ENV{WRVQ_SEED} // 1;
my $module = test_module('wrvq_fuzz');

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
max_wal_size = 4GB
log_min_messages = panic
));
$node->start;
create_schema($node);

# An index of each way to come to life, with pages of all kinds among them.
my %indexes = (
	built => 'lists = 12',
	spilled => 'lists = 6, spill = 2, fuzzy_levels = 0',
	grown => 'lists = 6',
	waiting => 'lists = 6');
foreach my $table (sort keys %indexes)
{
	my $create = "CREATE INDEX ${table}_index ON $table USING wrvq (embedding) WITH ($indexes{$table})";
	my $fill = "INSERT INTO $table SELECT n, test_vector(n) FROM generate_series(1, " . ($table eq 'waiting' ? 700 : 1200) . ') AS n';
	my $is_late = $table eq 'grown' || $table eq 'waiting';

	$node->safe_psql('postgres', $_) foreach ("CREATE TABLE $table (id bigint, embedding real[])",
		$is_late ? ($create, $fill) : ($fill, $create), "VACUUM $table");
}

# One round: damage, everything that touches an index, repair.  Every error is noted; one of a kind that does not name
# the damage is what the test is for.
$node->safe_psql(
	'postgres', qq(
	CREATE FUNCTION fuzz_save(regclass) RETURNS void LANGUAGE c AS '$module';
	CREATE FUNCTION fuzz_restore() RETURNS void LANGUAGE c AS '$module';
	CREATE FUNCTION fuzz_mutate(bigint) RETURNS text LANGUAGE c AS '$module';
	CREATE FUNCTION fuzz_lead(int) RETURNS text LANGUAGE c AS '$module';
	CREATE FUNCTION fuzz_vacuum() RETURNS void LANGUAGE c AS '$module';
	CREATE TABLE outcome (seed bigint, damage text, step text, state text, message text);
	CREATE TABLE query AS SELECT test_vector(n + 1000000) AS v FROM generate_series(1, 3) AS n;
	CREATE TABLE newcomer AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(5001, 5008) AS n;)
	  . q(
	-- the distances of the rows that an index scan returns never fall, and no row comes twice
	CREATE FUNCTION search(tab text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		q record;
		found record;
		ids bigint[];
		last_distance float8;
	BEGIN
		FOR q IN SELECT v FROM query LOOP
			ids := '{}';
			last_distance := 0;
			FOR found IN EXECUTE format('SELECT id, embedding <-> $1 AS d FROM %I ORDER BY embedding <-> $1 LIMIT 100', tab) USING q.v LOOP
				IF found.d < last_distance OR found.id = ANY (ids) THEN
					RAISE 'row % at % after %', found.id, found.d, last_distance USING ERRCODE = 'WR001';
				END IF;
				ids := ids || found.id;
				last_distance := found.d;
			END LOOP;
		END LOOP;
	END $$;
	CREATE FUNCTION fuzz(tab text, seed bigint, damage text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		steps text[] := ARRAY[
			format('SELECT search(%L)', tab),
			format('SET LOCAL wrvq.probes = 100000; SELECT search(%L)', tab),
			format('SELECT wrvq_index_info(%L)', tab || '_index'),
			format('SELECT wrvq_check(%L)', tab || '_index'),
			format('INSERT INTO %I SELECT * FROM newcomer', tab),
			'SELECT fuzz_vacuum()',
			format('SELECT search(%L)', tab)];
	BEGIN
		IF seed % 8 = 0 THEN
			steps := steps || format('SELECT wrvq_recall(%L, 3, 5)', tab || '_index') || format('SELECT wrvq_calibrate(%L)', tab || '_index');
		END IF;
		FOR i IN 1 .. cardinality(steps) LOOP
			BEGIN
				EXECUTE steps[i];
				-- what was inserted goes away again
				RAISE 'undo' USING ERRCODE = 'WR000';
			EXCEPTION WHEN OTHERS THEN
				IF SQLSTATE <> 'WR000' THEN
					INSERT INTO outcome VALUES (seed, damage, steps[i], SQLSTATE, SQLERRM);
				END IF;
			END;
		END LOOP;
		PERFORM fuzz_restore();
	END $$;
	-- every pointer to every page that its reader may have locked, and back to where its chain came from
	CREATE FUNCTION fuzz_pointers(tab text) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		damage text;
		tried bigint := 0;
	BEGIN
		FOR number IN 0 .. 1000 LOOP
			damage := fuzz_lead(number);
			EXIT WHEN damage IS NULL;
			IF damage <> '' THEN
				PERFORM fuzz(tab, -number, damage);
				tried := tried + 1;
			END IF;
		END LOOP;
		RETURN tried;
	END $$;));

# One session for each index, one statement for each round.
my $first = $seed * 1_000_000;
foreach my $table (sort keys %indexes)
{
	my $last = $first + $rounds / keys(%indexes) - 1;
	my $script = "SET client_min_messages = error; SET enable_seqscan = off; SET statement_timeout = '20s';\n\\o /dev/null\n"
	  . "SELECT fuzz_save('${table}_index');\n" . "\\o\nSELECT fuzz_pointers('$table');\n\\o /dev/null\n"
	  . join '', map { "SELECT fuzz('$table', $_, fuzz_mutate($_));\n" } $first .. $last;
	my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0, timeout => 600);

	cmp_ok($out, '>', $table eq 'waiting' ? 10 : 40, "$table: its pointers led to $out pages");
	is($status, 0, "$table: no round killed the server");
	is($err, '', "$table: no round hung or escaped");
	index_agrees($node, $table, "$table: sound once repaired");
	$first = $last + 1;
}

# What may be said: that the index is corrupted, or that a block cannot be read, or that the format is of another version.
my $named = q((state = 'XX002' AND message ~ '^index ".*" is corrupted: (block \d+: |it leads to block|row )')
	OR (state = 'XX001' AND message ~ 'could not read block \d+') OR (state = '55000' AND message ~ 'format version|has not been trained'));
is($node->safe_psql('postgres', "SELECT DISTINCT ON (state, regexp_replace(message, '\\d+', 'N', 'g')) * FROM outcome WHERE NOT ($named)"),
	'', 'every error names the damage');
my $said = $node->safe_psql('postgres', 'SELECT count(DISTINCT seed) FROM outcome');
cmp_ok($said, '>', $rounds / 4, "damage is noticed: in $said of $rounds rounds somebody said so");
foreach my $kind (1 .. 5)
{
	cmp_ok($node->safe_psql('postgres', "SELECT count(DISTINCT seed) FROM outcome WHERE damage ~ 'kind $kind'"),
		'>', 0, "damage to pages of kind $kind is noticed");
}
my $checked = $node->safe_psql('postgres', q(SELECT count(*) FROM outcome WHERE step ~ 'wrvq_check'));
note("wrvq_check() noticed $checked");
unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:/, 'no process died');

$node->stop;
done_testing();
