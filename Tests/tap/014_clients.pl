# Eight clients that insert, update, delete, search and vacuum leave indexes that agree with their table.
#
# WRVQ_CLIENT_TRANSACTIONS (6000) says how often each of them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $each = $ENV{WRVQ_CLIENT_TRANSACTIONS} // 6000;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
max_connections = 40
fsync = off
# it comes in between, too
autovacuum_naptime = 1s
));
$node->start;
create_schema($node);
# Empty at first: that indexes train themselves among the writers is part of it.
$node->safe_psql(
	'postgres', q(
	CREATE SEQUENCE ids START 2000000;
	CREATE TABLE item (id bigint PRIMARY KEY, round int, embedding real[]);
	CREATE INDEX item_l2 ON item USING wrvq (embedding) WITH (spill = 2);
	CREATE INDEX item_cosine ON item USING wrvq (embedding real_cosine_ops) WHERE id % 3 = 0;));

# No two vectors alike: rows at the same distance may come in any order.
my $draw = '\set id random(1, 30000)';
my $run = start_pgbench(
	$node, [ '-c', 8, '-j', 2, '-t', $each ],
	insert => [ 40, "$draw\nINSERT INTO item VALUES (:id, 0, test_vector(nextval('ids'))) ON CONFLICT (id) DO NOTHING;" ],
	update => [ 15, "$draw\nUPDATE item SET embedding = test_vector(nextval('ids')) WHERE id = :id;" ],
	touch => [ 15, "$draw\nUPDATE item SET round = round + 1 WHERE id = :id;" ],
	undo => [ 3, "$draw\nBEGIN;\nUPDATE item SET embedding = test_vector(nextval('ids')) WHERE id = :id;\nROLLBACK;" ],
	delete => [ 10, "$draw\nDELETE FROM item WHERE id = :id;" ],
	search => [ 20, '\set n random(1, 1000000)' . "\nSET enable_seqscan = off;\nSELECT id FROM item ORDER BY embedding <-> test_vector(:n) LIMIT 10;" ],
	filter => [ 5, '\set n random(1, 1000000)' . "\nSELECT id FROM item WHERE id % 3 = 0 ORDER BY embedding <=> test_vector(:n) LIMIT 10;" ],
	vacuum => [ 1, 'VACUUM item;' ]);
my $passed = $run->{handle}->finish;
my ($out, $err) = ($run->{out}, $run->{err});

ok($passed, 'no client failed') or diag($err);
unlike($err, qr/ERROR|FATAL|aborted/, 'no statement failed');
my ($done) = $out =~ /number of transactions actually processed: (\d+)/;
is($done, 8 * $each, 'they had their say');
is($node->safe_psql('postgres', q(SELECT wrvq_index_info('item_l2')->>'trained')), 'true', 'the index trained itself on the way');
index_agrees($node, 'item', 'by L2 distance');
is( $node->safe_psql('postgres', q(SELECT wrvq_check('item_cosine') IS NOT NULL)), 't', 'the partial index is sound');
$node->safe_psql('postgres', 'CREATE VIEW third AS SELECT * FROM item WHERE id % 3 = 0');
my $nearest = q(SELECT n, ARRAY(SELECT id FROM third ORDER BY embedding <=> v LIMIT 30)
	FROM (SELECT n, test_vector(n) AS v FROM generate_series(1000000, 1000019) AS n OFFSET 0) AS query ORDER BY n);
my $exact = 'SET wrvq.probes = 100000; SET wrvq.rerank = 1000000; SET wrvq.max_scan_tuples = 0; SET enable_seqscan = off;';
like($node->safe_psql('postgres', "$exact EXPLAIN $nearest"), qr/item_cosine/, 'it is used');
is( $node->safe_psql('postgres', "$exact $nearest"),
	$node->safe_psql('postgres', "SET enable_indexscan = off; $nearest"), 'by cosine distance, among a part of the rows');
$node->safe_psql('postgres', 'VACUUM item');
index_agrees($node, 'item', 'vacuumed');

unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:/, 'no process died');
$node->stop;
done_testing();
