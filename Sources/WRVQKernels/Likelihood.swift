import CWRVQKernels

// How many lists a query should visit.  A fixed number serves easy and hard queries alike badly: a
// query among the rows has its neighbours in a few lists that stand out, one from elsewhere has them
// in many that do not.  So lists get likelihoods, `exp(−score / (temperature · deviation))`, and a
// query visits the best ones until a share of all likelihood is spent.  An infinite temperature is
// the fixed number again; the build measures which one serves its data best.

/// A list's deviation, in mean ones, from which on an outlier is in it (Lengths.swift), if it is beyond
/// what rows of typical length have, too.  Twice the typical length's greatest (4), since a residual is at most
/// a row and a centre long.
private let outlierDeviation: Float = 8

/// The residuals' variance from which on a list ranks as high as it does for a few outliers' sake.
///
/// Such a list is visited before all others, by inner product only; how likely these are is told among
/// themselves.
private func outlierVariance(_ query: UnsafePointer<wrvq_query>) -> Float {
  let shape = wrvq_codebook_shape(query.pointee.codebook!)
  if shape.pointee.metric != Int32(WRVQ_IP.rawValue) || !(query.pointee.norm_squared > 0) {
    return .infinity
  }
  let deviation = outlierDeviation * query.pointee.deviation
  let least = typicalLengthMax * typicalLengthMax / Float(shape.pointee.d)
  let variance = deviation * deviation / query.pointee.norm_squared
  return variance > least ? variance : least
}

/// `exp2` of eight numbers, at most 0: relative error below 1e-5; 0 below −126.
@inline(__always)
private func exp2OfNegative(_ v: Floats8) -> Floats8 {
  let x = ws_max(v, Floats8(repeating: -126))
  // Adding 1.5·2²³ rounds to whole numbers, which are then the lower bits.
  let magic = Floats8(repeating: 12_582_912)
  let rounded = x + magic
  let f = x - (rounded - magic)
  var p = Floats8(repeating: 0.001_333_355_8)
  p = ws_fma(Floats8(repeating: 0.009_618_129), p, f)
  p = ws_fma(Floats8(repeating: 0.055_504_11), p, f)
  p = ws_fma(Floats8(repeating: 0.240_226_51), p, f)
  p = ws_fma(Floats8(repeating: 0.693_147_2), p, f)
  p = ws_fma(Floats8(repeating: 1), p, f)
  let whole = unsafeBitCast(rounded, to: SIMD8<Int32>.self) &<< 23
  let power = unsafeBitCast(p, to: SIMD8<Int32>.self) &+ whole
  return unsafeBitCast(power, to: Floats8.self).replacing(
    with: 0, where: v .<= Floats8(repeating: -126))
}

/// The factor that makes a score's distance from the best one an exponent of two; 0: all are alike.
private func exponentScale(_ query: UnsafePointer<wrvq_query>, _ temperature: Float) -> Float {
  let width = temperature * query.pointee.deviation
  let scale = width > 0 ? -1.442_695 / width : 0
  return scale > -.infinity ? scale : 0
}

/// The best and the worst score of the lists without outliers.
private func scoreRange(_ query: UnsafePointer<wrvq_query>, _ lists: Int) -> (Float, Float) {
  let scores = query.pointee.list_scores!
  let variances = query.pointee.codebook!.pointee.list_residual_variances
  let outlier = outlierVariance(query)
  if outlier < .infinity { return scoreRange(scores, variances, outlier, lists) }
  var lows = Floats8(repeating: scores[0]), highs = lows
  var i = 0
  while i &+ 8 <= lists {
    lows = ws_min(load8(scores, i), lows)
    highs = ws_max(load8(scores, i), highs)
    i &+= 8
  }
  var low = lows[0], high = highs[0]
  var lane = 1
  while lane < 8 {
    low = lows[lane] < low ? lows[lane] : low
    high = highs[lane] > high ? highs[lane] : high
    lane &+= 1
  }
  while i < lists {
    low = scores[i] < low ? scores[i] : low
    high = scores[i] > high ? scores[i] : high
    i &+= 1
  }
  return (low, high)
}

/// The same where there may be outliers; (+∞, −∞) if all lists have some.
private func scoreRange(
  _ scores: FloatPointer, _ variances: FloatPointer, _ outlier: Float, _ lists: Int
) -> (Float, Float) {
  var low = Float.infinity, high = -Float.infinity
  var i = 0
  while i < lists {
    if variances[i] <= outlier {
      low = scores[i] < low ? scores[i] : low
      high = scores[i] > high ? scores[i] : high
    }
    i &+= 1
  }
  return (low, high)
}

/// Gives every list its likelihood, lists with outliers none; returns their sum.
private func fillLikelihoods(
  _ query: UnsafePointer<wrvq_query>, _ lists: Int, best: Float, _ temperature: Float
) -> Float {
  let scores = query.pointee.list_scores!, likelihoods = query.pointee.list_likelihoods!
  let bests = Floats8(repeating: best), scale = exponentScale(query, temperature)
  let variances = query.pointee.codebook!.pointee.list_residual_variances
  let outliers = Floats8(repeating: outlierVariance(query))
  var sum = Floats8.zero
  var i = 0
  // The scores are padded to sixteen with infinities.
  while i < lists {
    let score = load8(scores, i)
    let likelihood = exp2OfNegative((score - bests) * scale)
      .replacing(with: 0, where: score .>= Floats8(repeating: .infinity))
      .replacing(with: 0, where: load8(variances, i) .> outliers)
    store8(likelihoods, i, likelihood)
    sum += likelihood
    i &+= 8
  }
  return horizontalSum(sum)
}

/// The likelihood of the lists whose score is below `limit`, and how many they are.
@inline(__always)
private func spent(
  _ query: UnsafePointer<wrvq_query>, _ lists: Int, below limit: Float
) -> (Float, Int) {
  let scores = query.pointee.list_scores!, likelihoods = query.pointee.list_likelihoods!
  var sum = Floats8.zero, counts = Floats8.zero
  let limits = Floats8(repeating: limit), one = Floats8(repeating: 1)
  var i = 0
  while i < lists {
    let isOut = load8(scores, i) .>= limits
    sum += load8(likelihoods, i).replacing(with: 0, where: isOut)
    counts += one.replacing(with: 0, where: isOut)
    i &+= 8
  }
  return (horizontalSum(sum), Int(ws_round(horizontalSum(counts))))
}

/// Counts the lists, best first, that come before a share of all likelihood is spent.
///
/// - Parameters:
///   - temperature: In deviations of a list's distances.
///   - share: 0…1.
/// - Returns: 1…lists.
/// - Complexity: O(lists), some log₂(lists) passes over their scores.
@inline(never)
func queryProbes(
  _ query: UnsafePointer<wrvq_query>, _ temperature: Float, _ share: Float
) -> Int {
  let lists = listCount(wrvq_codebook_shape(query.pointee.codebook!))
  let (best, worst) = scoreRange(query, lists)
  if share >= 1 || !(worst > best) { return lists }
  let wanted = share * fillLikelihoods(query, lists, best: best, temperature)
  // The least score at which the lists before it have spent more than the share.
  var low = best, high = worst
  var countBelowLow = 0, count = lists
  var step = 0
  while step < 20 && count &- countBelowLow > 1 {
    let middle = low + (high - low) / 2
    let (likelihood, before) = spent(query, lists, below: middle)
    if likelihood > wanted {
      high = middle
      count = before
    } else {
      low = middle
      countBelowLow = before
    }
    step &+= 1
  }
  return count > 0 ? count : 1
}

/// The share of all likelihood that the lists have that are better than each of some.
///
/// - Parameters:
///   - lists: `n` of them.
///   - shares: Output, `n`.
/// - Complexity: O(n · all lists).
@inline(never)
func queryShares(
  _ query: UnsafePointer<wrvq_query>, _ temperature: Float, _ lists: UnsafePointer<UInt32>,
  _ n: Int, _ shares: MutableFloatPointer
) {
  let all = listCount(wrvq_codebook_shape(query.pointee.codebook!))
  let scores = UnsafePointer(query.pointee.list_scores!)
  let total = fillLikelihoods(query, all, best: scoreRange(query, all).0, temperature)
  var i = 0
  while i < n {
    let before = spent(query, all, below: scores[Int(lists[i])]).0
    shares[i] = total > 0 ? before / total : 0
    i &+= 1
  }
}
