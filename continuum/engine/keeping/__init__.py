"""Keeping the continuations of runs: when one is made, where it is stored, and how a run goes on from one.

:mod:`keeper` is what the scheduler asks, :mod:`upkeep` what is known of one run, :mod:`changeover` brings a run
onto twins, :mod:`capture` makes bytes of its machine, and a machine of bytes. How a generator is captured is the
business of :mod:`continuum.engine.continuation`.
"""
