/*
 * wrvqpgvector.c: pgvector's types vector and halfvec, for the extension wrvq_pgvector.
 *
 * What we know of them is what every client that reads or writes them in a
 * table does: a varlena of a count, two bytes of zero, and the elements.
 * Nothing of pgvector is linked: distances come from whatever function stands
 * behind the operator of the operator class.
 */
#include "wrvq.h"

#include <math.h>

/* the least number that does not round to a half */
#define HALF_OVERFLOW 65520.0f

typedef struct PgvectorHeader
{
	int32 varlena;
	int16 dimensions;
	int16 zero;
} PgvectorHeader;

StaticAssertDecl(sizeof(PgvectorHeader) == 8, "pgvector's header is disk format");

/* Detoasts a value and checks its header; the elements begin behind that. */
static const PgvectorHeader *
read_header(Datum datum, const char *type, Size element_bytes)
{
	const PgvectorHeader *header = (const PgvectorHeader *) PG_DETOAST_DATUM(datum);
	Size				  bytes = VARSIZE(header);

	if (bytes < sizeof(PgvectorHeader) || header->dimensions < 1 || header->dimensions > WRVQ_DIMENSIONS_MAX ||
		bytes != sizeof(PgvectorHeader) + element_bytes * header->dimensions)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("value of %zu bytes is no %s of 1 to %d dimensions", bytes, type, WRVQ_DIMENSIONS_MAX),
						errhint("This version of pgvector may store its vectors in another way.")));
	return header;
}

static void *
new_value(Size element_bytes, int dimensions)
{
	Size			bytes = sizeof(PgvectorHeader) + element_bytes * dimensions;
	PgvectorHeader *header = palloc0(bytes);

	SET_VARSIZE(header, bytes);
	header->dimensions = dimensions;
	return header;
}

/* ---------- vector ---------- */

/* The floats of a vector, borrowed where it is not toasted. */
static const float *
vector_floats(Datum datum, int *dimensions)
{
	const PgvectorHeader *header = read_header(datum, "vector", sizeof(float));

	*dimensions = header->dimensions;
	return (const float *) (header + 1);
}

static Datum
vector_datum(const float *vector, int dimensions)
{
	PgvectorHeader *header = new_value(sizeof(float), dimensions);

	memcpy(header + 1, vector, sizeof(float) * dimensions);
	return PointerGetDatum(header);
}

/* ---------- halfvec ---------- */

static const float *
halfvec_floats(Datum datum, int *dimensions)
{
	const PgvectorHeader *header = read_header(datum, "halfvec", sizeof(uint16));
	float				 *floats = palloc(sizeof(float) * header->dimensions);

	SWIFT(wrvq_kernel.half_to_float((const uint16 *) (header + 1), floats, header->dimensions));
	*dimensions = header->dimensions;
	return floats;
}

static Datum
halfvec_datum(const float *vector, int dimensions)
{
	PgvectorHeader *header = new_value(sizeof(uint16), dimensions);

	/* pgvector refuses them too; the kernel would take the largest half */
	for (int i = 0; i < dimensions; i++)
		if (fabsf(vector[i]) >= HALF_OVERFLOW)
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
							errmsg("vector element %d is out of range for type halfvec: %g", i + 1, vector[i])));
	SWIFT(wrvq_kernel.float_to_half(vector, (uint16 *) (header + 1), dimensions));
	return PointerGetDatum(header);
}

/* ---------- operator class support ---------- */

#define SUPPORT(type, name, metric_)                                                                            \
	PG_FUNCTION_INFO_V1(wrvq_##type##_##name##_support);                                                        \
	Datum wrvq_##type##_##name##_support(PG_FUNCTION_ARGS)                                                      \
	{                                                                                                           \
		static const WrvqSupport support = {.metric = metric_, .vector = type##_floats, .datum = type##_datum}; \
                                                                                                                \
		PG_RETURN_POINTER(&support);                                                                            \
	}

SUPPORT(vector, l2, WRVQ_L2)
SUPPORT(vector, ip, WRVQ_IP)
SUPPORT(vector, cosine, WRVQ_COSINE)
SUPPORT(halfvec, l2, WRVQ_L2)
SUPPORT(halfvec, ip, WRVQ_IP)
SUPPORT(halfvec, cosine, WRVQ_COSINE)
