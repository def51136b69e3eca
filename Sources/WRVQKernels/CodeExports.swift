import CWRVQKernels

// The only entries of wrvq_codes.h; as in Exports.swift, one call a closure.

@inline(__always) private func fill(_ table: UnsafeMutablePointer<wrvq_code_kernels>) {
  table.pointee = wrvq_code_kernels(
    coder_check: { coderCheck($0) },
    coder_bytes: { coderBytes($0) },
    coder_bind: { coderBind($0, $1) },
    coder_set_level: { coderSetLevel($0, Int($1), $2, $3, $4) },
    scratch_bytes: { codeScratchBytes($0) },
    encode: { encodeCode($0, $1, $2, $3) },
    decode: { decodeCode($0, $1, Int($2), $3, $4) },
    code_query_bytes: { codeQueryBytes($0) },
    code_query_begin: { codeQueryBegin($0, $1, $2, $3) },
    code_distance: { codeDistance($0, $1, $2) })
}

#if WRVQ_V3
  @c @implementation
  public func wrvq_code_kernels_v3(_ kernels: UnsafeMutablePointer<wrvq_code_kernels>) {
    fill(kernels)
  }
#else
  @c @implementation
  public func wrvq_code_kernels_base(_ kernels: UnsafeMutablePointer<wrvq_code_kernels>) {
    fill(kernels)
  }
#endif
