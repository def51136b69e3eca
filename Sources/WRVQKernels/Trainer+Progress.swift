import CWRVQKernels

extension Trainer {
  /// The share of the whole work that is done, 0…1, by multiply-adds.
  var progress: Float {
    var before: Float = 0, total: Float = 0
    var i = 0
    while i < Int(shape.pointee.level_count) {
      let cost = cost(ofLevel: i)
      if i < level { before += cost }
      if i == level { before += cost * levelProgress }
      total += cost
      i &+= 1
    }
    return step == .done ? 1 : before / total
  }

  private func cost(ofLevel i: Int) -> Float {
    let l = shape(i), n = Float(rows), d = Float(d)
    if l.isProduct {
      let b = Float(greater(1, block))
      return n * d * (b + 64) + 8 * b * b * d
    }
    // A row is compared with all codewords, or in a tree with the groups and a few of them; apart
    // from that it is read and added up.
    let tree = l.count > treeThreshold
    let compared = tree ? Float(treeGroups(l.count) &* (1 &+ neighbourCount)) : Float(l.count) / 2
    return n * d * (compared + 16) * Float(iterations &+ 1)
  }

  private var stepProgress: Float {
    items > 0 ? Float(itemsDone) / Float(items) : 0
  }

  private var levelProgress: Float {
    switch step {
    case .covariance: return 0.15 * stepProgress
    case .tridiagonalize: return axesProgress(0.2 * Float(product.row) / Float(product.width))
    case .reflect: return axesProgress(0.2 + 0.2 * stepProgress)
    case .rotate: return axesProgress(0.4 + 0.6 * Float(product.ql.row) / Float(product.width))
    case .transform: return 0.5 + 0.15 * stepProgress
    case .pieces:
      return 0.65 + 0.3 * (Float(iteration) + stepProgress) / Float(pieceIterations)
    case .weigh: return 0.95
    case .measure: return 0.95 + 0.05 * stepProgress
    case .done: return 1
    default: return flatProgress
    }
  }

  /// Of the blocks' decompositions, given the share of the current one.
  private func axesProgress(_ share: Float) -> Float {
    0.15 + 0.35 * (Float(product.start) + share * Float(product.width)) / Float(d)
  }

  private var flatProgress: Float {
    var passes = Float(iteration)
    if step == .assign { passes += 0.9 * stepProgress }
    if step == .average || step == .subtract { passes += 0.9 + 0.1 * stepProgress }
    let share = passes / Float(flat.iterations &+ 1)
    if flat.isFine { return 0.3 + 0.7 * share }
    if flat.isCoarse { return step == .neighbours ? 0.3 : 0.3 * share }
    return share
  }
}
