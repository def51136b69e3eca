# A hot standby searches while it replays what the primary does to its indexes: inserts, updates, deletes, VACUUM that
# rewrites lists, recycles their slots, shrinks and truncates, training, REINDEX.
#
# WRVQ_STANDBY_TRANSACTIONS (4000) says for how many transactions of each writer.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $each = $ENV{WRVQ_STANDBY_TRANSACTIONS} // 4000;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
# Small pools of buffers: pages come and go between a scan's looks at them.
$primary->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
shared_buffers = 2MB
max_connections = 40
));
$primary->start;
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
# What VACUUM takes from the table waits for the searches that still see it; then the index's pages change, which waits for
# nobody.  (With hot_standby_feedback VACUUM would find little to do.)  Not for ever: a search that waits for a truncation may be
# waited for by what comes before the truncation's commit, whatever is truncated, and PostgreSQL then ends the search.
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 500ms');
$standby->start;

create_schema($primary);

# steady: many writers at once, an index that trains itself on the way.  tide: one writer, who moves every row and vacuums, so
# that all lists are rewritten, and who at times fills and empties it, so that its index is truncated.
$primary->safe_psql(
	'postgres', q(
	CREATE SEQUENCE ids START 3000000;
	CREATE TABLE steady (id bigint PRIMARY KEY, round int, embedding real[]);
	CREATE INDEX steady_index ON steady USING wrvq (embedding) WITH (spill = 2);
	CREATE TABLE tide (id bigint PRIMARY KEY, round int, embedding real[]);
	INSERT INTO tide SELECT n, 0, test_vector(n) FROM generate_series(1, 4000) AS n;
	CREATE INDEX tide_index ON tide USING wrvq (embedding) WITH (lists = 100);
	CREATE TABLE flood AS SELECT n AS id, 0 AS round, test_vector(n) AS embedding FROM generate_series(10001, 22000) AS n;

	-- The nearest so many, with or without the index.  STABLE: in the caller's snapshot.
	CREATE FUNCTION nearest(name regclass, v real[], many int, by_index bool, OUT ids bigint[], OUT distances float8[]) LANGUAGE plpgsql STABLE AS $$
	BEGIN
		PERFORM set_config('enable_seqscan', (NOT by_index)::text, true), set_config('enable_indexscan', by_index::text, true);
		EXECUTE format('SELECT array_agg(id), array_agg(d) FROM
			(SELECT id, embedding <-> $1 AS d FROM %s ORDER BY embedding <-> $1 LIMIT $2) AS found', name) INTO ids, distances USING v, many;
	END $$;

	-- Every list visited and every row compared: what a sequential scan finds.
	CREATE FUNCTION search_all(name regclass, n bigint) RETURNS void LANGUAGE plpgsql STABLE AS $$
	DECLARE
		found record;
		truth record;
	BEGIN
		PERFORM set_config('wrvq.probes', '65536', true), set_config('wrvq.rerank', '1000000', true),
			set_config('wrvq.max_scan_tuples', '0', true);
		found := nearest(name, test_vector(n), 30, true);
		truth := nearest(name, test_vector(n), 30, false);
		-- equally far rows come in any order
		IF found.distances IS DISTINCT FROM truth.distances
			OR EXISTS (SELECT FROM unnest(found.ids, found.distances) AS f (id, d)
				WHERE d < truth.distances[cardinality(truth.distances)] AND id <> ALL (truth.ids))
		THEN
			RAISE EXCEPTION '% near %: % by the index, % by a scan', name, n, found, truth;
		END IF;
	END $$;

	-- As anybody searches: as many rows as there are, none twice, nearest first; how many are among the nearest.
	CREATE FUNCTION search(name regclass, n bigint) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
	DECLARE
		found record;
		truth record;
	BEGIN
		found := nearest(name, test_vector(n), 10, true);
		truth := nearest(name, test_vector(n), 10, false);
		IF cardinality(found.ids) IS DISTINCT FROM cardinality(truth.ids)
			OR cardinality(found.ids) <> (SELECT count(DISTINCT id) FROM unnest(found.ids) AS id)
			OR found.distances <> (SELECT array_agg(d ORDER BY d) FROM unnest(found.distances) AS d)
		THEN
			RAISE EXCEPTION '% near %: % by the index, % by a scan', name, n, found, truth;
		END IF;
		RETURN (SELECT avg((id = ANY (found.ids))::int) FROM unnest(truth.ids) AS id);
	END $$;));
$primary->wait_for_catchup($standby);

# finish_pgbench($node, $run, $promise): one test, that no statement failed; but PostgreSQL ends a few of a standby's.  It says so
# in the server's log at any rate, and to the client unless the session was between two statements.
sub finish_pgbench
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, $run, $promise) = @_;
	my $passed = $run->{handle}->finish;
	my ($done) = $run->{out} =~ /number of transactions actually processed: (\d+)/;
	my ($retried) = $run->{out} =~ /number of transactions retried: (\d+)/;
	my @errors = slurp_file($node->logfile) =~ /(?:ERROR|FATAL|PANIC): [^\n]*/g;
	my @failures = grep { !/conflict with recovery/ } @errors;
	my @ended = grep { /^FATAL: .*conflict with recovery/ } @errors;

	ok(($passed || @ended > 0) && @failures == 0 && ($done // 0) > 0, $promise) or diag(join("\n", $run->{err}, @failures));
	note("$done transactions, $retried of them again, " . @ended . ' sessions ended by conflicts with recovery');
	return;
}

my $row = '\set id random(1, 6000)';
my @options = ('-j', 1, '--max-tries=100');
my $writers = start_pgbench(
	$primary, [ '-c', 3, '-t', $each, @options ],
	insert => [ 50, "$row\nINSERT INTO steady VALUES (:id, 0, test_vector(nextval('ids'))) ON CONFLICT (id) DO NOTHING;" ],
	update => [ 20, "$row\nUPDATE steady SET embedding = test_vector(nextval('ids')) WHERE id = :id;" ],
	touch => [ 10, "$row\nUPDATE steady SET round = round + 1 WHERE id = :id;" ],
	delete => [ 15, "$row\nDELETE FROM steady WHERE id BETWEEN :id AND :id + 2;" ],
	vacuum => [ 1, 'VACUUM steady;' ]);
my $query = '\set n random(1, 1000000)';
my $searchers = start_pgbench(
	$standby, [ '-c', 4, '-t', int($each / 10), @options ],
	search_all_steady => [ 1, "$query\nSELECT search_all('steady', :n);" ],
	search_all_tide => [ 3, "$query\nSELECT search_all('tide', :n);" ],
	search_steady => [ 1, "$query\nSELECT search('steady', :n);" ],
	search_tide => [ 1, "$query\nSELECT search('tide', :n);" ]);

sub tide_size { return $primary->safe_psql('postgres', "SELECT pg_relation_size('tide_index')") }

# fill_and_empty(): four times as many rows for a while; the index's sizes before and after VACUUM.
sub fill_and_empty
{
	$primary->safe_psql('postgres', 'INSERT INTO tide SELECT * FROM flood');
	my $high = tide_size();
	$primary->safe_psql('postgres', $_) foreach ('DELETE FROM tide WHERE id > 10000', 'VACUUM tide', 'VACUUM tide');
	return [ $high, tide_size() ];
}

# tide_turns($round): moves all rows, at times in an index that is new; in every fifth round there are more for a while.  Did
# the index become smaller?
sub tide_turns
{
	my ($round) = @_;

	$primary->safe_psql('postgres', $_) foreach ('UPDATE tide SET round = round + 1', 'VACUUM tide');
	return 0 if $round % 5;
	$primary->safe_psql('postgres', 'REINDEX INDEX tide_index') if $round % 20 == 0;
	my ($high, $low) = @{ fill_and_empty() };
	return $low < $high;
}

my ($truncations, $rounds, $recall, $recalls) = (0, 0, 0, 0);
my %replayed;
# as long as the others are at it, and until it has come to what is to be seen
while ($writers->{handle}->pumpable || $searchers->{handle}->pumpable || $truncations == 0 && $rounds < 50)
{
	$_->{handle}->pump_nb foreach grep { $_->{handle}->pumpable } ($writers, $searchers);
	$truncations++ if tide_turns(++$rounds);
	my ($status, $out, $err) = $standby->psql('postgres',
		"SELECT pg_last_wal_replay_lsn(), avg(search('tide', 1000000 + n)) FROM generate_series(1, 10) AS n");

	next if $err =~ /conflict with recovery/;
	is($err, '', 'a search on the standby') if $status != 0;
	my ($position, $mean) = split /\|/, $out;

	$replayed{$position} = 1;
	$recall += $mean;
	$recalls++;
}
finish_pgbench($standby, $searchers, 'every search on the standby was right');
finish_pgbench($primary, $writers, 'every write on the primary was done');
cmp_ok($truncations, '>', 0, "the primary's index became smaller in $truncations of $rounds rounds");
cmp_ok(scalar(keys %replayed), '>', 1, scalar(keys %replayed) . ' positions of replay were searched');
cmp_ok($recall / $recalls, '>', 0.9, sprintf('searches at default settings found %.3f of the nearest', $recall / $recalls));

# A table's vacuum_truncate is heeded: the way not to have exclusive locks on a standby.
$primary->safe_psql('postgres', 'ALTER TABLE tide SET (vacuum_truncate = off)');
my ($high, $low) = map { fill_and_empty() } 1 .. 2;
cmp_ok($low->[1], '>=', $high->[0], 'nothing is truncated while the table forbids it');
$primary->safe_psql('postgres', $_) foreach ('ALTER TABLE tide RESET (vacuum_truncate)', 'UPDATE tide SET round = 0', 'VACUUM tide');
cmp_ok(tide_size(), '<', $high->[0], 'and is when it does not');

foreach my $table (qw(steady tide))
{
	$primary->wait_for_catchup($standby);
	index_agrees($primary, $table, "$table on the primary");
	index_agrees($standby, $table, "$table on the standby");
}
is( $primary->safe_psql('postgres', q(SELECT wrvq_index_info('steady_index')->>'trained')),
	'true', 'an index trained itself on the way');
unlike(slurp_file($_->logfile), qr/terminated by signal|TRAP:|PANIC/, $_->name . ': no process died') foreach ($primary, $standby);
$standby->stop;
$primary->stop;
done_testing();
