import CWRVQKernels

// A product level: covariance of the unit residuals, its principal axes block by
// block, dealt out to the pieces; then 16 codewords a piece on the rotated rows.
// The rows are rearranged into tiles `[d][16]` of 16 rows for that.

/// What a product level's training keeps between steps.
struct ProductState {
  /// The block being decomposed: its first dimension and its size.
  var start = 0
  var width = 0
  /// Rows already reduced to tridiagonal form.
  var row = 0
  var ql = TridiagonalQL()
  var rotationCount = 0
}

/// More rows than these add nothing to a covariance matrix …
private let covarianceRows = 16384
/// … nor to 16 codewords of a few dimensions.
private let pieceRows = 32768

extension Trainer {
  var block: Int { shape.pointee.transformBlock }
  private var tileCount: Int { (rows &+ 15) / 16 }

  mutating func beginProduct() {
    product = ProductState()
    clear(memory.pieceLogs, shape(level).pieces)
    if block == 0 {
      beginTransform()
      return
    }
    let last = d &- (d &- 1) / block &* block
    let strips = (d &- 1) / block &* stripsPerBlock
    let lastStrips = (last &+ covarianceStripColumns &- 1) / covarianceStripColumns
    begin(.covariance, items: strips &+ lastStrips)
  }

  private var stripsPerBlock: Int {
    (block &+ covarianceStripColumns &- 1) / covarianceStripColumns
  }

  mutating func advanceProduct() {
    switch step {
    case .covariance:
      finishCovariances()
      beginBlock(0)
    case .tridiagonalize:
      product.row = tridiagonalize(
        blockMatrix, product.width, from: product.row, budget: 1 &<< 23,
        diagonal: memory.diagonal, offDiagonal: memory.offDiagonal, betas: memory.betas,
        work: memory.work)
      if product.row == product.width { begin(.reflect, items: panelCount) }
    case .reflect:
      product.ql = TridiagonalQL()
      beginRotate()
    case .rotate:
      if product.ql.row < product.width { beginRotate() } else { endBlock() }
    case .transform: begin(.pieces, items: shape(level).pieces)
    case .pieces:
      iteration &+= 1
      if iteration < pieceIterations {
        begin(.pieces, items: shape(level).pieces)
      } else {
        beginMeasure(shape(level).hasWeightGrid ? .weigh : .measure)
      }
    case .weigh:
      fitGrid()
      beginMeasure(.measure)
    default: endLevel()
    }
  }

  private mutating func beginMeasure(_ step: Step) {
    begin(step, items: tileCount, perUnit: tileCount / 256 &+ 1)
  }

  /// Pieces are cheap to train: twice the iterations cost a tenth of the time.
  var pieceIterations: Int { 2 &* iterations &+ 2 }

  private var blockMatrix: MutableFloatPointer { memory.transform + product.start &* block }
  private var panelCount: Int { ceil16(product.width) / 16 }

  // MARK: - Principal axes

  func sumCovariance(_ start: Int, _ end: Int, _ lane: MutableFloatPointer) {
    let stride = greater(1, rows / covarianceRows)
    var item = start
    while item < end {
      let first = item / stripsPerBlock &* block
      accumulateCovariance(
        sample + first, count: (rows &- 1) / stride &+ 1, stride: stride &* d,
        width: lesser(block, d &- first), strip: item % stripsPerBlock &* covarianceStripColumns,
        memory.transform + first &* block, memory.means + first, lane)
      item &+= 1
    }
  }

  /// Scales all blocks to a mean variance of one, which keeps squares in range.
  private func finishCovariances() {
    let count = (rows &- 1) / greater(1, rows / covarianceRows) &+ 1
    var trace: Float = 0
    var first = 0
    while first < d {
      let width = lesser(block, d &- first), matrix = memory.transform + first &* block
      finishCovariance(matrix, width, memory.means + first, count: count)
      var i = 0
      while i < width {
        trace += matrix[i &* width &+ i]
        i &+= 1
      }
      first &+= block
    }
    let factor = trace > 1e-30 ? Float(d) / trace : 0
    first = 0
    while first < d {
      let width = lesser(block, d &- first)
      scale(memory.transform + first &* block, factor, width &* width)
      first &+= block
    }
  }

  private mutating func beginBlock(_ start: Int) {
    product.start = start
    product.width = lesser(block, d &- start)
    product.row = 0
    begin(.tridiagonalize, items: 0)
  }

  private mutating func beginRotate() {
    product.rotationCount = product.ql.run(
      product.width, diagonal: memory.diagonal, offDiagonal: memory.offDiagonal,
      memory.rotations, capacity: rotationCapacity)
    begin(.rotate, items: panelCount)
  }

  func reflectPanels(_ start: Int, _ end: Int) {
    var i = start
    while i < end {
      reflectPanel(
        blockMatrix, memory.betas, product.width, column: 16 &* i,
        memory.panels + i &* 16 &* product.width)
      i &+= 1
    }
  }

  func rotatePanels(_ start: Int, _ end: Int) {
    var i = start
    while i < end {
      rotatePanel(
        memory.panels + i &* 16 &* product.width, memory.rotations, product.rotationCount)
      i &+= 1
    }
  }

  /// Writes the block's axes as rows of the transform, in the order of the pieces.
  private mutating func endBlock() {
    let width = product.width
    dealAxes(
      memory.diagonal, width, first: product.start,
      pieceDimensions: shape(level).pieceDimensions, logs: memory.pieceLogs,
      filled: memory.pieceFilled, order: memory.axisOrder, axes: memory.axes)
    var i = 0
    while i < width {
      let axis = Int(memory.axes[i]), out = blockMatrix + i &* width
      var j = 0
      while j < width {
        out[j] = memory.panels[(j / 16 &* width &+ axis) &* 16 &+ j % 16]
        j &+= 1
      }
      roundThroughHalves(out, width)
      i &+= 1
    }
    if product.start &+ width < d { beginBlock(product.start &+ width) } else { beginTransform() }
  }

  // MARK: - Tiles

  private mutating func beginTransform() {
    iteration = 0
    let tileWork = 16 &* d &* greater(64, block)
    begin(.transform, items: tileCount, perUnit: lesser((1 &<< 27) / tileWork &+ 1, 64))
  }

  private func tile(_ t: Int) -> MutableFloatPointer {
    16 &* t &+ 16 <= rows ? sample + 16 &* t &* d : memory.tail
  }

  func transformTiles(_ start: Int, _ end: Int, _ lane: MutableFloatPointer) {
    let rotated = lane + 16 &* d
    var t = start
    while t < end {
      pack(sample + 16 &* t &* d, lesser(16, rows &- 16 &* t), d, lane)
      var first = 0
      while block > 0 && first < d {
        let width = lesser(block, d &- first)
        innerProducts(
          memory.transform + first &* block, width, width, lane + 16 &* first, 16,
          rotated + 16 &* first)
        first &+= block
      }
      copy(block > 0 ? rotated : lane, 16 &* d, to: tile(t))
      t &+= 1
    }
  }

  // MARK: - Pieces

  private func piece(_ q: Int) -> PieceCodewords {
    let l = shape(level)
    let all = memory.codewords + codewordOffset(shape, level: level)
    return PieceCodewords(
      codewords: all + q &* 16 &* l.pieceDimensions, stride: l.pieceDimensions,
      dimensions: greater(0, lesser(l.pieceDimensions, d &- q &* l.pieceDimensions)))
  }

  /// One iteration of k-means for each of some pieces.
  func trainPieces(_ start: Int, _ end: Int, _ lane: MutableFloatPointer) {
    // The last iterations settle on many rows what the first ones have found on a few.
    let part = iteration &+ 2 < pieceIterations ? 4 : 1
    let step = greater(1, rows / (pieceRows / part))
    var q = start
    while q < end {
      let piece = piece(q), offset = q &* piece.stride &* 16
      var random = random(q &+ 1)
      if iteration == 0 { seedPiece(piece, offset, &random, lane) }
      var means = PieceMeans(piece, lane)
      // Every iteration sees other tiles, if they are too many.
      var t = iteration % lesser(step, tileCount)
      while t < tileCount {
        let n = lesser(16, rows &- 16 &* t)
        means.add(tile(t) + offset, n, isPlain ? nil : memory.lengths + 16 &* t)
        t &+= step
      }
      means.finish(&random)
      q &+= 1
    }
  }

  /// k-means++ on some of the rows.
  private func seedPiece(
    _ piece: PieceCodewords, _ offset: Int, _ random: inout SplitMix64,
    _ lane: MutableFloatPointer
  ) {
    let most = pieceSeedRows, n = lesser(rows, most)
    let candidates = lane, distances = lane + most &* piece.stride
    var i = 0
    while i < n {
      let row = rows <= most ? i : random.next(below: rows)
      var j = 0
      while j < piece.dimensions {
        candidates[i &* piece.stride &+ j] = (tile(row / 16) + offset)[16 &* j &+ row % 16]
        j &+= 1
      }
      i &+= 1
    }
    piece.seed(candidates, n, distances, &random)
  }

  /// The loss of some tiles' rows, as its square root into `lengths`; while weighing, their
  /// weights into `scores`.
  func measureTiles(_ start: Int, _ end: Int, _ lane: MutableFloatPointer) {
    let pieces = shape(level).pieces
    var q = 0
    while q < pieces {
      piece(q).halfNorms(lane + 16 &* q)
      q &+= 1
    }
    var t = start
    while t < end {
      var fit = TileFit()
      q = 0
      while q < pieces {
        let piece = piece(q)
        fit.add(tile(t) + q &* piece.stride &* 16, piece, lane + 16 &* q)
        q &+= 1
      }
      let products = lane + 16 &* pieces
      fit.store(products)
      let n = lesser(16, rows &- 16 &* t)
      var r = 0
      while r < n {
        let row = 16 &* t &+ r
        let length = isPlain ? 1 : memory.lengths[row]
        let product = products[r], norm = products[16 &+ r], square = products[32 &+ r]
        var weight: Float = 1
        if isProjection {
          weight = norm > 0 ? length * product / norm : 0
        } else if !isPlain {
          weight = length
        }
        r &+= 1
        if step == .weigh {
          memory.scores[row] = weight
          continue
        }
        weight = stored(weight)
        let loss = length * length * square - 2 * weight * length * product + weight * weight * norm
        memory.lengths[row] = loss > 0 ? ws_sqrt(loss) : 0
      }
      t &+= 1
    }
  }
}
