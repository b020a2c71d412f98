"""journalctl --unit UNIT --output cat: what the unit wrote, up to the last `journalctl --sync`, as the journal is behind."""

import shutil
import sys
from pathlib import Path

LOGS = Path("/var/log")
SYNCED = Path("/run/lab/journal")


def main() -> None:
    match sys.argv[1:]:
        case ["--sync"]:
            SYNCED.mkdir(exist_ok=True)
            for log in LOGS.glob("*.log"):
                shutil.copy(log, SYNCED)
        case ["--unit", unit, "--output", "cat"]:
            log = SYNCED / f"{unit if '.' in unit else f'{unit}.service'}.log"
            if log.exists():
                sys.stdout.write(log.read_text(errors="replace"))
        case words:
            sys.exit(f"the lab does not know: journalctl {' '.join(words)}")


if __name__ == "__main__":
    main()
