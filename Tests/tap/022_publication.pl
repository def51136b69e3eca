# FOR ALL TABLES publishes codebooks, too: a subscriber that has the extension takes them, and keeps what it needs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;

create_schema($_) foreach $publisher, $subscriber;
$_->safe_psql('postgres', 'CREATE TABLE article (id bigint PRIMARY KEY, embedding real[]); CREATE TABLE small (id bigint PRIMARY KEY, code wrvq_code)')
	foreach $publisher, $subscriber;
$publisher->safe_psql('postgres', 'INSERT INTO article SELECT n, test_vector(n) FROM generate_series(1, 1000) AS n');
# train($name, $seed): a codebook by the command-line tool
sub train
{
	my ($name, $seed) = @_;

	use_cli($publisher, 'postgres', 'train', '--table', 'article', '--column', 'embedding', '--name', $name, '--levels', 'flat:24,product:4', '--seed', $seed);
	return;
}
train('early', 1);
$publisher->safe_psql('postgres', q(INSERT INTO small SELECT id, wrvq_encode('early', embedding) FROM article; CREATE PUBLICATION everything FOR ALL TABLES));
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '$connection' PUBLICATION everything");
$subscriber->poll_query_until('postgres', q(SELECT count(*) = 4 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel))
	or die 'the tables were not copied';

my $codebooks = 'SELECT name, sha256 FROM wrvq.wrvq_codebook ORDER BY 1; SELECT name, level, md5(codewords) FROM wrvq.wrvq_codebook_level ORDER BY 1, 2';
my $codes = 'SELECT sum(hashtext(wrvq_decode(code)::text)) FROM small';
is($subscriber->safe_psql('postgres', $codebooks), $publisher->safe_psql('postgres', $codebooks), 'the codebook was copied');
is($subscriber->safe_psql('postgres', $codes), $publisher->safe_psql('postgres', $codes), 'and the codes mean the same');

train('late', 2);
$publisher->safe_psql('postgres', q(UPDATE small SET code = wrvq_encode('late', a.embedding) FROM article a WHERE a.id = small.id AND a.id > 500));
$publisher->wait_for_catchup('everything');
is($subscriber->safe_psql('postgres', $codebooks), $publisher->safe_psql('postgres', $codebooks), 'a new codebook is replicated');
is($subscriber->safe_psql('postgres', $codes), $publisher->safe_psql('postgres', $codes), 'and codes of it');
$subscriber->safe_psql('postgres', q(CREATE INDEX ON article USING wrvq (embedding) WITH (codebook = 'late')));
index_agrees($subscriber, 'article', 'an index with it');

# removed on the publisher by force, while the subscriber needs it: its worker stops there, and says why
my $log_start = -s $subscriber->logfile;
$publisher->safe_psql('postgres', q(SET wrvq.allow_codebook_removal = on; DELETE FROM wrvq.wrvq_codebook WHERE name = 'late'));
$subscriber->poll_query_until('postgres', q(SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = 'everything'))
	or die 'the removal was not refused';
like(slurp_file($subscriber->logfile, $log_start), qr/codebook "late" cannot be removed because other objects may need it/, 'a removal is refused where it is needed');
is($subscriber->safe_psql('postgres', q(SELECT count(*) FROM wrvq.wrvq_codebook WHERE name = 'late')), '1', 'so the codebook is still there');
# the way out: remove it here, too
$subscriber->safe_psql('postgres', q(SET wrvq.allow_codebook_removal = on; DELETE FROM wrvq.wrvq_codebook WHERE name = 'late'));
$publisher->wait_for_catchup('everything');
is($subscriber->safe_psql('postgres', $codebooks), $publisher->safe_psql('postgres', $codebooks), 'removed there by force, replication goes on');

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
$_->stop foreach $subscriber, $publisher;
done_testing();
