/// Rounds a level's weights to what can be stored of them.
struct WeightQuantizer: Sendable {
  /// Ascending; empty where weights are halves.
  private let grid: [Float]

  init(_ level: Codebook.Level) {
    grid = (level.weights ?? []).sorted()
  }

  /// The nearest value, the lower one of two; what exceeds a half's range is its largest number.
  func stored(_ weight: Float) -> Float16 {
    if weight.isNaN { return 0 }
    let largest = Float(Float16.greatestFiniteMagnitude)
    if grid.isEmpty { return Float16(min(max(weight, -largest), largest)) }
    var low = 0
    var high = grid.count - 1
    while low < high {
      let middle = (low + high) / 2
      if grid[middle] + grid[middle + 1] < 2 * weight { low = middle + 1 } else { high = middle }
    }
    return Float16(grid[low])
  }
}
