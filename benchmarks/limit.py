"""How fast could it be? The bare loop of send, call, pickle and one durable putmulti for each round.

This is what all other benchmarks are compared with. The ratio printed is that of many runs side by
side to one run alone, which is what group commit is worth.
"""

from measure import limit, options, show


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    many = limit(arguments.runs, arguments.steps)
    one = limit(1, 500)
    show(
        {
            "steps a second, many runs": many,
            "steps a second, one run": one,
            "ratio of many to one": many / one,
        },
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
