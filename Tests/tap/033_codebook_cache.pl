# A session keeps codebooks as wrvq.codebook_cache says, and none of an index that was rebuilt or dropped.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
jit = off
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 3000) AS n;
	CREATE INDEX item_index ON item USING wrvq (embedding) WITH (lists = 2000);
	CREATE TABLE other AS SELECT * FROM item;
	CREATE INDEX other_index ON other USING wrvq (embedding) WITH (lists = 2000);
	CREATE FUNCTION books(OUT count bigint, OUT bytes bigint) LANGUAGE sql AS
		$$ SELECT count(*), coalesce(sum(total_bytes), 0) FROM pg_backend_memory_contexts WHERE name = 'wrvq codebook' $$;
	CREATE FUNCTION nearest(t regclass) RETURNS int LANGUAGE plpgsql SET enable_seqscan = off AS $$
		DECLARE found int;
		BEGIN
			EXECUTE format('SELECT id FROM %s ORDER BY embedding <-> test_vector(77) LIMIT 1', t) INTO found;
			RETURN found;
		END $$;));

# in_session(@statements): what each of them returns, one transaction each, in one session
sub in_session
{
	return [ split /\n/, $node->safe_psql('postgres', join(";\n", @_) . ';') ];
}

my $search = q(SELECT nearest('item'));
my $both = q(SELECT nearest('other'));
my $count = 'SELECT count FROM books()';

is_deeply(in_session($search, $count, $both, $count), [ 77, 1, 77, 2 ], 'codebooks are kept');
is_deeply(in_session('SET wrvq.codebook_cache = 0', $search, $count, $both, $count), [ 77, 0, 77, 0 ], 'or not, at 0');
is_deeply(in_session(q(SET wrvq.codebook_cache = '64kB'), $search, $count, $both, $count, $search),
	[ 77, 1, 77, 1, 77 ], 'where there is room for none, the last one used is kept');
is_deeply(in_session($search, $both, q(SET wrvq.codebook_cache = '64kB'), $search, $count),
	[ 77, 77, 77, 1 ], 'a session that asks for less has less');

my $bytes = in_session($search, 'SELECT bytes FROM books()')->[1];
note("a codebook takes $bytes bytes");

# REINDEX inserts nothing into the cache that a search would not
my $rebuilt = in_session($search, map({ ('REINDEX INDEX item_index', $search) } 1 .. 12), $count);
is($rebuilt->[-1], 1, 'twelve REINDEX leave one codebook');
is_deeply(in_session($search, 'REINDEX TABLE item', 'SELECT 1', $count), [ 77, 1, 1 ], 'only the new one is left, which the build has searched with');
is_deeply(in_session($search, 'VACUUM item', 'ANALYZE item', 'SELECT 1', $count), [ 77, 1, 1 ],
	'VACUUM and ANALYZE leave a codebook alone');

# another session rebuilds; this one has a cursor open on the index, whose codebook stays until then
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe($search);
$session->query_safe($both);
is($session->query_safe($count), 2, 'a session has two');
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY item_index; DROP INDEX other_index');
$session->query_safe('SELECT count(*) FROM item, other WHERE false');
$session->query_safe('SELECT 1');
is($session->query_safe($count), 0, 'what another session rebuilt or dropped goes, too');
$session->query_safe(
	'SET enable_seqscan = off; BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM item ORDER BY embedding <-> test_vector(77); FETCH c');
$session->query_safe('COMMIT');
is($session->query_safe('FETCH 1 FROM c') =~ /\d/, 1, 'a cursor goes on');
$session->query_safe('CLOSE c');
$session->query_safe('BEGIN; DECLARE d CURSOR FOR SELECT id FROM item ORDER BY embedding <-> test_vector(77)');
is($session->query_safe('FETCH 1 FROM d'), 77, 'a cursor pins its codebook');
is($session->query_safe($count), 1, 'which is there');
$session->query_safe('COMMIT');
$session->query_safe('DROP INDEX item_index');
$session->query_safe('SELECT 1');
is($session->query_safe($count), 0, 'and goes with the index');
$session->quit;
$node->stop;
done_testing();
