"""Faults at places of scenarios: which there are, and in which order they are tried."""
import dataclasses
import random
import re

from inject import ERRORS, Fault
from scenarios import NAMED, Scenario

# Files of the C library and of others, which the program's own code does not open.
FOREIGN = re.compile(r"/(usr|etc|sys|opt|dev/null|proc/(self|\d+)/maps)")


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A fault in a scenario. Its name is SCENARIO:PLACE:ERROR, with + where it goes on, and with KILL for the end."""

    scenario: Scenario
    fault: Fault

    def __str__(self):
        return f"{self.scenario.name}:{self.fault}"

    @staticmethod
    def parse(text):
        name, fault = text.split(":", 1)
        return Attempt(NAMED[name], Fault.parse(fault))

    def report(self, laboratory):
        """The problems in words, or ""."""
        outcome, problems = laboratory.attempt(self.scenario, self.fault)
        if not problems:
            return ""
        lines = [f"  at {outcome.hit}", f"  status {outcome.status}: {outcome.text.strip()[:400]}"]
        return "\n".join(lines + [f"  - {problem}" for problem in problems])


def faults(scenario, reference, generator):
    """Every fault of a scenario, in groups of like ones: same call, same manner. Groups and members are shuffled."""
    groups = {}
    for place, call in enumerate(reference.calls, 1):
        path = call.split(" ", 1)[-1].removeprefix("./")
        kind = "foreign" if FOREIGN.match(path) else call.split()[0]
        for onward in (False, True):
            for error in ERRORS:
                # A call that a signal interrupts is done again, so this one cannot go on for ever.
                if not (onward and error == "EINTR"):
                    groups.setdefault((kind, onward), []).append(Fault(place, error, onward))
        groups.setdefault((kind, "kill"), []).append(Fault(place))
    for members in groups.values():
        generator.shuffle(members)
    return list(groups.values())


def in_rounds(laboratory, scenarios, seed):
    """All faults of the scenarios, one of each group in each round: the first of them are a fair sample."""
    generator = random.Random(seed)
    groups = [
        (scenario, members) for scenario in scenarios
        for members in faults(scenario, laboratory.reference(scenario), generator)]
    order = []
    while groups:
        generator.shuffle(groups)
        order += [Attempt(scenario, members.pop()) for scenario, members in groups]
        groups = [group for group in groups if group[1]]
    return order
