// swift-tools-version: 6.2
import PackageDescription

#if arch(x86_64)
  let hasV3 = true
#else
  let hasV3 = false
#endif

// The kernel sources are compiled three ways: here in regular Swift for the
// command-line tool and the tests (baseline, and once more for x86-64-v3
// through the symlinked folder), and in Embedded Swift by pg_extension/Makefile.
let kernelSettings: [SwiftSetting] = [
  .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
]

var targets: [Target] = [
  .systemLibrary(name: "CWRVQKernels"),
  .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
  .target(name: "WRVQKernels", dependencies: ["CWRVQKernels"], swiftSettings: kernelSettings),
  .target(
    name: "WRVQ", dependencies: ["CWRVQKernels", "WRVQKernels"] + (hasV3 ? ["WRVQKernelsV3"] : []),
    swiftSettings: hasV3 ? [.define("WRVQ_HAVE_V3")] : []),
  .target(name: "PostgresClient", dependencies: ["CLibPQ"]),
  .executableTarget(
    name: "WRVQCommand",
    dependencies: [
      "WRVQ", "PostgresClient",
      .product(name: "ArgumentParser", package: "swift-argument-parser"),
    ]),
  .executableTarget(name: "wrvq-bench", dependencies: ["WRVQ", "CWRVQKernels"]),
  .target(name: "TestSupport", dependencies: ["WRVQ", "CWRVQKernels"], path: "Tests/TestSupport"),
  .executableTarget(name: "wrvq-fuzz", dependencies: ["WRVQ", "TestSupport"], path: "Tests/fuzz"),
  .testTarget(name: "WRVQKernelsTests", dependencies: ["WRVQ", "TestSupport", "CWRVQKernels"]),
  .testTarget(name: "WRVQTests", dependencies: ["WRVQ", "TestSupport"]),
  .testTarget(name: "PostgresClientTests", dependencies: ["PostgresClient"]),
  .testTarget(name: "WRVQCommandTests", dependencies: ["WRVQCommand"]),
]
if hasV3 {
  targets.append(
    .target(
      name: "WRVQKernelsV3", dependencies: ["CWRVQKernels"],
      swiftSettings: kernelSettings + [
        .define("WRVQ_V3"), .unsafeFlags(["-Xcc", "-march=x86-64-v3"]),
      ]))
}

let package = Package(
  name: "wrvq",
  products: [
    .executable(name: "wrvq", targets: ["WRVQCommand"]),
    .library(name: "WRVQ", targets: ["WRVQ"]),
  ],
  dependencies: [
    // One version, so that every machine builds the same.  Package.resolved, which would pin it too, pins a commit:
    // a mirror of the package, as some build machines have, has the version under another one.
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
  ],
  targets: targets)
