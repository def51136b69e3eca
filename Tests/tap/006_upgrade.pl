# An extension that was upgraded is the extension that was created afresh.
#
# Every older version of ours that can be installed is created, upgraded to the newest, and its members' definitions
# compared.  That the comparison finds what differs is shown on a version 0.1 and two upgrade scripts made here, which
# PostgreSQL 18 loads from a folder of ours.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $server = $ENV{WRVQ_SERVER_18};
plan skip_all => 'there is no PostgreSQL 18 with pgvector' unless $server;

my $extension = 'wrvq';
my $installed = "$server/share/postgresql/extension";
my $area = PostgreSQL::Test::Utils::tempdir();
mkdir "$area/extension" or die "$area/extension: $!\n";

my $node = PostgreSQL::Test::Cluster->new('node', install_path => $server);
$node->init;
$node->append_conf('postgresql.conf', "extension_control_path = '$area:\$system'");
$node->start;

# What a member of the extension is, in words that have no OIDs in them, one line each.
my $members = q(
	SELECT pg_describe_object(d.classid, d.objid, d.objsubid),
		coalesce(obj_description(d.objid, d.classid::regclass::name), ''),
		CASE d.classid
			WHEN 'pg_proc'::regclass THEN (SELECT CASE prokind WHEN 'a' THEN (SELECT concat_ws(' ', aggkind, aggtransfn, aggfinalfn, aggcombinefn, aggtranstype::regtype, agginitval)
					FROM pg_aggregate WHERE aggfnoid = d.objid) ELSE pg_get_functiondef(oid) END || coalesce(proacl::text, '') FROM pg_proc WHERE oid = d.objid)
			WHEN 'pg_operator'::regclass THEN (SELECT concat_ws(' ', oprcode, oprcom::regoperator, oprnegate::regoperator, oprrest, oprjoin)
				FROM pg_operator WHERE oid = d.objid)
			WHEN 'pg_type'::regclass THEN (SELECT concat_ws(' ', typlen, typbyval, typalign, typstorage, typcategory, typinput, typoutput,
				typreceive, typsend, typacl) FROM pg_type WHERE oid = d.objid)
			WHEN 'pg_cast'::regclass THEN (SELECT concat_ws(' ', castfunc::regprocedure, castcontext, castmethod) FROM pg_cast WHERE oid = d.objid)
			WHEN 'pg_am'::regclass THEN (SELECT concat_ws(' ', amhandler, amtype) FROM pg_am WHERE oid = d.objid)
			WHEN 'pg_opclass'::regclass THEN (SELECT concat_ws(' ', opcdefault, opckeytype::regtype) FROM pg_opclass WHERE oid = d.objid)
			WHEN 'pg_opfamily'::regclass THEN concat_ws(E'\n',
				(SELECT string_agg(concat_ws(' ', amopstrategy, amoppurpose, amopopr::regoperator), E'\n' ORDER BY amopstrategy, amopopr::regoperator::text)
					FROM pg_amop WHERE amopfamily = d.objid),
				(SELECT string_agg(concat_ws(' ', amprocnum, amproc::regprocedure), E'\n' ORDER BY amprocnum, amproc::regprocedure::text)
					FROM pg_amproc WHERE amprocfamily = d.objid))
			WHEN 'pg_class'::regclass THEN concat_ws(E'\n',
				(SELECT concat_ws(' ', relkind, relacl, d.objid = ANY (extconfig)) FROM pg_class, pg_extension WHERE pg_class.oid = d.objid
					AND pg_extension.oid = d.refobjid),
				(SELECT string_agg(concat_ws(' ', attnum, attname, format_type(atttypid, atttypmod), attnotnull, attstorage,
						pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)), E'\n' ORDER BY attnum)
					FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
					WHERE attrelid = d.objid AND attnum > 0 AND NOT attisdropped),
				(SELECT string_agg(pg_get_constraintdef(oid), E'\n' ORDER BY conname) FROM pg_constraint WHERE conrelid = d.objid),
				(SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY 1) FROM pg_index WHERE indrelid = d.objid),
				(SELECT string_agg(pg_get_triggerdef(oid), E'\n' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = d.objid AND NOT tgisinternal))
		END
	FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = '%s')
	ORDER BY 1);

# members_of($extension, @statements): of the extension that the statements make, in a database of its own
my $databases = 0;

sub members_of
{
	my ($name, @statements) = @_;
	my $database = 'upgrade_' . ++$databases;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, join(';', @statements));
	return $node->safe_psql($database, sprintf($members, $name));
}

# Versions that were released: none of their scripts may change, each must lead to the newest.
foreach my $name ('wrvq', 'wrvq_pgvector')
{
	my $newest = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = '$name'");
	my $fresh = members_of($name, "CREATE EXTENSION $name CASCADE");

	cmp_ok(length $fresh, '>', 1000, "$name $newest has members");
	foreach my $older (split /\n/, $node->safe_psql('postgres', "SELECT version FROM pg_available_extension_versions WHERE name = '$name' AND version <> '$newest'"))
	{
		is( members_of($name, "CREATE EXTENSION $name VERSION '$older' CASCADE", "ALTER EXTENSION $name UPDATE"),
			$fresh, "$name $older upgraded is $name $newest");
	}
}

# A version 0.1 made from 1.0 by leaving out its last function and a comment.
my $script = slurp_file("$installed/$extension--1.0.sql");
my $last = rindex($script, 'CREATE FUNCTION');
my $added = substr($script, $last);
my $comment = q(COMMENT ON OPERATOR <-> (real[], real[]) IS 'Euclidean distance';);
(my $early = substr($script, 0, $last)) =~ s/\Q$comment\E// or die "1.0 has no such comment: $comment\n";
system_or_bail('cp', "$installed/$extension.control", "$area/extension");
append_to_file("$area/extension/$extension--1.0.sql", $script);
append_to_file("$area/extension/$extension--0.1.sql", $early);

my @upgrade = ("CREATE EXTENSION $extension VERSION '0.1'", "ALTER EXTENSION $extension UPDATE TO '1.0'");
my $fresh = members_of($extension, "CREATE EXTENSION $extension VERSION '1.0'");
my $path = "$area/extension/$extension--0.1--1.0.sql";
append_to_file($path, "$added\n$comment\n");
is(members_of($extension, @upgrade), $fresh, 'a full upgrade script leads to the same catalog');
unlink $path;
append_to_file($path, $added);
isnt(members_of($extension, @upgrade), $fresh, 'a forgotten comment is found');
unlink $path;
append_to_file($path, "$comment\n");
isnt(members_of($extension, @upgrade), $fresh, 'a forgotten function is found');
unlink $path;
(my $other = $added) =~ s/\bSTRICT\b// or die "the last function is not STRICT\n";
append_to_file($path, "$other\n$comment\n");
isnt(members_of($extension, @upgrade), $fresh, 'another property of a function is found');

$node->stop;
done_testing();
