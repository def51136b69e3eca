# What the primary's index knows, the standby's knows: after the build, through
# inserts, updates, deletes and vacuums, and after promotion.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
# The standby compares every page it has replayed with the primary's.
$primary->append_conf(
	'postgresql.conf', q(
autovacuum = off
wal_consistency_checking = 'generic'
));
$primary->start;
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub both_agree
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($table, $moment) = @_;

	$primary->wait_for_catchup($standby);
	index_agrees($primary, $table, "$table on the primary $moment");
	index_agrees($standby, $table, "$table on the standby $moment");
	return;
}

create_schema($primary);

# An index built over rows, and one that grew from nothing.
$primary->safe_psql(
	'postgres', q(
	CREATE TABLE built (id bigint PRIMARY KEY, round int, embedding real[]);
	INSERT INTO built SELECT n, 0, test_vector(n) FROM generate_series(1, 4000) AS n;
	CREATE INDEX ON built USING wrvq (embedding) WITH (lists = 20);
	CREATE TABLE grown (id bigint PRIMARY KEY, round int, embedding real[]);
	CREATE INDEX ON grown USING wrvq (embedding);));
both_agree('built', 'after the build');
both_agree('grown', 'while empty');

foreach my $round (1 .. 10)
{
	foreach my $table ('built', 'grown')
	{
		# One transaction each, so that the standby replays them apart.
		$primary->safe_psql('postgres', $_) foreach (
			"INSERT INTO $table SELECT n, $round, test_vector(n) FROM generate_series(10000 * $round, 10000 * $round + 300) AS n",
			"UPDATE $table SET embedding = test_vector(id + 500000 * $round) WHERE id % 17 = $round",
			"UPDATE $table SET round = -$round WHERE id % 23 = $round",
			"DELETE FROM $table WHERE id % 13 = $round");
		$primary->safe_psql('postgres', "VACUUM $table") if $round % 2 == 0;
		both_agree($table, "in round $round");
	}
}

# Deleting everything and starting over reuses what vacuum freed.
$primary->safe_psql('postgres', $_) foreach ('DELETE FROM built', 'VACUUM built',
	'INSERT INTO built SELECT n, 99, test_vector(n) FROM generate_series(700000, 701000) AS n');
both_agree('built', 'emptied and filled again');
$primary->safe_psql('postgres', 'REINDEX TABLE grown');
both_agree('grown', 'after REINDEX');
$primary->safe_psql('postgres', 'TRUNCATE grown');
both_agree('grown', 'after TRUNCATE');

is($standby->safe_psql('postgres', 'SELECT count(*) FROM built'), 1001, 'the standby has the rows');
$primary->stop;
$standby->promote;
$standby->safe_psql('postgres', $_) foreach (
	'INSERT INTO built SELECT n, 100, test_vector(n) FROM generate_series(800000, 800300) AS n',
	'DELETE FROM built WHERE id % 3 = 0', 'VACUUM built');
index_agrees($standby, 'built', 'the promoted standby goes on');

unlike(slurp_file($standby->logfile), qr/inconsistent page found/, 'no replayed page differs from the primary\'s');
$standby->stop;
done_testing();
