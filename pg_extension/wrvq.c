/* wrvq.c: loading, settings, reloptions and the access method's handler. */
#include "wrvq.h"

#include <float.h>
#include <limits.h>
#include <signal.h>

#include "access/reloptions.h"
#include "catalog/pg_am.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "libpq/pqsignal.h"
#include "utils/backend_progress.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

wrvq_kernels		  wrvq_kernel;
wrvq_code_kernels	  wrvq_code_kernel;
wrvq_training_kernels wrvq_training;
volatile sig_atomic_t wrvq_in_swift = 0;

double wrvq_target_recall = 0.95;
int	   wrvq_probes = 0;
int	   wrvq_rerank = 0;
int	   wrvq_max_scan_tuples = 50000;
int	   wrvq_codebook_cache = 32 * 1024;
int	   wrvq_iterative_scan = WRVQ_SCAN_STRICT;

/* read by the triggers of wrvq.wrvq_codebook */
static bool allow_codebook_removal = false;

static relopt_kind wrvq_relopt_kind;

/* of what a scan takes at most */
#define SCAN_MEMORY_KEPT (4 * 1024 * 1024)

void _PG_init(void);

/*
 * A failed Swift precondition executes an illegal instruction, which would kill
 * the backend and make the postmaster restart every other one.  Kernels are
 * pure computations on the caller's memory: they hold no lock and allocate
 * nothing, so (as PostgreSQL itself does for SIGFPE) the synchronous signal may
 * become an ordinary error while, and only while, a kernel runs.
 */
static void
wrvq_trap_handler(SIGNAL_ARGS)
{
	sigset_t signals;

	if (!wrvq_in_swift)
	{
		/* not ours: die as before */
		pqsignal(postgres_signal_arg, SIG_DFL);
		return;
	}
	wrvq_in_swift = 0;
	sigemptyset(&signals);
	sigaddset(&signals, postgres_signal_arg);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("wrvq kernel failed a run-time check")));
}

static void
choose_kernels(void)
{
	wrvq_kernels_base(&wrvq_kernel);
	wrvq_code_kernels_base(&wrvq_code_kernel);
	wrvq_training_base(&wrvq_training);
#ifdef WRVQ_HAVE_V3
	if (wrvq_cpu_is_v3() && getenv("WRVQ_FORCE_BASELINE") == NULL)
	{
		wrvq_kernels_v3(&wrvq_kernel);
		wrvq_code_kernels_v3(&wrvq_code_kernel);
		wrvq_training_v3(&wrvq_training);
	}
#endif
#if defined(__aarch64__)
	pqsignal(SIGTRAP, wrvq_trap_handler);
#else
	pqsignal(SIGILL, wrvq_trap_handler);
#endif
}

/* The first name of a value is the one shown.  The others are those of a boolean setting, which this one once was. */
static const struct config_enum_entry iterative_scans[] = {{"off", WRVQ_SCAN_OFF, false},
														   {"strict_order", WRVQ_SCAN_STRICT, false},
														   {"relaxed_order", WRVQ_SCAN_RELAXED, false},
														   {"on", WRVQ_SCAN_STRICT, false},
														   {"true", WRVQ_SCAN_STRICT, true},
														   {"yes", WRVQ_SCAN_STRICT, true},
														   {"1", WRVQ_SCAN_STRICT, true},
														   {"false", WRVQ_SCAN_OFF, true},
														   {"no", WRVQ_SCAN_OFF, true},
														   {"0", WRVQ_SCAN_OFF, true},
														   {NULL, 0, false}};

static void
define_settings(void)
{
	DefineCustomRealVariable("wrvq.target_recall", "Share of the true nearest rows that a search aims to find.",
							 "Chooses how many lists are visited and how many rows are reranked.", &wrvq_target_recall,
							 0.95, 0.0, 1.0, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("wrvq.probes", "Lists visited by a search, with all their sub-lists.",
							"0 chooses by wrvq.target_recall; more than there are visit all.", &wrvq_probes, 0, 0,
							INT_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("wrvq.rerank", "Candidates whose exact distance is computed from the table.",
							"0 chooses by wrvq.target_recall.", &wrvq_rerank, 0, 0, INT_MAX, PGC_USERSET, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("wrvq.max_scan_tuples", "Rows that one scan may rerank while it widens.",
							"0 means no limit.", &wrvq_max_scan_tuples, 50000, 0, INT_MAX, PGC_USERSET, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("wrvq.codebook_cache", "Memory in which a session keeps codebooks between statements.",
							"The last one used is kept, however large it is; 0 keeps only what is in use.",
							&wrvq_codebook_cache, 32 * 1024, 0, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomEnumVariable("wrvq.iterative_scan",
							 "Widens a scan while more rows are wanted, so that filters do not return short.",
							 "relaxed_order returns rows that are found late, strict_order drops them.",
							 &wrvq_iterative_scan, WRVQ_SCAN_STRICT, iterative_scans, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("wrvq.allow_codebook_removal",
							 "Lets codebooks be deleted that indexes, expressions or columns of codes may need.",
							 "Codes of a codebook that is gone cannot be read.", &allow_codebook_removal, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("wrvq");
}

static void
validate_codebook_option(const char *value)
{
	if (value != NULL && (value[0] == '\0' || strlen(value) > 255))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for option \"codebook\": \"%s\"", value),
						errdetail("A codebook's name has between 1 and 255 bytes.")));
}

static void
define_options(void)
{
	wrvq_relopt_kind = add_reloption_kind();
	add_int_reloption(wrvq_relopt_kind, "lists", "Number of lists; 0 chooses by the number of rows", 0, 0,
					  WRVQ_LISTS_MAX, AccessExclusiveLock);
	add_int_reloption(wrvq_relopt_kind, "fuzzy_levels", "Levels whose codes key sub-lists; -1 chooses by size", -1, -1,
					  WRVQ_FUZZY_LEVELS_MAX, AccessExclusiveLock);
	add_int_reloption(wrvq_relopt_kind, "spill", "Lists that a row is in", 1, 1, 2, AccessExclusiveLock);
	add_string_reloption(wrvq_relopt_kind, "codebook", "Name of a stored codebook", NULL, validate_codebook_option,
						 AccessExclusiveLock);
	/* those of pgvector's HNSW, within its bounds: statements written for it go through */
	add_int_reloption(wrvq_relopt_kind, "m", "HNSW's: without effect", 0, 2, 100, AccessExclusiveLock);
	add_int_reloption(wrvq_relopt_kind, "ef_construction", "HNSW's: without effect", 0, 4, 1000, AccessExclusiveLock);
}

/*
 * Has malloc() keep what a scan gives back for the next one, which otherwise
 * waits for the system to hand out the same memory anew: of a filtered query
 * that took 7 %.  glibc gives back what is free at the end of the heap once it
 * is twice as large as the largest block freed so far that was mapped by itself;
 * elsewhere this does nothing.
 */
static void
keep_scan_memory(void)
{
	void *volatile block = malloc(SCAN_MEMORY_KEPT / 2);

	free(block);
}

void
_PG_init(void)
{
	choose_kernels();
	keep_scan_memory();
	define_settings();
	define_options();
	WrvqWatchOptions();
	WrvqWatchExecutor();
}

static bytea *
wrvqoptions(Datum reloptions, bool validate)
{
	static const relopt_parse_elt elements[] = {
		{.optname = "lists", .opttype = RELOPT_TYPE_INT, .offset = offsetof(WrvqOptions, lists)},
		{.optname = "fuzzy_levels", .opttype = RELOPT_TYPE_INT, .offset = offsetof(WrvqOptions, fuzzy_levels)},
		{.optname = "spill", .opttype = RELOPT_TYPE_INT, .offset = offsetof(WrvqOptions, spill)},
		{.optname = "codebook", .opttype = RELOPT_TYPE_STRING, .offset = offsetof(WrvqOptions, codebook_offset)},
		{.optname = "m", .opttype = RELOPT_TYPE_INT, .offset = offsetof(WrvqOptions, m)},
		{.optname = "ef_construction", .opttype = RELOPT_TYPE_INT, .offset = offsetof(WrvqOptions, ef_construction)},
	};
	WrvqOptions *options =
		build_reloptions(reloptions, validate, wrvq_relopt_kind, sizeof(WrvqOptions), elements, lengthof(elements));

	if (validate && options != NULL && (options->m != 0 || options->ef_construction != 0))
		ereport(NOTICE, (errmsg("options \"m\" and \"ef_construction\" have no effect on a wrvq index"),
						 errdetail("They shape HNSW's graph; wrvq.target_recall sets what a search finds.")));
	return (bytea *) options;
}

/* The codebook named in the reloptions, or NULL. */
const char *
WrvqCodebookOption(Relation index)
{
	WrvqOptions *options = WrvqGetOptions(index);

	if (options == NULL || options->codebook_offset == 0)
		return NULL;
	return (char *) options + options->codebook_offset;
}

/* A phase begins, of so many tuples; 0: nobody knows, or there are none. */
void
WrvqBeginPhase(WrvqPhase phase, int64 tuples)
{
	const int params[] = {PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_CREATEIDX_TUPLES_TOTAL, PROGRESS_CREATEIDX_TUPLES_DONE,
						  PROGRESS_SCAN_BLOCKS_TOTAL, PROGRESS_SCAN_BLOCKS_DONE};
	const int64 values[] = {phase, tuples, 0, 0, 0};

	pgstat_progress_update_multi_param(lengthof(params), params, values);
}

/* Names for pg_stat_progress_create_index. */
static char *
wrvqbuildphasename(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case WRVQ_PHASE_SAMPLE:
			return "sampling rows";
		case WRVQ_PHASE_TRAIN:
			return "training the codebook";
		case WRVQ_PHASE_ENCODE:
			return "encoding rows";
		case WRVQ_PHASE_SORT:
			return "sorting entries";
		case WRVQ_PHASE_WRITE:
			return "writing pages";
		case WRVQ_PHASE_MEASURE:
			return "measuring recall";
		default:
			return NULL;
	}
}

PG_FUNCTION_INFO_V1(wrvqhandler);

Datum
wrvqhandler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 0;
	am->amsupport = 1;
	am->amoptsprocnum = 0;
	am->amcanorder = false;
	am->amcanorderbyop = true;
	am->amcanbackward = false;
	am->amcanunique = false;
	am->amcanmulticol = false;
	am->amoptionalkey = true;
	am->amsearcharray = false;
	am->amsearchnulls = false;
	am->amstorage = false;
	am->amclusterable = false;
	am->ampredlocks = false;
	am->amcanparallel = false;
	am->amcaninclude = false;
	am->amusemaintenanceworkmem = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	am->amkeytype = InvalidOid;

	am->ambuild = wrvqbuild;
	am->ambuildempty = wrvqbuildempty;
	am->aminsert = wrvqinsert;
	am->ambulkdelete = wrvqbulkdelete;
	am->amvacuumcleanup = wrvqvacuumcleanup;
	am->amcanreturn = NULL;
	am->amcostestimate = wrvqcostestimate;
	am->amoptions = wrvqoptions;
	am->amproperty = NULL;
	am->ambuildphasename = wrvqbuildphasename;
	am->amvalidate = wrvqvalidate;
	am->amadjustmembers = NULL;
	am->ambeginscan = wrvqbeginscan;
	am->amrescan = wrvqrescan;
	am->amgettuple = wrvqgettuple;
	am->amgetbitmap = wrvqgetbitmap;
	am->amendscan = wrvqendscan;
	am->ammarkpos = NULL;
	am->amrestrpos = NULL;
	am->amestimateparallelscan = NULL;
	am->aminitparallelscan = NULL;
	am->amparallelrescan = NULL;

	PG_RETURN_POINTER(am);
}

PG_FUNCTION_INFO_V1(wrvq_version);

Datum
wrvq_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(WRVQ_VERSION));
}
