// Ratios against rsync in the same run: swift run -c release treering-benchmark --help
import Foundation

do {
  let options = try Options(CommandLine.arguments)
  if options.wantsHelp {
    print(Options.help)
    exit(0)
  }
  let report = try Benchmark(options).run()
  print(try options.json ? report.json() : report.text())
} catch {
  FileHandle.standardError.write(Data("treering-benchmark: \(error)\n".utf8))
  exit(1)
}
