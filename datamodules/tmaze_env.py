"""The T-Maze (Bakker 2001): a cue at the start of a corridor tells which way to turn at its end."""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

RIGHT, UP, LEFT, DOWN = range(4)
GOAL_REWARD, PENALTY = 4.0, -0.1
Observation = NDArray[np.float32]

_PIXELS = 16  # of a cell's side in a picture
_COLOURS = {" ": (40, 40, 48), ".": (235, 235, 235), "G": (80, 170, 90), "A": (200, 70, 60)}


class TMazeEnv(gymnasium.Env[Observation, np.int64]):
    """The gymnasium environment ``TMaze-v0``.

    The corridor is x = 0..L. At the junction x = L one arm leads up and one down, and the episode ends in either.
    Actions: 0 right, 1 up, 2 left, 3 down. Observations are one-hot: cue up or cue down at x = 0 (again on each
    return), corridor, junction (also in its arms). Rewards: 4 in the arm of the cue; -0.1 in the other arm and for
    an action that can't move; 0 otherwise. Episodes are truncated after ``horizon`` steps: 3 L - 1, or
    ``ceil(3 L / (1 - stochasticity))`` with stochasticity above 0. The render modes are ``"ansi"``, a text of three
    lines, and ``"rgb_array"``, a picture (48, 16 (L + 1), 3) uint8.

    The passive T-Maze of Ni et al. (2023) ends after L + 1 steps, just enough for the shortest way. The reward is 1
    for an end in the arm of the cue, and -1 / L for each earlier step that leaves the agent behind a straight walk.
    The cue is shown only at the start; later x = 0 looks like the corridor.

    Args:
        length: L, steps from the cue to the junction, at least 2.
        stochasticity: Probability in [0, 1) that a random one of the four actions replaces the chosen one; never at
            the junction.
        reward: ``"outcome"`` rewards the action carried out, ``"intention"`` the chosen one, as its authors do;
            ``"passive"`` makes it the passive T-Maze, which is not stochastic.
        goal: ``UP`` or ``DOWN``; None draws it for each episode.
        render_mode: ``"ansi"``, ``"rgb_array"`` or None.

    Attributes:
        told: The ``goal`` of the following episodes.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}

    def __init__(
        self,
        length: int = 20,
        stochasticity: float = 0.0,
        reward: str = "outcome",
        goal: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if length < 2:
            raise ValueError(f"length={length}: must be at least 2")
        if not 0 <= stochasticity < 1:
            raise ValueError(f"stochasticity={stochasticity}: must be in [0, 1)")
        if reward not in ("outcome", "intention", "passive"):
            raise ValueError(f"reward={reward!r}: choose one of outcome, intention, passive")
        self.passive = reward == "passive"
        if self.passive and stochasticity:
            raise ValueError(f"stochasticity={stochasticity}: must be 0 with reward='passive'")
        if goal not in (None, UP, DOWN):
            raise ValueError(f"goal={goal!r}: choose {UP} (up) or {DOWN} (down)")
        modes: list[str] = self.metadata["render_modes"]
        if render_mode not in (None, *modes):
            raise ValueError(f"render_mode={render_mode!r}: choose one of {', '.join(modes)}")
        self.length, self.stochasticity, self.reward = length, stochasticity, reward
        self.told, self.render_mode = goal, render_mode
        self.horizon = math.ceil(3 * length / (1 - stochasticity)) if stochasticity else 3 * length - 1
        if self.passive:
            self.horizon = length + 1
        self.observation_space, self.action_space = Box(0.0, 1.0, (4,), np.float32), Discrete(4)
        self.time = self.horizon  # no episode has begun

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, and draw all its random numbers now."""
        super().reset(seed=seed)
        goal = int(self.np_random.choice([UP, DOWN]))  # always drawn, so that a seed gives the same episode
        self.goal = goal if self.told is None else self.told
        # The action that replaces the chosen one, step by step; -1 for none.
        self._replacements = [-1] * self.horizon
        if self.stochasticity:
            replaced = self.np_random.random(self.horizon) < self.stochasticity
            drawn = self.np_random.integers(4, size=self.horizon)
            self._replacements = np.where(replaced, drawn, -1).tolist()
        # Position, the arm in which the episode has ended (UP, DOWN, or 0), steps.
        self.x = self.turned = self.time = 0
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take an action; the time limit truncates an episode.

        Raises:
            RuntimeError: If the episode is over, or none has begun.
        """
        if self.time >= self.horizon or self.turned:
            raise RuntimeError("no episode has begun, or it is over: call reset() first")
        junction, replacement = self.x == self.length, self._replacements[self.time]
        carried_out = action if junction or replacement < 0 else replacement
        reward = self._reward(action if self.reward == "intention" else carried_out)
        if junction and carried_out in (UP, DOWN):
            self.turned = int(carried_out)
        move = int(carried_out == RIGHT) - int(carried_out == LEFT)
        self.x = min(max(self.x + move, 0), self.length)
        self.time += 1
        terminated = self.turned > 0
        if self.passive:
            terminated = self.time == self.horizon
            late = -1 / self.length if self.x < self.time else 0.0
            reward = float(self.turned == self.goal) if terminated else late
        return self._observe(), reward, terminated, not terminated and self.time == self.horizon, {}

    def _reward(self, action: np.int64 | int) -> float:
        if self.x == self.length and action in (UP, DOWN):
            return GOAL_REWARD if action == self.goal else PENALTY
        moves = (action == LEFT and self.x > 0) or (action == RIGHT and self.x < self.length)
        return 0.0 if moves else PENALTY

    def _observe(self) -> Observation:
        shows_cue = self.x == 0 and not (self.passive and self.time)
        kind = int(self.goal != UP) if shows_cue else 2 + int(self.x == self.length)
        return np.eye(4, dtype=np.float32)[kind]

    def render(self) -> Any:
        """Return corridor, arms, goal and agent as text or picture, or None without a render mode."""
        if self.render_mode is None:
            return None
        rows = {UP: 0, 0: 1, DOWN: 2}
        cells = [[" "] * self.length + ["."], ["."] * (self.length + 1), [" "] * self.length + ["."]]
        cells[rows[self.goal]][self.length] = "G"
        cells[rows[self.turned]][self.x] = "A"
        if self.render_mode == "ansi":
            return "\n".join("".join(row).rstrip() for row in cells) + "\n"
        picture = np.array([[_COLOURS[cell] for cell in row] for row in cells], dtype=np.uint8)
        return picture.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
