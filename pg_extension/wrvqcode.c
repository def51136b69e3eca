/* wrvqcode.c: the type wrvq_code, a vector as codes and weights of a stored codebook. */
#include "wrvq.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define IDENTITY_BYTES sizeof(uint64)
/* the decoded length, and at least one code */
#define CODE_BYTES_MIN (sizeof(float) + 1)
/* far beyond what 16 levels of 16,000 dimensions take */
#define CODE_BYTES_MAX ((Size) 1024 * 1024)

/* ---------- values ---------- */

/* Raises unless the bytes can be a value, whatever codebook it is of. */
static void
check_format(const char *bytes, Size size)
{
	if (size < IDENTITY_BYTES + CODE_BYTES_MIN || size > CODE_BYTES_MAX || bytes[0] != WRVQ_CODE_FORMAT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("%zu bytes beginning with %d are no wrvq_code", size, size > 0 ? bytes[0] : 0),
						errdetail("Expected a format of %d, 7 bytes of a codebook's SHA-256, a length and codes.",
								  WRVQ_CODE_FORMAT)));
}

/* Takes a value apart, which stays as long as the datum does, or the current memory context. */
WrvqCodeValue
WrvqReadCode(Datum datum)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(datum);
	Size			size = VARSIZE_ANY_EXHDR(value);
	WrvqCodeValue	result;

	check_format(VARDATA_ANY(value), size);
	memcpy(&result.identity, VARDATA_ANY(value), IDENTITY_BYTES);
	result.code = (const uint8 *) VARDATA_ANY(value) + IDENTITY_BYTES;
	result.code_bytes = size - IDENTITY_BYTES;
	return result;
}

void
WrvqBadCode(const WrvqCoder *coder)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("codebook \"%s\" has no such code", coder->name),
					errhint("The value was damaged, or not made by wrvq_encode().")));
}

/* Raises unless the value is as long as the coder's are. */
void
WrvqCheckCode(const WrvqCoder *coder, const WrvqCodeValue *value)
{
	if (value->code_bytes != coder->view.code_bytes)
		WrvqBadCode(coder);
}

static bytea *
new_value(const WrvqCoder *coder)
{
	Size   size = VARHDRSZ + IDENTITY_BYTES + coder->view.code_bytes;
	bytea *value = palloc(size);

	SET_VARSIZE(value, size);
	memcpy(VARDATA(value), &coder->identity, IDENTITY_BYTES);
	return value;
}

/* ---------- input and output ---------- */

/* "1:", 14 digits, ":", digits */
#define DIGITS_AT		2
#define IDENTITY_DIGITS (2 * (IDENTITY_BYTES - 1))
#define CODE_AT			(DIGITS_AT + IDENTITY_DIGITS + 1)

static void
malformed(const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type wrvq_code: \"%.*s%s\"", 60, text, strlen(text) > 60 ? "…" : ""),
			 errdetail("Expected \"%d:\", %d hexadecimal digits of the codebook's SHA-256, \":\" and the code in "
					   "hexadecimal digits, as wrvq_encode() gives it.",
					   WRVQ_CODE_FORMAT, (int) IDENTITY_DIGITS)));
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads pairs of digits; false at anything else. */
static bool
read_digits(const char *text, Size bytes, char *out)
{
	for (Size i = 0; i < bytes; i++)
	{
		int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);

		if (low < 0)
			return false;
		out[i] = high << 4 | low;
	}
	return true;
}

PG_FUNCTION_INFO_V1(wrvq_code_in);
Datum
wrvq_code_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	Size		length = strlen(text), size;
	bytea	   *value;

	if (length < CODE_AT + 2 * CODE_BYTES_MIN || (length - CODE_AT) % 2 != 0 || text[0] != '0' + WRVQ_CODE_FORMAT ||
		text[1] != ':' || text[CODE_AT - 1] != ':')
		malformed(text);
	size = IDENTITY_BYTES + (length - CODE_AT) / 2;
	value = palloc(VARHDRSZ + size);
	SET_VARSIZE(value, VARHDRSZ + size);
	VARDATA(value)[0] = WRVQ_CODE_FORMAT;
	if (!read_digits(text + DIGITS_AT, IDENTITY_BYTES - 1, VARDATA(value) + 1) ||
		!read_digits(text + CODE_AT, size - IDENTITY_BYTES, VARDATA(value) + IDENTITY_BYTES))
		malformed(text);
	check_format(VARDATA(value), size);
	PG_RETURN_BYTEA_P(value);
}

PG_FUNCTION_INFO_V1(wrvq_code_out);
Datum
wrvq_code_out(PG_FUNCTION_ARGS)
{
	WrvqCodeValue value = WrvqReadCode(PG_GETARG_DATUM(0));
	char		 *text = palloc0(CODE_AT + 2 * value.code_bytes + 1);

	text[0] = '0' + WRVQ_CODE_FORMAT;
	text[1] = text[CODE_AT - 1] = ':';
	hex_encode((const char *) &value.identity + 1, IDENTITY_BYTES - 1, text + DIGITS_AT);
	hex_encode((const char *) value.code, value.code_bytes, text + CODE_AT);
	PG_RETURN_CSTRING(text);
}

PG_FUNCTION_INFO_V1(wrvq_code_recv);
Datum
wrvq_code_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int		   size = message->len - message->cursor;
	bytea	  *value = palloc(VARHDRSZ + size);

	SET_VARSIZE(value, VARHDRSZ + size);
	pq_copymsgbytes(message, VARDATA(value), size);
	check_format(VARDATA(value), size);
	PG_RETURN_BYTEA_P(value);
}

PG_FUNCTION_INFO_V1(wrvq_code_send);
Datum
wrvq_code_send(PG_FUNCTION_ARGS)
{
	/* its bytes as they are */
	PG_RETURN_BYTEA_P(DatumGetByteaPCopy(PG_GETARG_DATUM(0)));
}

/* ---------- encoding and decoding ---------- */

/* codebooks whose names a call site meets in turn and keeps ready */
#define ENCODE_STATES 4

/* What a call site keeps of a codebook from row to row. */
typedef struct EncodeState
{
	MemoryContext	 context; /* of all that belongs to it */
	const WrvqCoder *coder;
	char			*name; /* as asked for: the coder may be cached under another one */
	void			*scratch;
} EncodeState;

/* The last one used is the first. */
typedef struct EncodeSite
{
	EncodeState *states[ENCODE_STATES];
} EncodeSite;

static EncodeState *
begin_encoding(MemoryContext parent, const text *name)
{
	/* a context of the caller's until it is whole, so that an error leaves nothing */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq encode", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EncodeState	 *state = palloc(sizeof(EncodeState));

	state->context = context;
	state->name = text_to_cstring(name);
	state->coder = WrvqCoderNamed(state->name);
	state->scratch = WrvqAllocateAligned(context, state->coder->scratch_bytes);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, parent);
	return state;
}

static bool
is_called(const EncodeState *state, const text *name)
{
	return strlen(state->name) == VARSIZE_ANY_EXHDR(name) &&
		   memcmp(state->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0;
}

static EncodeState *
encode_state(FunctionCallInfo fcinfo, const text *name)
{
	EncodeSite	*site = fcinfo->flinfo->fn_extra;
	EncodeState *state;
	int			 place = 0;

	if (site == NULL)
		site = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(EncodeSite));
	while (place < ENCODE_STATES - 1 && site->states[place] != NULL && !is_called(site->states[place], name))
		place++;
	state = site->states[place];
	if (state == NULL || !is_called(state, name))
	{
		EncodeState *begun = begin_encoding(fcinfo->flinfo->fn_mcxt, name);

		if (state != NULL)
			MemoryContextDelete(state->context);
		state = begun;
	}
	memmove(site->states + 1, site->states, place * sizeof(EncodeState *));
	site->states[0] = state;
	return state;
}

/*
 * Immutable, and so fit for generated columns: the codebook of a name is refused any
 * change, and a vector has one code.  Whoever drops a codebook and stores another one
 * under its name does what redefining an immutable function does.
 */
PG_FUNCTION_INFO_V1(wrvq_encode);
Datum
wrvq_encode(PG_FUNCTION_ARGS)
{
	EncodeState *state = encode_state(fcinfo, PG_GETARG_TEXT_PP(0));
	int			 dimensions;
	const float *vector = WrvqRealArray(PG_GETARG_DATUM(1), &dimensions);
	bytea		*value;
	wrvq_status	 status;

	if (dimensions != state->coder->view.dimensions)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("codebook \"%s\" has %d dimensions, the vector has %d", state->coder->name,
							   state->coder->view.dimensions, dimensions)));
	value = new_value(state->coder);
	SWIFT(status = wrvq_code_kernel.encode(&state->coder->view, vector, state->scratch,
										   (uint8 *) VARDATA(value) + IDENTITY_BYTES));
	if (status != WRVQ_OK)
		WrvqCheckFinite(vector, dimensions);
	PG_RETURN_BYTEA_P(value);
}

/* The sum of the first levels, in the current memory context. */
float *
WrvqDecode(const WrvqCoder *coder, const WrvqCodeValue *value, int levels, void *scratch)
{
	float	   *vector = palloc(sizeof(float) * coder->view.dimensions);
	wrvq_status status;

	WrvqCheckCode(coder, value);
	SWIFT(status = wrvq_code_kernel.decode(&coder->view, value->code, levels, scratch, vector));
	if (status != WRVQ_OK)
		WrvqBadCode(coder);
	return vector;
}

/* levels 0: all */
static Datum
decode(Datum datum, int levels)
{
	WrvqCodeValue	 value = WrvqReadCode(datum);
	const WrvqCoder *coder = WrvqCoderOf(value.identity);
	void			*scratch = WrvqAllocateAligned(CurrentMemoryContext, coder->scratch_bytes);

	return WrvqRealDatum(WrvqDecode(coder, &value, levels > 0 ? levels : coder->view.level_count, scratch),
						 coder->view.dimensions);
}

PG_FUNCTION_INFO_V1(wrvq_decode);
Datum
wrvq_decode(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(decode(PG_GETARG_DATUM(0), 0));
}

PG_FUNCTION_INFO_V1(wrvq_decode_levels);
Datum
wrvq_decode_levels(PG_FUNCTION_ARGS)
{
	int				 levels = PG_GETARG_INT32(1);
	WrvqCodeValue	 value = WrvqReadCode(PG_GETARG_DATUM(0));
	const WrvqCoder *coder = WrvqCoderOf(value.identity);

	if (levels < 1 || levels > coder->view.level_count)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("codebook \"%s\" has 1 to %d levels to decode, not %d", coder->name,
							   coder->view.level_count, levels)));
	PG_RETURN_DATUM(decode(PG_GETARG_DATUM(0), levels));
}
