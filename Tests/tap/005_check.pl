# wrvq_check() finds every kind of damage and says where, and has nothing to say of an index that
# writes, vacuums and crashes have been at.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TestWRVQ;

my $rows = 1500;
my $waiting = 300;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
create_schema($node);
$node->safe_psql('postgres', qq(
	CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, $rows) AS n;));

# check($index): what psql says of it, SQLSTATE included; empty if all is well.
sub check
{
	my ($index, $settings) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n" . ($settings // '') . "SELECT wrvq_check('$index');");

	return $err;
}

# --- damage ---

# Where things are (wrvq.h).  Every page: 24 bytes of header, at its end the opaque part.
my %kinds = (metapage => 1, codebook => 2, directory => 3, posting => 4, pending => 5);
my $page_next = 8176;
my $page_kind = 8184;
my $page_count = 8186;
# Metadata.
my $meta_codebook = 24 + 32;
my $meta_directory = 24 + 36;
my $meta_pending_head = 24 + 88;
my $meta_pending_tail = 24 + 92;
my $meta_pending_count = 24 + 96;
# The first list of a directory.
my $list_head = 24;
my $list_tail = 36;
# The first slot of a posting page, and its block of entries: row identifiers, then the constants.
my $slot_list = 24;
my $slot_stamp = 28;
my $slot_next = 32;
my $slot_count = 44;
my $slot_range = 46;
my $slot_rows = 48;
my $slot_constants = 48 + 6 * 32;

# A table for each: what is done to which page (the first of its kind; all, if it says so) and what
# wrvq_check() says.  `write` gets the page and its number and returns offset and bytes.
# {page} in a message is that page's number.
my @damages = (
	{
		name => 'list', kind => 'posting', error => 'block {page}: slot 0: list 0 leads there, but it is not the slot that was meant',
		write => sub { ($slot_list, pack('L', 1)) }
	},
	{
		name => 'no_list', kind => 'posting', error => 'block {page}: slot 0: there is no list 5000',
		write => sub { ($slot_list, pack('L', 5000)) }
	},
	{
		name => 'freed', kind => 'posting', error => q(block {page}: \d+ slots are in use, the page's count says \d+),
		write => sub { ($slot_list, pack('L', 0xFFFFFFFF)) }
	},
	{
		name => 'new_stamp', kind => 'posting', error => 'block {page}: slot 0: its stamp 1000 is not one of the page',
		write => sub { ($slot_stamp, pack('L', 1000)) }
	},
	{
		name => 'old_stamp', kind => 'posting', error => 'block {page}: slot 0: list 0 leads there, but it is not the slot that was meant',
		write => sub { ($slot_stamp, pack('L', 2)) }
	},
	{
		name => 'overfull', kind => 'posting', error => 'block {page}: slot 0: it claims 33 entries',
		write => sub { ($slot_count, pack('S', 33)) }
	},
	{
		name => 'lost_entry', kind => 'posting', error => 'row \(\d+,\d+\) of table "lost_entry" is not in it',
		write => sub { my $page = shift; ($slot_count, pack('S', unpack("\@$slot_count S", $page) - 1)) }
	},
	{
		name => 'lost_row', kind => 'posting', error => 'row \(\d+,\d+\) of table "lost_row" is not in it',
		write => sub { ($slot_rows, "\xff" x 6) }
	},
	{
		name => 'range', kind => 'posting', error => q(block {page}: slot 0: sub-list \d+ is outside of the slot's range 255 to 0),
		write => sub { ($slot_range, pack('CC', 255, 0)) }
	},
	{
		name => 'page_count', kind => 'posting', error => q(block {page}: \d+ slots are in use, the page's count says 99),
		write => sub { ($page_count, pack('S', 99)) }
	},
	{
		name => 'page_kind', kind => 'posting', error => 'block {page}: the page is of no kind that belongs there',
		write => sub { ($page_kind, pack('S', 9)) }
	},
	{
		name => 'circle', kind => 'posting', error => 'block {page}: slot 0: list 0 comes there twice',
		write => sub { my ($page, $block) = @_; ($slot_next, pack('LLL', $block, 1, 0)) }
	},
	{
		name => 'nowhere', kind => 'posting', error => 'block {page}: list 0 leads to block 70000, outside of the index',
		write => sub { ($slot_next, pack('LLL', 70000, 1, 0)) }
	},
	{
		name => 'doubled', kind => 'posting', error => 'block {page}: row \(\d+,\d+\) of the table is there and in another place',
		write => sub { my $page = shift; ($slot_rows, substr($page, $slot_rows + 6, 6)) }
	},
	{
		name => 'no_offset', kind => 'posting', error => 'block {page}: the table has no row \(\d+,0\)',
		write => sub { ($slot_rows, pack('S', 0)) }
	},
	{
		name => 'no_block', kind => 'posting', error => 'block {page}: the table has no row \(1234567,\d+\)',
		write => sub { ($slot_rows + 2, pack('L', 1234567)) }
	},
	{
		name => 'codes', kind => 'posting', all => 1,
		error => 'block \d+: the code of row \(\d+,\d+\) of the table is not that of its vector, as with \d+ of \d+ rows',
		write => sub { ($slot_constants, "\x11" x 64) }
	},
	{
		name => 'head', kind => 'directory', error => 'block {page}: list 0 leads to block 999999, outside of the index',
		write => sub { ($list_head, pack('L', 999999)) }
	},
	{
		name => 'tail', kind => 'directory', error => 'block {page}: list 0 ends in slot \d+ of block \d+, its tail is said to be',
		write => sub { ($list_tail, pack('LLL', 1, 1, 0)) }
	},
	{
		name => 'no_tail', kind => 'directory', error => 'block {page}: list 0 has only one of head and tail',
		write => sub { ($list_tail, "\xff" x 4) }
	},
	{
		name => 'too_few', kind => 'directory', error => q(block {page}: 20 lists belong there, the page's count says 19),
		write => sub { ($page_count, pack('S', 19)) }
	},
	{
		name => 'image', kind => 'codebook', error => q(block {page}: the codebook's checksum does not match),
		write => sub { (4000, "\xa5") }
	},
	{
		name => 'moved_codebook', kind => 'metapage', error => 'block 0: its codebook would be blocks 70000 and on, outside of the index',
		write => sub { ($meta_codebook, pack('L', 70000)) }
	},
	{
		name => 'moved_directory', kind => 'metapage', error => 'block 0: its directory would be blocks 4294967295 and on, outside of the index',
		write => sub { ($meta_directory, "\xff" x 4) }
	},
	{
		name => 'wait_full', kind => 'pending', error => 'block {page}: a pending page claims more rows than it can hold',
		write => sub { ($page_count, pack('S', 2000)) }
	},
	{
		name => 'wait_more', kind => 'pending', error => 'block {page}: the table has no row \(0,0\)',
		write => sub { ($page_count, pack('S', $waiting + 1)) }
	},
	{
		name => 'wait_less', kind => 'pending', error => 'row \(\d+,\d+\) of table "wait_less" is not in it',
		write => sub { ($page_count, pack('S', $waiting - 1)) }
	},
	{
		name => 'wait_doubled', kind => 'pending', error => 'block {page}: row \(0,2\) of the table is pending twice',
		write => sub { my $page = shift; (24, substr($page, 30, 6)) }
	},
	{
		name => 'wait_circle', kind => 'pending', error => 'block {page}: the chain of pending pages comes there twice',
		write => sub { my ($page, $block) = @_; ($page_next, pack('L', $block)) }
	},
	{
		name => 'wait_nowhere', kind => 'pending', error => 'block {page}: block 70000 comes next, outside of the index',
		write => sub { ($page_next, pack('L', 70000)) }
	},
	{
		name => 'wait_tail', kind => 'metapage', error => 'block 0: pending pages end at block \d+, not at block 77',
		write => sub { ($meta_pending_tail, pack('L', 77)) }
	},
	{
		name => 'wait_count', kind => 'metapage', error => 'block 0: more rows are pending than were ever added',
		write => sub { ($meta_pending_count, pack('Q', 3)) }
	},
	{
		name => 'wait_lost', kind => 'metapage', error => 'block 1: the chain of pending pages does not lead to this one',
		write => sub { ($meta_pending_head, "\xff" x 8) }
	});

# What is no error: rounding of another CPU may change a few codes, a crash may leave new pages and rows that
# have been moved into lists and still wait.
my @oddities = (
	{
		name => 'few_codes', kind => 'posting', notice => '^$',
		write => sub { ($slot_constants, "\x11" x 64) }
	},
	{
		name => 'new_page', kind => 'metapage', notice => 'sound, but has 0 unused slots, 1 unused pages and 0 rows more than once',
		write => sub { () }, append => "\0" x 8192
	},
	{
		name => 'moved_rows', kind => 'pending', notice => 'sound, but has 0 unused slots, 0 unused pages and 1000 rows more than once',
		write => sub { ($page_count, pack('S', 1000)) }
	});

# change_pages($case): does what the case says to the file; returns the number of the last page changed.
sub change_pages
{
	my ($case) = @_;
	my ($page, $changed);

	open my $handle, '+<:raw', $case->{file} or die "$case->{file}: $!";
	for (my $block = 0; read($handle, $page, 8192) == 8192; $block++)
	{
		next if unpack("\@$page_kind S", $page) != $kinds{ $case->{kind} };
		my ($offset, $bytes) = $case->{write}->($page, $block);
		if (defined $offset)
		{
			seek $handle, 8192 * $block + $offset, 0 or die "$case->{file}: $!";
			print $handle $bytes;
			seek $handle, 8192 * ($block + 1), 0 or die "$case->{file}: $!";
		}
		$changed = $block;
		last unless $case->{all};
	}
	if ($case->{append})
	{
		seek $handle, 0, 2 or die "$case->{file}: $!";
		print $handle $case->{append};
	}
	close $handle or die "$case->{file}: $!";
	return $changed // die "$case->{file} has no $case->{kind} page";
}

foreach my $case (@damages, @oddities)
{
	my $table = $case->{name};
	my $create = "CREATE INDEX ${table}_embedding ON $table USING wrvq (embedding)";
	my $copy = "CREATE TABLE $table AS SELECT id, embedding FROM item";

	if ($table eq 'moved_rows')
	{
		$node->safe_psql('postgres', $_)
		  foreach ("$copy WHERE false", $create, "INSERT INTO $table SELECT * FROM item WHERE id <= 1000", "VACUUM $table");
	}
	else
	{
		$node->safe_psql('postgres',
			$table =~ /^wait_/ ? "$copy WHERE id <= $waiting; $create" : "$copy; $create WITH (lists = 20)");
	}
	is(check("${table}_embedding"), '', "$table: sound before");
	$case->{file} =
	  $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('${table}_embedding')");
}
$node->stop;
foreach my $case (@damages, @oddities)
{
	my $page = change_pages($case);
	$case->{error} =~ s/\{page\}/$page/ if $case->{error};
}
$node->start;
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
foreach my $case (@damages)
{
	my $index = "$case->{name}_embedding";

	like(check($index), qr/^psql:.*ERROR: +XX002: index "$index" is corrupted: $case->{error}/, "$case->{name}: found");
	$node->safe_psql('postgres', "REINDEX INDEX $index");
	is(check($index), '', "$case->{name}: sound again");
}
foreach my $case (@oddities)
{
	my $said = check("$case->{name}_embedding");

	like($said, qr/$case->{notice}/, "$case->{name}: not an error");
	unlike($said, qr/ERROR/, "$case->{name}: not an error at all");
	# VACUUM moves rows that wait, once more
	$node->safe_psql('postgres', "VACUUM $case->{name}");
	index_agrees($node, $case->{name}, "$case->{name}: answers are right");
}
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server did not restart');

# --- who, what, when ---

$node->safe_psql('postgres', q(
	CREATE ROLE stranger;
	CREATE INDEX item_embedding ON item USING wrvq (embedding);
	CREATE INDEX item_id ON item (id);));
like(check('item_embedding', 'SET ROLE stranger;'), qr/ERROR: +42501: must be owner of table item/, 'a stranger');
like(check('item_id'), qr/ERROR: +42809: "item_id" is not a wrvq index/, 'another access method');
like(check('item'), qr/ERROR: +42809: "item" is not a wrvq index/, 'a table');
is($node->safe_psql('postgres', 'SELECT wrvq_check(NULL) IS NULL'), 't', 'nothing');
is(check('item_embedding', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; DELETE FROM item WHERE id < 100;'),
	'', 'in the middle of a transaction');

# --- writes, vacuums, crashes ---

$node->safe_psql(
	'postgres', q(
	CREATE SEQUENCE ids;
	CREATE TABLE busy (id bigint PRIMARY KEY DEFAULT nextval('ids'), round int, embedding real[]);
	CREATE INDEX busy_l2 ON busy USING wrvq (embedding);
	CREATE INDEX busy_cosine ON busy USING wrvq (embedding real_cosine_ops) WITH (spill = 2) WHERE id % 3 = 0;));
my $insert = q(DO $$ BEGIN LOOP
	INSERT INTO busy (embedding) SELECT test_vector(nextval('ids') + 2000000) FROM generate_series(1, 20);
	COMMIT;
END LOOP; END $$);
my $change = q(DO $$ BEGIN LOOP
	UPDATE busy SET embedding = test_vector(nextval('ids') + 2000000) WHERE id % 97 = floor(random() * 97);
	COMMIT;
	UPDATE busy SET round = 1 WHERE id % 103 = floor(random() * 103);
	ROLLBACK;
	DELETE FROM busy WHERE id % 211 = floor(random() * 211);
	COMMIT;
END LOOP; END $$);

foreach my $round (1 .. 3)
{
	my @sessions = (start_psql($node, $insert), start_psql($node, $insert), start_psql($node, $change));
	my $said = '';

	foreach my $step (1 .. 10)
	{
		usleep(100_000);
		$said .= check('busy_l2', 'SET client_min_messages = warning;') . check('busy_cosine', 'SET client_min_messages = warning;');
		$node->safe_psql('postgres', 'VACUUM busy') if $step % 4 == 0;
	}
	is($said, '', "round $round: sound while others write");
	# a parallel worker that waits for a lock of a killed process would never notice
	push @sessions, start_psql($node, 'VACUUM (PARALLEL 0) busy');
	usleep(5_000 * $round);
	crash_and_recover($node, @sessions);
	index_agrees($node, 'busy', "round $round: after kill -9");
	$node->safe_psql('postgres', 'VACUUM busy');
	index_agrees($node, 'busy', "round $round: vacuumed");
	@sessions = start_psql($node, $insert);
	usleep(100_000);
	$node->stop('immediate');
	$_->finish foreach @sessions;
	$node->start;
	index_agrees($node, 'busy', "round $round: after an immediate stop");
}
unlike(slurp_file($node->logfile), qr/was terminated by signal (?!9)|TRAP:/, 'no process died of it');

$node->stop;
done_testing();
