// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

// Debug builds keep their checks, and compute as fast as the tests need: an unoptimized program makes them four times
// slower.
let fast = strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]

// Arrows point down only; Tests/LayeringTests checks what SwiftPM cannot.
let package = Package(
  name: "treering",
  products: [.executable(name: "treering", targets: ["treering"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
  ],
  targets: [
    // 4  the person
    .executableTarget(name: "treering", dependencies: ["Commands"]),
    .executableTarget(
      name: "treering-benchmark", dependencies: ["Posix"], swiftSettings: strict),
    .target(
      name: "Commands",
      dependencies: [
        "Engine", "Repository", "Posix", "Model", "Catalog", "Patterns", "Retention", "Settings", "RsnapshotImport",
        "Operations", "Archive", "Replication", "Restic", "Databases",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),

    // 3  the outside
    .target(
      name: "Replication",
      dependencies: ["Engine", "Repository", "Posix", "Model", "Catalog", "Delta", "Retention"], swiftSettings: fast),
    .target(
      name: "Restic",
      dependencies: ["Engine", "Repository", "Posix", "Model", "Catalog", "Retention", "CCodec", "CCurl"],
      swiftSettings: fast),
    .target(name: "Operations", dependencies: ["Posix", "CCurl"], swiftSettings: strict),
    .target(
      name: "Databases", dependencies: ["Catalog", "Posix", "Model", "Retention", "Settings"], swiftSettings: fast),
    .target(name: "Archive", dependencies: ["Catalog", "Model", "CArchive"], swiftSettings: strict),

    // 2  the disk
    .target(
      name: "Engine", dependencies: ["Repository", "Posix", "Model", "Catalog", "Patterns", "Retention"],
      swiftSettings: fast),
    .target(
      name: "Repository", dependencies: ["Posix", "Model", "Catalog", "Retention"],
      swiftSettings: fast),

    // 1  the kernel
    .target(name: "Posix", dependencies: ["CPosix", "Model"], swiftSettings: fast),
    // libcurl and libarchive are loaded when they are needed, and not linked.
    .target(name: "CCurl"),
    .target(name: "CArchive"),
    .target(name: "CPosix", linkerSettings: [.linkedLibrary("acl"), .linkedLibrary("attr")]),

    // 0  values
    .target(name: "Model", swiftSettings: fast),
    .target(name: "Catalog", dependencies: ["Model", "CCodec"], swiftSettings: fast),
    .target(name: "Delta", dependencies: ["Model", "Catalog"], swiftSettings: fast),
    .target(name: "Patterns", swiftSettings: fast),
    .target(name: "Retention", dependencies: ["Model"], swiftSettings: fast),
    .target(
      name: "Settings",
      dependencies: ["Model", "Patterns", "Retention", .product(name: "TOMLKit", package: "TOMLKit")],
      swiftSettings: strict),
    .target(name: "RsnapshotImport", dependencies: ["Model", "Patterns", "Settings"], swiftSettings: strict),
    .target(
      name: "CCodec", linkerSettings: [.linkedLibrary("crypto"), .linkedLibrary("zstd")]),
    .testTarget(name: "LayeringTests", swiftSettings: strict),
    .testTarget(name: "CatalogTests", dependencies: ["Model", "Catalog", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "DeltaTests", dependencies: ["Delta", "Model", "Catalog", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "SettingsTests", dependencies: ["Settings", "Model", "Retention"], swiftSettings: strict),
    .testTarget(
      name: "RsnapshotImportTests", dependencies: ["RsnapshotImport", "Settings", "Model", "Retention"],
      swiftSettings: strict),
    .testTarget(
      name: "RetentionTests", dependencies: ["Retention", "Model", "TestSupport"],
      exclude: ["model.py"], swiftSettings: strict),
    .testTarget(
      name: "PatternsTests", dependencies: ["Patterns", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "PosixTests", dependencies: ["Posix", "Model", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "RepositoryTests", dependencies: ["Repository", "Posix", "Model", "Catalog", "Retention", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "CommandsTests",
      dependencies: [
        "Commands", "Replication", "Engine", "Repository", "Databases", "Posix", "Model", "Catalog", "Retention",
        "TestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "EngineTests",
      dependencies: ["Engine", "Repository", "Posix", "Model", "Catalog", "Retention", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "DatabasesTests", dependencies: ["Databases", "Settings", "Posix", "Model", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ReplicationTests",
      dependencies: ["Replication", "Engine", "Repository", "Posix", "Model", "Catalog", "Delta", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ResticTests",
      dependencies: ["Restic", "Engine", "Repository", "Posix", "Model", "Catalog", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ManualTests", dependencies: ["TestSupport"],
      exclude: ["content_digest.py", "push_snapshot.py", "read_catalog.py"], swiftSettings: strict),
    .target(name: "CTestSupport", path: "Tests/CTestSupport", cSettings: [.unsafeFlags(["-O2"])]),
    .target(name: "TestSupport", dependencies: ["CTestSupport"], path: "Tests/TestSupport", swiftSettings: fast),
    .testTarget(
      name: "BlackBoxTests", dependencies: ["TestSupport"],
      exclude: [
        "Repositories", "complete.py", "edit_trailer.py", "hostile_rsync.py", "s3.py", "server.py", "space_of_trees.py",
        "swift_server.py", "unreliable.py", "versions_of_trees.py",
      ],
      swiftSettings: strict),
  ]
)
