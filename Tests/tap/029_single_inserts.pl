# Who trains an index whose rows come after it: a statement that brings many rows itself, a background worker or VACUUM;
# never an INSERT of one row, which would wait for it.  The server's log says which process did.
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
log_line_prefix = '%b: '
log_min_messages = debug1
));
$node->start;
create_schema($node);

# make_table($table): an empty one with an index.
sub make_table
{
	my ($table) = @_;

	$node->safe_psql('postgres', "CREATE TABLE $table (id bigint, embedding real[]); CREATE INDEX ${table}_index ON $table USING wrvq (embedding) WITH (lists = 20)");
	return;
}

# single_inserts($table, $first, $last, $commit): as many statements, each in a transaction of its own unless $commit is ''.
sub single_inserts
{
	my ($table, $first, $last, $commit) = @_;

	return "DO \$\$ BEGIN FOR i IN $first .. $last LOOP INSERT INTO $table VALUES (i, test_vector(i)); " . ($commit // 'COMMIT;') . ' END LOOP; END $$';
}

sub info { return $node->safe_psql('postgres', "SELECT wrvq_index_info('$_[0]_index')->>'$_[1]'") }

# Kinds of processes that gave an index its codebook, by what the log says.
sub trainers
{
	my ($table) = @_;

	return join ', ', slurp_file($node->logfile) =~ /^(.*?): DEBUG:  index "${table}_index" has a codebook/mg;
}

sub wait_until_trained
{
	my ($table) = @_;

	$node->poll_query_until('postgres', "SELECT (wrvq_index_info('${table}_index')->>'trained')::bool") or die "nobody trains $table\n";
	# the rows are moved after that, under this lock
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'page' AND relation = '${table}_index'::regclass)")
	  or die "the training of $table does not end\n";
	return;
}

# --- one row after another, by one session and by several ---
make_table('one');
$node->safe_psql('postgres', single_inserts('one', 1, 9999));
is(info('one', 'trained'), 'false', '9,999 rows wait');
is(trainers('one'), '', 'and nobody has trained');
$node->safe_psql('postgres', single_inserts('one', 10000, 10300));
wait_until_trained('one');
is(trainers('one'), 'wrvq trainer', 'the 10,000th INSERT has a worker train');
is(info('one', 'pending'), 0, 'no row waits any more, those that came meanwhile neither');
index_agrees($node, 'one', 'the index agrees with its table');

make_table('many');
$node->safe_psql('postgres', 'CREATE SEQUENCE numbers');
my $bench = start_pgbench($node, [ '-c', 4, '-t', 3000 ],
	single => [ 1, "INSERT INTO many SELECT n, test_vector(n) FROM nextval('numbers') AS n;" ]);
$bench->{handle}->finish;
wait_until_trained('many');
is(trainers('many'), 'wrvq trainer', 'so it does where several sessions insert');
is(info('many', 'pending'), 0, 'no row waits any more');
index_agrees($node, 'many', 'the index agrees with its table');

# --- rows that nobody else sees yet: of an open transaction, and of a table that it has made ---
make_table('open');
$node->safe_psql('postgres', single_inserts('open', 1, 10100, ''));
wait_until_trained('open');
is(trainers('open'), 'wrvq trainer', 'single rows of one transaction: a worker trains');
index_agrees($node, 'open', 'the index agrees with its table');
$node->safe_psql('postgres',
	'BEGIN; CREATE TABLE fresh (id bigint, embedding real[]); CREATE INDEX fresh_index ON fresh USING wrvq (embedding) WITH (lists = 20);'
	  . single_inserts('fresh', 1, 10100, '') . '; COMMIT');
is(trainers('fresh'), '', 'a table that only its transaction knows waits');
$node->safe_psql('postgres', single_inserts('fresh', 10101, 11000));
wait_until_trained('fresh');
is(trainers('fresh'), 'wrvq trainer', 'until the next thousand');

# --- a statement that brings many rows itself trains in line; one that brings few of many does not ---
make_table('bulk');
$node->safe_psql('postgres', 'INSERT INTO bulk SELECT n, test_vector(n) FROM generate_series(1, 10500) AS n');
is(trainers('bulk'), 'client backend', 'INSERT ... SELECT trains in line');
is(info('bulk', 'pending'), 0, 'no row waits any more');
make_table('copied');
my $file = $node->data_dir . '/bulk';
$node->safe_psql('postgres', $_) foreach ("COPY bulk TO '$file'", "COPY copied FROM '$file'");
is(trainers('copied'), 'client backend', 'COPY trains in line');
make_table('portions');
$node->safe_psql('postgres', "INSERT INTO portions SELECT n, test_vector(n) FROM generate_series($_ * 900, $_ * 900 + 899) AS n") foreach 0 .. 12;
wait_until_trained('portions');
is(trainers('portions'), 'wrvq trainer', 'INSERTs of 900 rows each do not');

# --- with the rights of the owner, whoever inserts ---
$node->safe_psql(
	'postgres', q(
	CREATE ROLE owner; CREATE ROLE writer;
	GRANT ALL ON SCHEMA public TO owner;
	SET ROLE owner;
	CREATE FUNCTION watched(real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS
		$$ BEGIN RAISE DEBUG 'evaluated as %', current_user; RETURN $1; END $$;
	CREATE TABLE owned (id bigint, embedding real[]);
	CREATE INDEX owned_index ON owned USING wrvq (watched(embedding)) WITH (lists = 20);
	GRANT INSERT ON owned TO writer;));
$node->safe_psql('postgres', 'SET ROLE writer; ' . single_inserts('owned', 1, 10000, ''));
wait_until_trained('owned');
my %users = map { ($_ => 1) } slurp_file($node->logfile) =~ /^wrvq trainer: DEBUG:  evaluated as (\w+)/mg;
is(join(' ', sort keys %users), 'owner', "a worker runs the index's code as the owner of the table");

# --- the server has no worker to spare ---
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
make_table('alone');
$node->safe_psql('postgres', single_inserts('alone', 1, 12000));
is(info('alone', 'pending'), 12000, 'without a worker rows wait');
is(trainers('alone'), '', 'and no INSERT of one row trains');
like(info('alone', 'advice'), qr/^VACUUM/, 'the index says what to do');
index_agrees($node, 'alone', 'the index agrees with its table');
$node->safe_psql('postgres', 'VACUUM alone');
is(trainers('alone'), 'client backend', 'VACUUM trains');
index_agrees($node, 'alone', 'the index agrees with its table');
is($node->safe_psql('postgres', 'CREATE TEMP TABLE own (id bigint, embedding real[]); CREATE INDEX ON own USING wrvq (embedding);'
		  . single_inserts('own', 1, 10000, '') . q(; SELECT wrvq_index_info('own_embedding_idx')->>'pending')),
	10000, 'so it is in a temporary table');

unlike(slurp_file($node->logfile), qr/^wrvq trainer: (ERROR|FATAL):(?!.*administrator command)/m, 'no worker failed');
unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:/, 'no process died');
$node->stop;
done_testing();
