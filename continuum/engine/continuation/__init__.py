"""Continuations: a suspended generator to bytes, and back in another process, at the same yield.

The machine runs workflows as plain generators. One that is to be captured is run as its *twin* instead,
a generator of instrumented code that behaves the same and costs a little more at each yield:

* ``twin_of(function)``: what is known of a function's twin. Raises :exc:`Refused` where there is none.
  ``twin.points`` are its yields, with number, line, and the reason where one cannot be captured;
  ``twin.refusals`` only the latter.
* ``adopt(generator)``: the twin of a generator that has *not been started*, to be used in its place, or
  the generator itself where there is no twin. What a twin delegates to by `yield from`, or goes over in a
  `for`, is adopted by itself; branches and the body of a run have to be adopted by whoever starts them.
* ``dumps(value)``: one pickle of anything that holds suspended twins: their frames, what they delegate
  to, and what they share stay one. Raises :exc:`Refused` with a reason that people can read.
* ``loads(data)``: the same again. Each generator stands at its yield: the next `send` or `throw`
  completes the command that it was waiting for. Raises :exc:`Stale` where the code is another by now.

>>> body = adopt(order("ord-1").body())                             # doctest: +SKIP
>>> command = next(body)                                            # doctest: +SKIP
>>> body = loads(dumps(body))          # perhaps in another process # doctest: +SKIP
>>> command = body.send("the result of the command")                # doctest: +SKIP

Nothing here knows the machine, or where states are kept. The rooms, in the order in which a function goes through
them: :mod:`source` finds its definition, :mod:`flatten` and :mod:`simplify` bring its yields into
statements of their own, :mod:`leaving` and :mod:`rewrite` make these statements such that they can be
entered again, :mod:`instrument` compiles the result; :mod:`frames` makes generators of it, :mod:`state`,
:mod:`references`, :mod:`iterators` and :mod:`values` pickle them.
"""

from continuum.engine.continuation.frames import adopt
from continuum.engine.continuation.instrument import Twin, twin_of
from continuum.engine.continuation.refusal import Refused, Stale
from continuum.engine.continuation.rewrite import Point
from continuum.engine.continuation.state import dumps, loads

__all__ = ["Point", "Refused", "Stale", "Twin", "adopt", "dumps", "loads", "twin_of"]
