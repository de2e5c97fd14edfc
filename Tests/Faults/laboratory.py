"""Images of the states of scenarios, and runs that start from copies of them."""
import os
import time

import inject
import world as worlds
from checks import Judge, Reference
from examination import Moment
from scenarios import STATES


class Laboratory:
    """The images of all states, and the runs that start from them."""

    def __init__(self, program, directory):
        self.world = worlds.World(program, directory)
        self.images = {}
        self.references = {}

    def image(self, state):
        """The image of a state; it is made when it is needed first."""
        if state not in self.images:
            path = f"{self.world.directory}/{state.__name__}.image"
            if STATES[state] is None:
                worlds.make_image(path)
            else:
                worlds.copy_image(self.image(STATES[state]), path)
            worlds.mount(path, self.world.point)
            try:
                state(self.world)
                # Entries that were made just now are read again by the next snapshot; let most of them be old.
                time.sleep(0.05)
            finally:
                worlds.unmount(self.world.point)
            self.images[state] = path
        return self.images[state]

    def on_image(self, state, body):
        """The result of `body`, which has a copy of the state's image for itself."""
        copy = f"{self.world.directory}/copy-{os.getpid()}.image"
        worlds.copy_image(self.image(state), copy)
        worlds.mount(copy, self.world.point)
        try:
            return body()
        finally:
            worlds.unmount(self.world.point)
            os.unlink(copy)

    def _run(self, scenario, **options):
        argv = [self.world.program, *scenario.arguments(self.world)]
        return inject.run(argv, worlds.ENVIRONMENT, **options)

    def reference(self, scenario):
        """The run without a fault, with all of its calls."""
        if scenario not in self.references:
            self.references[scenario] = self.on_image(
                scenario.state, lambda: Reference(self.world, self._run(scenario, record=True)))
        return self.references[scenario]

    def attempt(self, scenario, fault):
        """The call that was hit, and the problems that it made."""
        reference = self.reference(scenario)

        def body():
            before = Moment(self.world)
            outcome = self._run(scenario, fault=fault)
            judge = Judge(self.world, scenario, fault, reference, before, outcome)
            return outcome, judge.judge() if outcome.hit or outcome.hung else []
        return self.on_image(scenario.state, body)
