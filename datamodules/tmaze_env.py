"""The T-Maze (Bakker 2001): remember along a corridor which way the cue at its beginning told to turn."""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

RIGHT, UP, LEFT, DOWN = range(4)
GOAL_REWARD, PENALTY = 4.0, -0.1
Array = NDArray[Any]

_PIXELS = 16  # of a cell's side in a picture
_COLOURS = {" ": (40, 40, 48), ".": (235, 235, 235), "G": (80, 170, 90), "A": (200, 70, 60)}


class VectorTMaze:
    """N episodes side by side, each a function of its random generator and its actions alone.

    The corridor is x = 0..L; at the junction x = L an arm leads up and one leads down, and the episode ends in
    either. Actions: 0 right, 1 up, 2 left, 3 down. Observations are one-hot: cue up or cue down at x = 0 (again
    on each return), corridor, junction (also in its arms). Rewards: 4 in the arm of the cue; -0.1 in the other
    one and for an action that cannot move; 0 otherwise. Episodes are truncated after ``horizon`` steps: 3 L - 1,
    or ``ceil(3 L / (1 - stochasticity))`` if that is above 0.

    The passive T-Maze of Ni et al. (2023) ends after L + 1 steps, just enough for the shortest way: 1 for an end in
    the arm of the cue, and -1 / L for each earlier step that leaves the agent behind a straight walk. The cue is
    shown at the beginning only; later x = 0 looks like the corridor.

    Args:
        length: L, steps from the cue to the junction, at least 2.
        stochasticity: Probability in [0, 1) that an action is replaced by a uniform one of the four; the turn
            at the junction never is.
        reward: ``"outcome"`` judges the action carried out, ``"intention"`` the one chosen, as its authors do;
            ``"passive"`` makes it the passive T-Maze, which is not stochastic.

    Attributes:
        best: Greatest return.
    """

    def __init__(self, length: int = 20, stochasticity: float = 0.0, reward: str = "outcome") -> None:
        if length < 2:
            raise ValueError(f"length={length}: must be at least 2")
        if not 0 <= stochasticity < 1:
            raise ValueError(f"stochasticity={stochasticity}: must be in [0, 1)")
        if reward not in ("outcome", "intention", "passive"):
            raise ValueError(f"reward={reward!r}: choose one of outcome, intention, passive")
        self.passive = reward == "passive"
        if self.passive and stochasticity:
            raise ValueError(f"stochasticity={stochasticity}: must be 0 with reward='passive'")
        self.length, self.stochasticity, self.reward = length, stochasticity, reward
        self.horizon = math.ceil(3 * length / (1 - stochasticity)) if stochasticity else 3 * length - 1
        self.best = GOAL_REWARD
        if self.passive:
            self.horizon, self.best = length + 1, 1.0
        self.time = self.horizon
        self.goals = np.zeros(0, dtype=int)  # none until reset

    def reset(self, generators: Sequence[np.random.Generator], goals: Sequence[int] | None = None) -> Array:
        """Begin an episode for each of N generators, which draw all its randomness; return observations (N, 4).

        ``goals`` chooses ``UP`` or ``DOWN`` for each.
        """
        count = len(generators)
        drawn = [generator.choice([UP, DOWN]) for generator in generators]
        self.goals = np.array(drawn if goals is None else goals)
        # The action of each step, or -1 where the chosen one is carried out.
        self._replacements = np.full((count, self.horizon), -1)
        if self.stochasticity:
            for row, generator in zip(self._replacements, generators, strict=True):
                replaced = generator.random(self.horizon) < self.stochasticity
                row[:] = np.where(replaced, generator.integers(4, size=self.horizon), -1)
        # Position, and the arm that an episode has ended in: UP, DOWN, or 0.
        self.x, self.turned = np.zeros((2, count), dtype=int)
        self.time = 0
        return self._observe()

    def step(self, actions: ArrayLike) -> tuple[Array, Array, Array, Array]:
        """Take an action (N,) in each episode; one that has ended stays where it is.

        Returns:
            Observations (N, 4), rewards (N,), and whether each episode has terminated and been truncated by now.

        Raises:
            RuntimeError: If all episodes have reached the horizon, or none has begun.
        """
        if self.time >= self.horizon:
            raise RuntimeError("the episodes are over: call reset() first")
        chosen = np.asarray(actions)
        replacement = self._replacements[:, self.time]
        junction = self.x == self.length
        carried_out = np.where((replacement >= 0) & ~junction, replacement, chosen)
        judged = chosen if self.reward == "intention" else carried_out
        playing = self.turned == 0
        rewards = np.where(playing, self._rewards(judged, junction), 0.0)
        turns = playing & junction & np.isin(carried_out, [UP, DOWN])
        self.turned = np.where(turns, carried_out, self.turned)
        move = (carried_out == RIGHT).astype(int) - (carried_out == LEFT)
        self.x = np.where(playing, np.clip(self.x + move, 0, self.length), self.x)
        self.time += 1
        terminated = self.turned > 0
        if self.passive:
            terminated = np.full(len(playing), self.time == self.horizon)
            late = np.where(self.x < self.time, -1 / self.length, 0.0)
            rewards = np.where(terminated, (self.turned == self.goals) * self.best, late)
        return self._observe(), rewards, terminated, ~terminated & (self.time >= self.horizon)

    def _rewards(self, actions: Array, junction: Array) -> Array:
        vertical = np.isin(actions, [UP, DOWN])
        stuck = np.where(junction, actions == RIGHT, vertical | ((actions == LEFT) & (self.x == 0)))
        wrong = junction & vertical & (actions != self.goals)
        correct = junction & (actions == self.goals)
        return np.where(correct, GOAL_REWARD, np.where(stuck | wrong, PENALTY, 0.0))

    def _observe(self) -> Array:
        shows_cue = (self.x == 0) & (not self.passive or self.time == 0)
        kind = np.where(shows_cue, self.goals != UP, np.where(self.x < self.length, 2, 3))
        return np.eye(4, dtype=np.float32)[kind]


class TMazeEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One episode of :class:`VectorTMaze`, whose arguments it takes, as the gymnasium environment ``TMaze-v0``.

    ``reset(options={"goal": UP})`` or ``DOWN`` chooses the goal. The render modes are ``"ansi"``, a text of
    three lines, and ``"rgb_array"``, a picture (48, 16 (L + 1), 3) uint8.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}

    def __init__(
        self,
        length: int = 20,
        stochasticity: float = 0.0,
        reward: str = "outcome",
        render_mode: str | None = None,
    ) -> None:
        modes: list[str] = self.metadata["render_modes"]
        if render_mode not in (None, *modes):
            raise ValueError(f"render_mode={render_mode!r}: choose one of {', '.join(modes)}")
        self.render_mode = render_mode
        self.maze = VectorTMaze(length, stochasticity, reward)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (4,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, Any]:
        """Begin an episode, which draws from ``self.np_random``."""
        super().reset(seed=seed)
        goal = (options or {}).get("goal")
        if goal not in (None, UP, DOWN):
            raise ValueError(f"goal={goal!r}: choose {UP} (up) or {DOWN} (down)")
        return self.maze.reset([self.np_random], None if goal is None else [goal])[0], {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take an action; time-outs are truncations."""
        observations, rewards, terminated, truncated = self.maze.step([action])
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> Any:
        """Return corridor, arms, goal and agent as text or picture, or None without a render mode."""
        if self.render_mode is None:
            return None
        if not len(self.maze.goals):
            raise RuntimeError("no episode has begun: call reset() first")
        length, rows = self.maze.length, {UP: 0, 0: 1, DOWN: 2}
        cells = [[" "] * length + ["."], ["."] * (length + 1), [" "] * length + ["."]]
        cells[rows[int(self.maze.goals[0])]][length] = "G"
        cells[rows[int(self.maze.turned[0])]][int(self.maze.x[0])] = "A"
        if self.render_mode == "ansi":
            return "\n".join("".join(row).rstrip() for row in cells) + "\n"
        picture = np.array([[_COLOURS[cell] for cell in row] for row in cells], dtype=np.uint8)
        return picture.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
