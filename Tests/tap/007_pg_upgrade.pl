# pg_upgrade takes indexes along as they are: from 15 to 16, and from there to 18, without a rebuild.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my %server = (16 => $ENV{WRVQ_SERVER_16}, 18 => $ENV{WRVQ_SERVER_18});
plan skip_all => 'there is no PostgreSQL 16 to upgrade to' unless $server{16};

my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->start;
my $version = int($old->safe_psql('postgres', 'SHOW server_version_num') / 10000);
plan skip_all => "PostgreSQL $version cannot be upgraded to 16" unless $version < 16;

# Indexes of every kind: of a codebook of its own, of a stored one, of rows in two lists, of an expression, of rows that
# wait for a codebook, and of none; changed since they were built.
create_schema($old);
$old->safe_psql(
	'postgres', q(
	CREATE FUNCTION doubled(real[]) RETURNS real[] LANGUAGE sql IMMUTABLE STRICT AS 'SELECT array_agg(2 * v)::real[] FROM pg_catalog.unnest($1) v';
	CREATE TABLE own (id bigint PRIMARY KEY, embedding real[]);
	CREATE TABLE stored (LIKE own INCLUDING ALL);
	CREATE TABLE spilled (LIKE own INCLUDING ALL);
	CREATE TABLE waiting (LIKE own INCLUDING ALL);
	CREATE TABLE bare (LIKE own INCLUDING ALL);
	INSERT INTO own SELECT n, test_vector(n) FROM generate_series(1, 3000) AS n;
	INSERT INTO stored SELECT * FROM own;
	INSERT INTO spilled SELECT * FROM own;
	CREATE TABLE sphere (id int, sphere wrvq_sphere);
	INSERT INTO sphere SELECT n, wrvq_sphere(test_vector(n), 0.5 + n / 20.0) FROM generate_series(1, 20) AS n));
use_cli($old, 'postgres', 'train', '--table', 'stored', '--column', 'embedding', '--name', 'angle', '--metric', 'cosine', '--levels', 'flat:16,flat:8,product:4',
	'--seed', '1');
$old->safe_psql(
	'postgres', q(
	CREATE INDEX own_index ON own USING wrvq (embedding);
	CREATE INDEX own_doubled ON own USING wrvq (doubled(embedding) real_ip_ops);
	CREATE INDEX stored_index ON stored USING wrvq (embedding real_cosine_ops) WITH (codebook = 'angle');
	CREATE INDEX spilled_index ON spilled USING wrvq (embedding) WITH (spill = 2, lists = 40);
	CREATE INDEX waiting_index ON waiting USING wrvq (embedding);
	CREATE INDEX bare_index ON bare USING wrvq (embedding real_cosine_ops) WITH (codebook = 'angle');
	INSERT INTO waiting SELECT n, test_vector(n) FROM generate_series(1, 300) AS n;
	INSERT INTO own SELECT n, test_vector(n) FROM generate_series(3001, 3500) AS n;
	DELETE FROM spilled WHERE id % 3 = 0));
$old->safe_psql('postgres', 'VACUUM spilled');

# What default settings find: it depends on every page of an index.
my $default_answers = q(
	SET enable_seqscan = off;
	WITH query AS MATERIALIZED (SELECT n, test_vector(n) AS v FROM generate_series(2000000, 2000009) AS n)
	SELECT n, ARRAY(SELECT id FROM own ORDER BY embedding <-> v LIMIT 15), ARRAY(SELECT id FROM stored ORDER BY embedding <=> v LIMIT 15),
		ARRAY(SELECT id FROM spilled ORDER BY embedding <-> v LIMIT 15), ARRAY(SELECT id FROM waiting ORDER BY embedding <-> v LIMIT 15),
		ARRAY(SELECT id FROM own ORDER BY doubled(embedding) <#> v LIMIT 15)
	FROM query ORDER BY n;
	SELECT sphere.id, count(own.id), sum(own.id) FROM sphere JOIN own ON own.embedding <<->> sphere GROUP BY sphere.id ORDER BY sphere.id);

# Their files, byte for byte.
my $files = q(SELECT relname, md5(pg_read_binary_file(pg_relation_filepath(c.oid::regclass)))
	FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE amname = 'wrvq' ORDER BY relname);
my $codebooks = q(SELECT name, dimensions, metric, sha256 FROM wrvq.wrvq_codebook; SELECT name, level, md5(codewords) FROM wrvq.wrvq_codebook_level ORDER BY 1, 2);

# Debian's PostgreSQL 15 writes a version into the options of every column, pg_attver, of which its own pg_dump says nothing.
# That of another build, which is what pg_upgrade calls, would set it, and the new server does not know it.
# Nothing may read a row of a composite type any more before the upgrade.
sub forget_column_versions
{
	my ($node) = @_;

	$node->safe_psql(
		'postgres', q(
		SET allow_system_table_mods = on;
		UPDATE pg_attribute SET attoptions = nullif(ARRAY(SELECT o FROM unnest(attoptions) o WHERE o NOT LIKE 'pg\_attver=%'), '{}')
			WHERE attoptions::text LIKE '%pg\_attver=%' AND attrelid >= 16384));
	return;
}

sub everything_agrees
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, $when) = @_;

	index_agrees($node, 'own', "$when: a codebook of its own");
	index_agrees($node, 'stored', "$when: a stored codebook", operator => '<=>');
	index_agrees($node, 'spilled', "$when: rows in two lists");
	index_agrees($node, 'waiting', "$when: rows that wait");
	return;
}

# upgrade($old, $major, @options): the new node, started, of which nothing but what pg_upgrade brings is known.
sub upgrade
{
	my ($from, $major, @options) = @_;
	my $to = PostgreSQL::Test::Cluster->new("new$major", install_path => $server{$major});
	my $before = $from->safe_psql('postgres', $default_answers);
	my $stored = $from->safe_psql('postgres', $codebooks);

	forget_column_versions($from);
	$from->safe_psql('postgres', 'CHECKPOINT');
	my $bytes = $from->safe_psql('postgres', $files);
	$from->stop;
	$to->init(extra => \@options);
	my $area = PostgreSQL::Test::Utils::tempdir();
	chdir $area or die "$area: $!\n";
	command_ok(
		[   "$server{$major}/bin/pg_upgrade", '--no-sync', '--old-datadir', $from->data_dir, '--new-datadir', $to->data_dir,
			'--old-bindir', $from->config_data('--bindir'), '--new-bindir', "$server{$major}/bin", '--socketdir', $to->host, '--old-port', $from->port,
			'--new-port', $to->port ],
		"pg_upgrade to $major");
	$to->start;
	is($to->safe_psql('postgres', $files), $bytes, "$major: the files of the indexes are the same");
	is($to->safe_psql('postgres', $default_answers), $before, "$major: the answers are the same");
	is($to->safe_psql('postgres', $codebooks), $stored, "$major: the stored codebooks are the same");
	everything_agrees($to, "$major, as it came");
	return $to;
}

everything_agrees($old, 'before');
my $new = upgrade($old, 16);

# It goes on: rows come and go, the index without rows takes its first ones, those that wait get a codebook.
$new->safe_psql(
	'postgres', q(
	INSERT INTO bare SELECT n, test_vector(n) FROM generate_series(1, 500) AS n;
	INSERT INTO waiting SELECT n, test_vector(n) FROM generate_series(301, 1500) AS n;
	INSERT INTO spilled SELECT n, test_vector(n) FROM generate_series(4001, 4500) AS n;
	UPDATE own SET embedding = test_vector(id + 10000) WHERE id % 5 = 0;
	DELETE FROM stored WHERE id % 4 = 0));
$new->safe_psql('postgres', "VACUUM $_") foreach qw(own stored spilled waiting bare);
is($new->safe_psql('postgres', q(SELECT wrvq_index_info('waiting_index')->>'lists' <> '0')), 't', '16: the rows that waited have lists');
everything_agrees($new, '16, changed');
index_agrees($new, 'bare', '16: the first rows', operator => '<=>');
$new->safe_psql('postgres', 'REINDEX INDEX stored_index');
index_agrees($new, 'stored', '16: rebuilt from the stored codebook', operator => '<=>');

SKIP:
{
	skip 'there is no PostgreSQL 18 to upgrade to', 1 unless $server{18};
	# 18 has checksums unless told otherwise; 16 has none
	$new = upgrade($new, 18, '--no-data-checksums');
	index_agrees($new, 'bare', '18: the index that was empty', operator => '<=>');
}
$new->stop;
done_testing();
