"""RepeatFirst of POPGym as a language: name at every step the suit of the first card."""

from itertools import product

import torch

from lightning_warmup.proofs.automata import Automaton, Symbol

SUITS = 4
LARGEST_REWARD = 1 / 51
"""Of a step, with the smallest deck; larger decks give less."""


def automaton() -> Automaton:
    """Return the language of RepeatFirst, for decks of any size.

    Every card after the first one comes with the last answer, which may be any, right or wrong, and with its
    reward, anything that a deck may give.
    """
    symbols: dict[str, Symbol] = {}
    moves: dict[tuple[str, str], str] = {}
    for suit in range(SUITS):
        symbols[f"first {suit}"] = torch.cat([torch.zeros(SUITS + 1), torch.eye(SUITS)[suit]])
        moves["start", f"first {suit}"] = f"suit {suit}"
    for answer, suit in product(range(SUITS), repeat=2):
        name = f"{suit} after answer {answer}"
        ends = (
            torch.cat([torch.eye(SUITS)[answer], torch.tensor([reward]), torch.eye(SUITS)[suit]])
            for reward in (-LARGEST_REWARD, LARGEST_REWARD)
        )
        lower, upper = ends
        symbols[name] = lower, upper
        moves |= {(f"suit {held}", name): f"suit {held}" for held in range(SUITS)}
    states = [f"suit {suit}" for suit in range(SUITS)]
    return Automaton(["start", *states], symbols, moves, {state: i for i, state in enumerate(states)})
