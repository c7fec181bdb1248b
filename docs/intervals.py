"""Print how often 95 % intervals hold the true mean, by simulation: scenes of 3 views, two kinds of errors."""

import numpy as np

from phys4d.evaluation.bootstrap import interval

TRIALS, VIEWS = 1000, 3
rng = np.random.default_rng(0)
DRAWS = {
    "normal": (lambda shape: rng.normal(1.0, 0.5, shape), 1.0),
    "skewed (log-normal, sigma 0.6)": (lambda shape: rng.lognormal(0, 0.6, shape), np.exp(0.18)),
}
print(f"{'errors':32}{'scenes':>8}{'held':>8}")
for label, (draw, mean) in DRAWS.items():
    for count in (5, 10, 30, 100):
        scenes = np.repeat([f"s{i}" for i in range(count)], VIEWS).tolist()
        hits = 0
        for trial in range(TRIALS):
            values = np.repeat(draw(count), VIEWS) + rng.normal(0, 0.1, count * VIEWS)
            found = interval(values, scenes, resamples=500, seed=trial)
            hits += found.lo <= mean <= found.hi
        print(f"{label:32}{count:8}{hits / TRIALS:8.1%}")
