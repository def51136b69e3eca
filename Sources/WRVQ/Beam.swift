import CWRVQKernels

/// The best ways of coding some rows so far: `width` paths for each row, those of a row together.
struct Beam {
  /// One level of all paths.
  struct Step {
    /// `[paths × codesPerPath]`.
    let codes: UnsafeMutablePointer<UInt16>
    let codesPerPath: Int
    /// `[paths]`.
    let weights: UnsafeMutablePointer<Float16>
    /// The path of the level before that this one goes on from, numbered among all.
    let parents: UnsafeMutablePointer<Int32>
    /// Paths of each row.
    var width: Int
  }

  let rows: Int
  let dimensions: Int
  /// Paths of each row now, and at most.
  private(set) var width = 1
  let maximumWidth: Int
  /// `[paths × dimensions]`: what the paths leave of their rows.
  private(set) var residuals: UnsafeMutablePointer<Float>
  /// Memory of the same size, for the next residuals.
  private(set) var spare: UnsafeMutablePointer<Float>
  /// `[paths]`: their squared lengths.
  let losses: UnsafeMutablePointer<Float>
  private(set) var steps: [Step] = []
  private let codesPerPath: [Int]

  /// Paths of all rows.
  var count: Int { rows * width }

  init(_ codebook: Codebook, rows: Int, width: Int) {
    self.rows = rows
    dimensions = codebook.dimensions
    maximumWidth = width
    residuals = .allocate(capacity: rows * width * codebook.dimensions)
    spare = .allocate(capacity: rows * width * codebook.dimensions)
    losses = .allocate(capacity: rows * width)
    codesPerPath = codebook.levels.map { level in
      if case .product(let pieces, _) = level.kind { pieces } else { 1 }
    }
  }

  func deallocate() {
    residuals.deallocate()
    spare.deallocate()
    losses.deallocate()
    for step in steps {
      step.codes.deallocate()
      step.weights.deallocate()
      step.parents.deallocate()
    }
  }

  /// Starts with one empty path for each row.
  func begin(_ rows: UnsafePointer<Float>) {
    residuals.update(from: rows, count: self.rows * dimensions)
  }

  /// Adds a level that goes on from every path, its codes and weights yet to be written.
  mutating func extend(level: Int) -> Step { addStep(level: level, width: width) }

  /// Adds a level that goes on from the paths that its parents will name; the residuals are to be
  /// written to `spare`.
  mutating func branch(level: Int, width: Int) -> Step {
    let step = addStep(level: level, width: width)
    self.width = width
    return step
  }

  mutating func swapResiduals() { swap(&residuals, &spare) }

  private mutating func addStep(level: Int, width: Int) -> Step {
    let count = rows * width, codes = codesPerPath[level]
    let step = Step(
      codes: .allocate(capacity: count * codes), codesPerPath: codes,
      weights: .allocate(capacity: count), parents: .allocate(capacity: count), width: width)
    for path in 0..<count { step.parents[path] = Int32(path) }
    steps.append(step)
    return step
  }

  /// Takes the residuals' squared lengths.
  func measure(_ kernels: wrvq_kernels) {
    for path in 0..<count {
      let r = residuals + path * dimensions
      losses[path] = Float(kernels.inner_product(r, r, dimensions))
    }
  }

  /// Calls `body` with each level of a path, from the last to the first, and the path's number
  /// among the paths of that level.
  func trace(_ path: Int, _ body: (_ level: Int, _ path: Int) -> Void) {
    var path = path
    for level in steps.indices.reversed() {
      body(level, path)
      path = Int(steps[level].parents[path])
    }
  }

  /// Gives every path levels of its own, so that their codes and weights lie at its own number.
  mutating func separate() {
    for level in steps.indices.dropLast().reversed() {
      // The parents in between are done: those of the level after lead to this one.
      let old = steps[level], next = steps[level + 1]
      let step = Step(
        codes: .allocate(capacity: count * old.codesPerPath), codesPerPath: old.codesPerPath,
        weights: .allocate(capacity: count), parents: .allocate(capacity: count), width: width)
      for path in 0..<count {
        let from = Int(next.parents[path])
        (step.codes + path * old.codesPerPath).update(
          from: old.codes + from * old.codesPerPath, count: old.codesPerPath)
        step.weights[path] = old.weights[from]
        step.parents[path] = old.parents[from]
        next.parents[path] = Int32(path)
      }
      old.codes.deallocate()
      old.weights.deallocate()
      old.parents.deallocate()
      steps[level] = step
    }
  }

  /// Stores each row's path of the least loss, the first of equal ones.
  func storeBest(into output: EncoderOutput, at position: Int) {
    for row in 0..<rows {
      let paths = row * width..<(row + 1) * width
      let best = paths.reduce(paths.lowerBound) { losses[$1] < losses[$0] ? $1 : $0 }
      trace(best) { level, path in
        let step = steps[level]
        output.weights[(position + row) * steps.count + level] = step.weights[path]
        switch output.codes[level] {
        case .flat(let codes): codes[position + row] = step.codes[path]
        case .product(let codes, let pieces):
          for piece in 0..<pieces {
            codes[(position + row) * pieces + piece] = UInt8(step.codes[path * pieces + piece])
          }
        }
      }
    }
  }
}
