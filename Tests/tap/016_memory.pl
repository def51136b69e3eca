# A backend's memory is flat over 100,000 queries and 100,000 inserts.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $times = $ENV{WRVQ_MEMORY_TIMES} // 100_000;
# what may come and go: the server's caches of relations and plans
my $contexts_bytes_max = 64 * 1024;
my $process_kb_max = 2048;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
jit = off
max_wal_size = 2GB
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 1500) AS n;
	CREATE INDEX item_index ON item USING wrvq (embedding) WITH (lists = 20, spill = 2);
	CREATE TABLE sample AS SELECT n, test_vector(n) AS v FROM generate_series(1, 100) AS n;
	-- bytes of memory contexts, and kilobytes of memory of this process alone
	CREATE FUNCTION memory(OUT contexts bigint, OUT process bigint) LANGUAGE sql AS $$
		SELECT (SELECT sum(total_bytes) FROM pg_backend_memory_contexts)::bigint,
			substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::bigint $$;
	CREATE PROCEDURE search(times int) LANGUAGE plpgsql AS $$
	DECLARE q real[];
	BEGIN
		FOR i IN 1 .. times LOOP
			SELECT v INTO q FROM sample WHERE n = 1 + i % 100;
			PERFORM id FROM item ORDER BY embedding <-> q LIMIT 10;
			IF i % 1000 = 0 THEN COMMIT; END IF;
		END LOOP;
	END $$;
	CREATE PROCEDURE insert(times int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. times LOOP
			INSERT INTO item SELECT n, v FROM sample WHERE n = 1 + i % 100;
			IF i % 1000 = 0 THEN COMMIT; END IF;
		END LOOP;
	END $$;));

foreach my $work ('search', 'insert')
{
	# in one session: caches fill first
	my $out = $node->safe_psql('postgres',
		"SET enable_seqscan = off; CALL $work(3000); SELECT * FROM memory(); SELECT * FROM memory(); CALL $work($times); SELECT * FROM memory();");
	my ($unused, $before, $after) = map { [ split /\|/ ] } split /\n/, $out;
	my ($contexts, $process) = map { $after->[$_] - $before->[$_] } (0, 1);

	note("$times times $work: $before->[0] and $after->[0] bytes of contexts, $before->[1] and $after->[1] kB in all");
	cmp_ok($contexts, '<', $contexts_bytes_max, "$times times $work: memory contexts stay as large as they are");
	cmp_ok($process, '<', $process_kb_max, "$times times $work: so does the process");
}
is($node->safe_psql('postgres', "SELECT wrvq_check('item_index') IS NOT NULL"), 't', 'the index is sound');

$node->stop;
done_testing();
