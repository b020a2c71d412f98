"""journalctl --unit UNIT --output cat: what the unit wrote."""

import sys


def main() -> None:
    match sys.argv[1:]:
        case ["--unit", unit, "--output", "cat"]:
            name = unit if "." in unit else f"{unit}.service"
        case words:
            sys.exit(f"the lab does not know: journalctl {' '.join(words)}")
    try:
        with open(f"/var/log/{name}.log", errors="replace") as log:
            sys.stdout.write(log.read())
    except FileNotFoundError:
        pass


if __name__ == "__main__":
    main()
