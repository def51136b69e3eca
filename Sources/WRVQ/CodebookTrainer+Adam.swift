import Foundation

extension CodebookTrainer {
  /// Rows that the values of rounded weights are fitted to, at most.
  private static let gridRows = 65536

  /// Trains level by level, then all levels together; or goes on from a checkpoint.
  ///
  /// Of the sample there are never more than two copies beside it.
  static func descend(
    _ sample: [Float], dimensions d: Int, _ configuration: TrainingConfiguration,
    _ adam: AdamConfiguration, _ progress: ((TrainingProgress) -> Void)?, _ kernels: Kernels
  ) throws -> Codebook {
    let checkpoint = try adam.checkpoint.map {
      try TrainingCheckpoint(path: $0, sample, dimensions: d, configuration)
    }
    let saved = try checkpoint?.read()
    var codebook: Codebook
    if let saved {
      codebook = Codebook(
        dimensions: d, metric: configuration.metric, levels: saved.levels.map(\.level))
    } else {
      // Weights are rounded once all is trained: the values that suit them now would not then.
      var exact = configuration
      exact.weightBits = 16
      codebook = try linear(
        trainingRows(sample, dimensions: d, configuration, kernels), dimensions: d, scale: 1, exact,
        progress, kernels)
    }
    let (rows, scale) = try prepared(sample, dimensions: d, configuration.metric, kernels)
    codebook.scale = scale
    let linearLoss = codebook.loss, count = codebook.levels.count
    codebook.levels = try rows.withUnsafeBufferPointer { rows in
      var trainer = AdamTrainer(
        codebook, rows: rows.baseAddress!, count: rows.count / d, configuration, adam, kernels)
      if let saved { trainer.state = saved }
      return try trainer.train {
        try checkpoint?.write($0)
      } progress: { iteration, loss in
        progress?(
          TrainingProgress(
            level: count, levelCount: count,
            fraction: Double(iteration) / Double(adam.iterations), losses: linearLoss,
            descent: (iteration, adam.iterations, loss)))
      }
    }
    round(&codebook)
    if configuration.weightBits < 16 {
      fitGrids(&codebook, rows, configuration, adam, kernels)
    }
    codebook.loss = loss(codebook, rows, configuration, kernels)
    return codebook
  }

  /// The rows that are not held out, prepared: those that are to judge must be new to the codebook
  /// from the beginning.
  private static func trainingRows(
    _ sample: [Float], dimensions d: Int, _ configuration: TrainingConfiguration, _ kernels: Kernels
  ) throws -> [Float] {
    var (rows, _) = try prepared(sample, dimensions: d, configuration.metric, kernels)
    let training = AdamTrainer.split(rows.count / d, seed: configuration.seed).training.sorted()
    // Rows only move forward: no further copy of the sample is wanted.
    rows.withUnsafeMutableBufferPointer { rows in
      let base = rows.baseAddress!
      for (i, row) in training.enumerated() where i != row {
        (base + i * d).update(from: base + row * d, count: d)
      }
    }
    rows.removeLast(rows.count - training.count * d)
    return rows
  }

  /// To what can be stored.
  private static func round(_ codebook: inout Codebook) {
    let largest = Float(Float16.greatestFiniteMagnitude)
    func half(_ value: Float) -> Float { Float(Float16(min(max(value, -largest), largest))) }
    for i in codebook.levels.indices {
      codebook.levels[i].codewords = codebook.levels[i].codewords.map(half)
      codebook.levels[i].transform = codebook.levels[i].transform?.map(half)
    }
  }

  /// The codebook as the encoder of prepared rows wants it.
  private static func encoder(
    _ codebook: Codebook, beam: Int, refit: Bool, _ configuration: TrainingConfiguration,
    _ kernels: Kernels
  ) -> Codebook.Encoder {
    var codebook = codebook
    (codebook.metric, codebook.scale) = (.l2, 1)
    return Codebook.Encoder(
      trusted: codebook, beam: beam, refitsWeights: refit, threads: configuration.threads,
      kernels: kernels)
  }

  /// Fits the values that weights can take to the weights that rows have.
  private static func fitGrids(
    _ codebook: inout Codebook, _ rows: [Float], _ configuration: TrainingConfiguration,
    _ adam: AdamConfiguration, _ kernels: Kernels
  ) {
    let bits = configuration.weightBits, levels = codebook.levels.count
    let d = codebook.dimensions, stride = max(1, rows.count / d / gridRows)
    var some = Swift.stride(from: 0, to: rows.count / d, by: stride).flatMap {
      rows[$0 * d..<($0 + 1) * d]
    }
    let encoded = encoder(codebook, beam: adam.beam, refit: true, configuration, kernels)
      .encode(prepared: &some)
    for i in codebook.levels.indices where codebook.levels[i].weightRule != .one {
      let weights = Swift.stride(from: i, to: encoded.weights.count, by: levels).map {
        Float(encoded.weights[$0])
      }
      codebook.levels[i].weightBits = bits
      codebook.levels[i].weights = WeightQuantizer.grid(
        of: weights, count: 1 << bits, kernels)
    }
  }

  /// The loss after each level, encoded greedily as by default.
  private static func loss(
    _ codebook: Codebook, _ rows: [Float], _ configuration: TrainingConfiguration,
    _ kernels: Kernels
  ) -> [Double] {
    let encoder = encoder(codebook, beam: 1, refit: false, configuration, kernels)
    let size = 16384 * codebook.dimensions
    var all = EncodedVectors(for: codebook)
    for start in stride(from: 0, to: rows.count, by: size) {
      var some = Array(rows[start..<min(start + size, rows.count)])
      all.append(encoder.encode(prepared: &some))
    }
    return all.loss
  }
}

extension WeightQuantizer {
  /// The values that lose least when weights are rounded to them.
  ///
  /// - Parameter weights: At least one.
  /// - Returns: `count` halves, ascending.
  static func grid(of weights: [Float], count: Int, _ kernels: Kernels) -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { grid, initialized in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 65536) { bins in
        kernels.training.fit_weights(
          weights, weights.count, Int32(count), bins.baseAddress!, grid.baseAddress!)
      }
      initialized = count
    }
  }
}
