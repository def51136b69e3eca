import CWRVQKernels

// The only way in from C.  A closure that becomes a C function pointer is a thunk in which nothing
// is inlined: each holds exactly one call of an `@inline(never)` kernel and compiles to a jump.

@inline(__always) private func fill(_ table: UnsafeMutablePointer<wrvq_kernels>) {
  table.pointee = wrvq_kernels(
    l2_distance: { l2Distance($0, $1, $2) },
    inner_product: { innerProduct($0, $1, $2) },
    cosine_distance: { cosineDistance($0, $1, $2) },
    first_not_finite: { firstNotFinite($0, $1) },
    half_to_float: { halfToFloat($0, $1, $2) },
    float_to_half: { floatToHalf($0, $1, $2) },
    pack: { pack($0, $1, $2, $3) },
    inner_products: { innerProducts($0, $1, $2, $3, $4, $5) },
    assign: { assign($0, $1, $2, $3, $4, $5, $6, $7, $8) },
    encode_tile: { encodeTile($0, $1, $2, $3, $4, $5, $6, $7) },
    shape_check: { shapeCheck($0) },
    image_bytes: { imageBytes($0) },
    image_bind: { imageBind($0, $1, $2) },
    image_set_transform: { imageSetTransform($0, $1) },
    image_scratch_floats: { imageScratchFloats($0) },
    image_set_level: { imageSetLevel($0, Int($1), $2, $3) },
    layout: { blockLayout($0, $1) },
    prepare: { prepare($0, $1, $2, $3, $4, $5) },
    encode_scratch_bytes: { encodeScratchBytes($0, $1) },
    encode: { encode($0, $1, $2, $3, $4, $5, $6) },
    spill_lists: { spillLists($0, $1, $2, $3, $4, $5) },
    encode_in_lists: { encodeInLists($0, $1, $2, $3, $4, $5, $6, $7) },
    statistics_bytes: { statisticsBytes($0) },
    statistics_add: { statisticsAdd($0, $1, $2, $3, $4, $5) },
    statistics_merge: { statisticsMerge($0, $1, $2) },
    image_set_statistics: { imageSetStatistics($0, $1) },
    calibration_bytes: { calibrationBytes($0, $1) },
    calibration_begin: { calibrationBegin($0, $1, $2, $3, $4) },
    calibration_add: { calibrationAdd($0, $1, $2, $3, $4, $5, $6, $7) },
    calibration_exchange: { calibrationExchange($0, $1, $2, $3) },
    calibration_neighbours: { calibrationNeighbours($0, $1, $2, $3, $4, $5, $6) },
    calibration_merge: { calibrationMerge($0, $1, $2, $3) },
    block_put: { blockPut($0, $1, Int($2), $3, $4) },
    block_get: { blockGet($0, $1, Int($2), $3) },
    entry_sublist: { entrySublist($0, $1, $2) },
    block_row: { blockRow($0, Int($1)) },
    block_set_row: { blockSetRow($0, Int($1), $2) },
    query_bytes: { queryBytes($0) },
    query_begin: { queryBegin($0, $1, $2, $3) },
    query_lists: { Int32(truncatingIfNeeded: queryLists($0, Int($1), Int($2), $3)) },
    query_probes: { Int32(truncatingIfNeeded: queryProbes($0, $1, $2)) },
    query_shares: { queryShares($0, $1, $2, $3, $4) },
    query_sublists: { querySublists($0, $1, Int($2), $3, $4, $5) },
    candidates_bytes: { candidatesBytes($0) },
    query_round: { queryRound($0, $1, $2) },
    query_scan_block: { queryScanBlock($0, $1, $2, Int($3)) },
    query_take: { Int64(queryTake($0, Int($1), $2, Int($3), $4, $5)) },
    query_within: { Int64(queryWithin($0, $1)) },
    query_exact: { queryExact($0, $1) },
    query_place: { Int64(queryPlace($0, $1)) },
    rows_sort: { Int64(rowsSort($0, Int($1))) },
    rows_merge: { rowsMerge($0, Int($1), $2, Int($3)) },
    add_scaled: { addScaled($0, $1, $2, $3, $4) },
    multiply: { multiply($0, $1, $2, $3) },
    add_to_sums: { addToSums($0, $1, $2) },
    add_sums: { addSums($0, $1, $2) },
    divide: { divide($0, $1, $2, $3) },
    divide_sums: { divideSums($0, $1, $2, $3) })
}

#if WRVQ_V3
  @c @implementation
  public func wrvq_kernels_v3(_ kernels: UnsafeMutablePointer<wrvq_kernels>) { fill(kernels) }
#else
  @c @implementation
  public func wrvq_kernels_base(_ kernels: UnsafeMutablePointer<wrvq_kernels>) { fill(kernels) }
#endif
