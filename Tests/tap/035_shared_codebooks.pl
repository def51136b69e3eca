# From PostgreSQL 17 on backends share the codebooks of large indexes: one copy, however many look at it, bounded by
# wrvq.codebook_cache, and gone with its index.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

plan skip_all => 'there is no PostgreSQL 18' unless $ENV{WRVQ_SERVER_18};

my $node = PostgreSQL::Test::Cluster->new('sharing', install_path => $ENV{WRVQ_SERVER_18});
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
jit = off
dynamic_shared_memory_type = posix
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE FUNCTION books(OUT bytes bigint) LANGUAGE sql AS
		$$ SELECT coalesce(sum(total_bytes), 0) FROM pg_backend_memory_contexts WHERE name LIKE 'wrvq codebook%' $$;
	CREATE FUNCTION nearest(t regclass) RETURNS int LANGUAGE plpgsql SET enable_seqscan = off AS $$
		DECLARE found int;
		BEGIN
			EXECUTE format('SELECT id FROM %s ORDER BY embedding <-> (SELECT embedding FROM %1$s WHERE id = 77) LIMIT 1', t) INTO found;
			RETURN found;
		END $$;));

# Several times the least that is shared.
sub create_table
{
	my ($name, $lists) = @_;
	$node->safe_psql(
		'postgres', qq(
		-- so that the build, which searches its index, shares nothing
		SET wrvq.codebook_cache = 0;
		CREATE TABLE $name AS SELECT n AS id, test_vector(n) || test_vector(n + 10000) || test_vector(n + 20000) AS embedding
		FROM generate_series(1, 5000) AS n;
		CREATE INDEX ${name}_index ON $name USING wrvq (embedding) WITH (lists = $lists)));
	return $node->safe_psql('postgres', qq(SET wrvq.codebook_cache = 0; SELECT wrvq_index_info('${name}_index')->'codebook_bytes'));
}

# How many shared memory segments there are of just this size: each codebook here has its own.
sub segments
{
	my ($bytes) = @_;
	return scalar grep { -s $_ == $bytes && (stat _)[4] == (stat $node->data_dir)[4] } glob '/dev/shm/PostgreSQL.*';
}

my $item = create_table('item', 2000);
my $other = create_table('other', 2100);

cmp_ok($item, '>', 300_000, 'a codebook is large enough to be shared');

my @sessions = map { $node->background_psql('postgres', on_error_stop => 1) } 1 .. 5;
is(join(' ', map { $_->query_safe(q(SELECT nearest('item'))) } @sessions), '77 77 77 77 77', 'five sessions search');
is(segments($item), 1, 'they share one copy');
is(scalar(grep { $_->query_safe('SELECT bytes FROM books()') > $item / 4 } @sessions), 0, 'and none has its own');

# one that dies does not take it along, and one that comes later finds it
my $doomed = $sessions[0]->query_safe('SELECT pg_backend_pid()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($doomed, 60000)");
is($node->safe_psql('postgres', q(SELECT nearest('item'))), 77, 'a session that comes later searches');
is(segments($item), 1, 'with the same copy');

# at 0 nothing is shared
is($node->safe_psql('postgres', q(SET wrvq.codebook_cache = 0; SELECT nearest('other'))), 77, 'a session may do without');
is(segments($other), 0, 'and shares nothing then');

# where two do not fit, the one that was used last stays for those to come; who has the other goes on with it
is($node->safe_psql('postgres', q(SET wrvq.codebook_cache = '700kB'; SELECT nearest('other'))), 77, 'another codebook takes its place');
is($sessions[1]->query_safe(q(SELECT nearest('item'))), 77, 'a session goes on with the one that gave way');
is(segments($other), 1, 'the new one is shared');

# an index that is built anew or dropped leaves nothing
$node->safe_psql('postgres', q(SELECT nearest('other'); REINDEX INDEX other_index));
is($node->safe_psql('postgres', q(SELECT nearest('other'))), 77, 'after REINDEX a search finds the new codebook');
is(segments($other), 1, 'and the one of before is gone');
$node->safe_psql('postgres', q(SELECT nearest('other'); DROP INDEX other_index));
is(segments($other), 0, 'DROP INDEX takes it along');

# a crash: the server begins with none
$_->quit for @sessions[1 .. 4];
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q(SELECT nearest('item'))), 77, 'a search after a crash');
is(segments($item), 1, 'shares anew');
$node->stop;
is(segments($item), 0, 'a server that stops leaves nothing');

done_testing();
