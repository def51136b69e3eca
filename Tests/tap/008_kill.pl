# kill -9 of the whole server at random moments of builds, inserts and vacuums, round after round: every time the index
# is sound and finds what a sequential scan finds.
#
# WRVQ_KILL_ROUNDS (30) and WRVQ_SEED (drawn, and printed) choose how often and when.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TestWRVQ;

my $rounds = $ENV{WRVQ_KILL_ROUNDS} // 30;
my $seed = $ENV{WRVQ_SEED} // int(rand(2**31));
srand($seed);
diag("WRVQ_SEED=$seed repeats these moments");

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
checkpoint_timeout = 30s
min_parallel_table_scan_size = 0
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE SEQUENCE ids;
	CREATE TABLE item (id bigint PRIMARY KEY DEFAULT nextval('ids'), embedding real[]);
	INSERT INTO item (embedding) SELECT test_vector(n) FROM generate_series(1, 3000) AS n;
	CREATE INDEX item_embedding_idx ON item USING wrvq (embedding) WITH (lists = 20);
	CREATE TABLE built AS SELECT * FROM item;));

# What a session does, small transaction by small transaction, until the server is gone.
my %work = (
	insert => q(DO $$ BEGIN LOOP
		INSERT INTO item SELECT id, test_vector(id + 2000000) FROM (SELECT nextval('ids') AS id FROM generate_series(1, 3)) s;
		COMMIT;
	END LOOP; END $$),
	change => q(DO $$ BEGIN LOOP
		UPDATE item SET embedding = test_vector(nextval('ids') + 2000000) WHERE id % 97 = floor(random() * 97);
		COMMIT;
		DELETE FROM item WHERE id % 61 = floor(random() * 61);
		COMMIT;
	END LOOP; END $$),
	# a build without workers and one with them
	build => q(DO $$ BEGIN LOOP
		DROP INDEX IF EXISTS built_embedding_idx;
		PERFORM set_config('max_parallel_maintenance_workers', (floor(random() * 3))::text, false);
		CREATE INDEX built_embedding_idx ON built USING wrvq (embedding) WITH (lists = 40);
		COMMIT;
	END LOOP; END $$),);
# what the rounds are about, in turn
my @plans = ([qw(insert change)], [qw(insert change vacuum)], [qw(build)], [qw(insert build vacuum)]);

foreach my $round (1 .. $rounds)
{
	my @plan = @{ $plans[ $round % @plans ] };
	my @sessions = map { start_psql($node, $work{$_}) } grep { $work{$_} } @plan;

	usleep(100_000 + rand(400_000));
	if (grep { $_ eq 'vacuum' } @plan)
	{
		push @sessions, start_psql($node, 'VACUUM item');
		usleep(rand(60_000));
	}
	crash_and_recover($node, @sessions);
	index_agrees($node, 'item', "round $round (@plan)");
	# a build that was not finished has left no index; one that was is as sound as any
	next if !grep { $_ eq 'build' } @plan;
	my $is_there = $node->safe_psql('postgres', "SELECT to_regclass('built_embedding_idx') IS NOT NULL");
	index_agrees($node, 'built', "round $round: what was built") if $is_there eq 't';
	# a table that only grows would slow the rounds down
	$node->safe_psql('postgres', 'DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY random() OFFSET 4000)');
}
done_testing();
