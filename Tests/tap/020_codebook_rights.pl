# Who may read and write codebooks; a database's owner who is no superuser can dump them.
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
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE ROLE stranger LOGIN; CREATE DATABASE owned OWNER owner');
create_schema($node, 'owned');
$node->safe_psql(
	'owned', q(
	GRANT ALL ON SCHEMA public TO owner;
	SET ROLE owner;
	CREATE TABLE article (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO article SELECT n, test_vector(n) FROM generate_series(1, 1000) AS n;));
use_cli($node, 'owned', 'train', '--table', 'article', '--column', 'embedding', '--name', 'shared', '--levels', 'flat:24,product:4', '--seed', '1');
$node->safe_psql('owned', q(SET ROLE owner; CREATE INDEX ON article USING wrvq (embedding) WITH (codebook = 'shared')));

# as($role, $sql): (exit code, what it prints, its errors)
sub as
{
	my ($role, $sql) = @_;

	return $node->psql('owned', $sql, extra_params => [ '-U', $role ]);
}

# A codebook is public to its database, and only the extension's owner writes.
my ($status, $out, $error) = as('stranger', q(SELECT count(*) FROM wrvq.wrvq_codebook_level WHERE name = 'shared'));
is("$status $out", '0 2', 'a stranger reads the codebook');
($status, $out) = as('stranger', q(SELECT wrvq_decode(wrvq_encode('shared', (SELECT array_agg(1::real) FROM generate_series(1, 27)))) IS NOT NULL));
is("$status $out", '0 t', 'and encodes and decodes with it');
foreach my $role (qw(owner stranger))
{
	foreach my $sql ('DELETE FROM wrvq.wrvq_codebook', 'TRUNCATE wrvq.wrvq_codebook', q(UPDATE wrvq.wrvq_codebook SET metric = 'ip'),
		'INSERT INTO wrvq.wrvq_codebook SELECT * FROM wrvq.wrvq_codebook', 'DROP TABLE wrvq.wrvq_codebook', 'DROP SCHEMA wrvq CASCADE',
		'SET wrvq.allow_codebook_removal = on; DELETE FROM wrvq.wrvq_codebook', 'CREATE TABLE wrvq.planted (a int)',
		'CREATE TRIGGER planted BEFORE DELETE ON wrvq.wrvq_codebook FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_needed()')
	{
		($status, $out, $error) = as($role, $sql);
		isnt($status, 0, "$role: $sql fails");
		like($error, qr/permission denied|must be owner/, "$role: because it is not allowed");
	}
}

my $area = PostgreSQL::Test::Utils::tempdir();
command_ok([ 'pg_dump', '-Fc', '-f', "$area/dump", '-U', 'owner', '-d', $node->connstr('owned') ], q(the database's owner dumps it));
$node->safe_psql('postgres', 'CREATE DATABASE copy OWNER owner');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), "$area/dump" ], 'and the dump restores');
my $contents = q(SELECT name, sha256, properties FROM wrvq.wrvq_codebook; SELECT name, level, md5(codewords), md5(transform) FROM wrvq.wrvq_codebook_level ORDER BY 1, 2);
is($node->safe_psql('copy', $contents), $node->safe_psql('owned', $contents), 'with its codebooks');
is($node->safe_psql('copy', q(SELECT has_schema_privilege('stranger', 'wrvq', 'USAGE'), has_table_privilege('stranger', 'wrvq.wrvq_codebook', 'SELECT'))),
	't|t', 'which all may read there, too');
index_agrees($node, 'article', 'and their index', database => 'copy');

$node->stop;
done_testing();
