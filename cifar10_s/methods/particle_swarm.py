"""Particle swarm optimisation (Kennedy and Eberhart, ICNN 1995), without random pulls, as DUNE uses it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ParticleSwarm:
    """Particles that look for the lowest value of a function.

    A particle keeps half of its velocity, and is pulled by 0.3 of the distance to the best place that it has seen, and
    by as much to the best place that any has seen.

    Attributes
    ----------
    particles
        Number of particles.
    iterations
        Number of places that each of them sees.
    reach
        Particles start within ±reach along each axis, at speeds of up to a tenth of it.
    limit
        They stay within ±limit.
    """

    particles: int
    iterations: int
    reach: float
    limit: float

    def lowest(
        self, value: Callable[[NDArray[np.float64]], float], axes: int, random: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the place, (axes,), where ``value`` was lowest.

        Examples
        --------
        >>> swarm = ParticleSwarm(particles=20, iterations=40, reach=1.0, limit=2.0)
        >>> swarm.lowest(lambda place: ((place - 0.5) ** 2).sum(), 2, np.random.default_rng(0)).round(2)
        array([0.5, 0.5])
        """
        places = random.uniform(-self.reach, self.reach, (self.particles, axes))
        speeds = random.uniform(-self.reach / 10, self.reach / 10, (self.particles, axes))
        best_places, best_values = places.copy(), np.full(self.particles, np.inf)
        for _ in range(self.iterations):
            values = np.array([value(place) for place in places])
            better = values < best_values
            best_places[better], best_values[better] = places[better], values[better]
            speeds = 0.5 * speeds + 0.3 * (best_places - places) + 0.3 * (best_places[best_values.argmin()] - places)
            places = np.clip(places + speeds, -self.limit, self.limit)
        return np.asarray(best_places[best_values.argmin()])
