/*
 * wrvqcalibrate.c: an index measures itself while it is built: for some of the
 * rows, the true nearest neighbours among all rows, and how many lists a search
 * must visit to meet them.
 */
#include "wrvq.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* 1,280 neighbours: the curve is right within a point of recall at .95 */
#define CALIBRATION_QUERIES 128

/* share of the neighbours that the points of the curve stand for */
static const double curve_recalls[WRVQ_CURVE_POINTS] = {0.5,  0.7,	0.8,  0.85, 0.9,   0.925,
														0.95, 0.97, 0.98, 0.99, 0.995, 1.0};

struct WrvqCalibration
{
	const WrvqCodebook *codebook;
	int					queries;
	float			   *vectors; /* [queries][d] as the user gave them */
	uint64			   *rows;
	void			   *state;
};

/* Takes some rows of a sample as queries; the sample's vectors may be used up afterwards. */
WrvqCalibration *
WrvqNewCalibration(const WrvqSample *sample)
{
	WrvqCalibration *calibration = palloc0(sizeof(WrvqCalibration));
	Size			 bytes = sizeof(float) * sample->dimensions;

	calibration->queries = Min(sample->rows, CALIBRATION_QUERIES);
	calibration->vectors = palloc_extended(bytes * Max(1, calibration->queries), MCXT_ALLOC_HUGE);
	calibration->rows = palloc(sizeof(uint64) * Max(1, calibration->queries));
	for (int64 i = 0; i < calibration->queries; i++)
	{
		int64 at = i * sample->rows / calibration->queries;

		memcpy(calibration->vectors + i * sample->dimensions, sample->vectors + at * sample->dimensions, bytes);
		calibration->rows[i] = sample->row_ids[at];
	}
	return calibration;
}

/* Gets ready for the encoding pass. */
void
WrvqBeginCalibration(WrvqCalibration *calibration, const WrvqCodebook *codebook)
{
	int			 dimensions = codebook->view.shape.dimensions;
	int64		 bytes;
	WrvqEncoder *encoder = WrvqBeginEncoder(codebook, 1, Max(1, calibration->queries));
	ptrdiff_t	 bad;
	wrvq_status	 status;

	calibration->codebook = codebook;
	SWIFT(status = wrvq_kernel.prepare(&codebook->view, calibration->vectors, calibration->queries, encoder->scratch,
									   encoder->prepared, &bad));
	if (status != WRVQ_OK)
		elog(ERROR, "could not prepare a calibration query of %d dimensions", dimensions);
	SWIFT(bytes = wrvq_kernel.calibration_bytes(&codebook->view, calibration->queries));
	calibration->state = palloc_extended(bytes, MCXT_ALLOC_HUGE);
	SWIFT(wrvq_kernel.calibration_begin(&codebook->view, encoder->prepared, calibration->rows, calibration->queries,
										calibration->state));
}

/* Compares the rows of an encoded batch with the queries. */
void
WrvqCalibrate(WrvqCalibration *calibration, const WrvqEncoder *encoder)
{
	uint64 rows[WRVQ_BATCH_ROWS];

	StaticAssertStmt(WRVQ_BATCH_ROWS <= WRVQ_CALIBRATION_BATCH, "a batch is calibrated in one call");
	for (int i = 0; i < encoder->count; i++)
		rows[i] = WrvqRowFromTid(&encoder->tids[i]);
	SWIFT(wrvq_kernel.calibration_add(&encoder->codebook->view, calibration->queries, calibration->state,
									  encoder->prepared, rows, encoder->encoded,
									  encoder->spill > 1 ? encoder->encoded + encoder->count : NULL, encoder->count));
}

static int
compare_ranks(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a, y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Writes the curve into the metadata, once the codebook has its statistics. */
void
WrvqEndCalibration(WrvqCalibration *calibration, WrvqMetaData *meta)
{
	const WrvqCodebook *codebook = calibration->codebook;
	uint32			   *ranks = palloc(sizeof(uint32) * WRVQ_CALIBRATION_NEIGHBOURS * Max(1, calibration->queries));
	int					count = 0;
	int64				bytes;
	char			   *arena;

	SWIFT(bytes = wrvq_kernel.query_bytes(&codebook->view));
	arena = palloc_extended(bytes + 64, MCXT_ALLOC_HUGE);
	arena = (char *) TYPEALIGN(64, arena);
	for (int i = 0; i < calibration->queries; i++)
	{
		wrvq_status status;
		ptrdiff_t	found;

		SWIFT(status =
				  wrvq_kernel.query_begin(&codebook->view, &codebook->layout,
										  calibration->vectors + (Size) i * codebook->view.shape.dimensions, arena));
		if (status != WRVQ_OK)
			elog(ERROR, "could not start a calibration query");
		SWIFT(found = wrvq_kernel.calibration_ranks(&codebook->view, calibration->queries, calibration->state, i,
													(wrvq_query *) arena, ranks + count));
		count += found;
		CHECK_FOR_INTERRUPTS();
	}
	qsort(ranks, count, sizeof(uint32), compare_ranks);
	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
		meta->curve[i] = count == 0 ? meta->list_count : ranks[Min(count - 1, (int) (curve_recalls[i] * count))] + 1;
}

/* Appends the curve as a JSON array; null without one. */
void
WrvqDescribeCurve(const WrvqMetaData *meta, StringInfo json)
{
	if (meta->curve[WRVQ_CURVE_POINTS - 1] == 0)
	{
		appendStringInfoString(json, "null");
		return;
	}
	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
		appendStringInfo(json, "%s{\"recall\": %g, \"lists\": %u}", i == 0 ? "[" : ", ", curve_recalls[i],
						 meta->curve[i]);
	appendStringInfoChar(json, ']');
}

/* ---------- what wrvq.target_recall asks for ---------- */

/*
 * Share of the permitted misses that the choice of lists may use up: reranking
 * loses some rows too, and queries may be unlike the rows that the curve was
 * measured with.  At .3 the shared data's queries, which come from elsewhere,
 * stay a point short of a target of .95; at .22 they exceed it.
 */
#define MISSES_FOR_LISTS 0.22

/* without a curve: share of the lists at a target of .95, and how it grows for each permitted miss less */
#define SHARE_AT_95	   0.45
#define SHARE_PER_MISS 11.0
#define SHARE_MIN	   0.1

/* candidates reranked at a target of .95: 1 in 150 true neighbours is not among them */
#define RERANK_AT_95 64

/* never fewer than a LIMIT of 10 needs, see RERANK_PER_ROW */
#define RERANK_MIN 40

/* the fewest of the sub-lists to visit, and how many more for each permitted miss less */
#define SUBLIST_SHARE_MIN	   0.5
#define SUBLIST_SHARE_PER_MISS 3.0

/* Lists to visit for a share of the neighbours, by the curve. */
static int
probes_by_curve(const WrvqMetaData *meta, double recall)
{
	double from = 0, from_probes = 1;

	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
	{
		if (recall <= curve_recalls[i])
		{
			double share = (recall - from) / (curve_recalls[i] - from);

			return (int) ceil(from_probes + share * (meta->curve[i] - from_probes));
		}
		from = curve_recalls[i];
		from_probes = meta->curve[i];
	}
	return meta->list_count;
}

/* Lists to visit. */
int
WrvqProbes(const WrvqMetaData *meta)
{
	double misses = 1 - wrvq_target_recall, share;

	if (!meta->is_trained)
		return 0;
	if (misses <= 0)
		return meta->list_count;
	if (meta->curve[WRVQ_CURVE_POINTS - 1] != 0)
		return probes_by_curve(meta, 1 - misses * MISSES_FOR_LISTS);
	/* the index trained itself as its first rows came, or was empty: nothing was measured */
	share = Max(SHARE_MIN, Min(1.0, SHARE_AT_95 + SHARE_PER_MISS * (0.05 - misses)));
	return (int) ceil(share * meta->list_count);
}

/* Share of the sub-lists to visit in lists that are not among the very best. */
float
WrvqSublistShare(void)
{
	return Max(SUBLIST_SHARE_MIN, 1 - SUBLIST_SHARE_PER_MISS * (1 - wrvq_target_recall));
}

/* Candidates to rerank: the rarer a miss may be, the more. */
int64
WrvqRerankDepth(void)
{
	double misses = Max(1 - wrvq_target_recall, 0.0005);

	return Max(RERANK_MIN, (int64) ceil(RERANK_AT_95 * sqrt(0.05 / misses)));
}
