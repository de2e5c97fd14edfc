extension Audit {
  /// The findings about the recovery plan.
  static func plan(in facts: AuditFacts) -> [Finding] {
    func finding(
      _ state: Finding.State, _ fact: String, from source: String = "history.jsonl", time: Int64? = nil,
      remedy: String? = nil
    ) -> Finding {
      Finding(topic: .plan, state: state, fact: fact, source: source, time: time, remedy: remedy)
    }
    guard let plan = facts.plan else {
      return [
        finding(
          .unknown, "runs keep no recovery plan", from: "the configuration",
          remedy: "add a table [plan]; see treering-recovery-plan(1)")
      ]
    }
    let encrypted = plan.encrypted.joined(separator: ", ")
    var findings: [Finding] = []
    if !plan.encrypted.isEmpty, !plan.statesKeys {
      findings.append(
        finding(
          .short, "the recovery plan does not say where the password of \(encrypted) is", from: "the configuration",
          remedy: "set keys in [plan]: the place, in your words"))
    }
    let test = "carry it out on another machine, and then: treering recovery-plan --tested-by NAME"
    if let tested = plan.tested {
      let by = tested.by.map { " by \($0)" } ?? ""
      let isSame = tested.digest == plan.digest
      findings.append(
        finding(
          isSame ? .well : .short,
          isSame ? "the recovery plan was tested\(by)" : "the recovery plan changed since it was tested\(by)",
          time: tested.time, remedy: isSame ? nil : test))
    } else {
      findings.append(finding(.short, "no test of the recovery plan is recorded", remedy: test))
    }
    let print = "treering recovery-plan --html FILE, print it, and then: treering recovery-plan --printed"
    if let printed = plan.printed {
      let isSame = printed.digest == plan.digest
      findings.append(
        finding(
          isSame ? .well : .short,
          isSame ? "the recovery plan is on paper" : "the recovery plan changed since it was printed",
          time: printed.time, remedy: isSame ? nil : print))
    } else if !plan.encrypted.isEmpty {
      findings.append(
        finding(
          .short, "the recovery plan is not on paper, and \(encrypted) cannot be read without it", remedy: print))
    }
    return findings
  }
}
